//! Events that Envoy does not send but another host may: parts of a request while its head waits, ticks out of turn,
//! answers of any form.

use anyhow::{Context as _, Result, bail};

use super::{HeaderMap, Host, Plugin, ROOT, StreamId};

/// The filter's decision on a part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Continue, with everything that has been held so far.
    Continue,
    /// Hold it.
    Pause,
}

impl Action {
    fn of(value: u32) -> Result<Self> {
        match value {
            0 => Ok(Self::Continue),
            1 => Ok(Self::Pause),
            other => bail!("the filter's action is {other}"),
        }
    }
}

impl Host {
    /// Delivers a part of a request's body, whether its head waits or not.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn body(&mut self, stream: StreamId, size: u32, end_of_stream: bool) -> Result<Action> {
        let on_body = self.guest.on_request_body.clone().context("the module takes no bodies")?;
        let action = self.enter(stream.0, &on_body, (stream.0, size, u32::from(end_of_stream)))?;
        Action::of(action)
    }

    /// Delivers a request's trailers, whether its head waits or not.
    ///
    /// # Errors
    /// When the stream was closed, the filter traps or breaks a rule of the host.
    pub fn trailers(&mut self, stream: StreamId, trailers: &[(&str, &[u8])]) -> Result<Action> {
        let trailers = HeaderMap::from_client(trailers);
        let count = u32::try_from(trailers.len())?;
        let state = self.store.data_mut();
        state.streams.get_mut(stream.0).context("the stream is closed")?.set_trailers(trailers);
        let on_trailers = self.guest.on_request_trailers.clone().context("the module takes no trailers")?;
        let action = self.enter(stream.0, &on_trailers, (stream.0, count))?;
        Action::of(action)
    }

    /// The host removes the first plugin.
    ///
    /// # Errors
    /// When the filter traps.
    pub fn let_go(&mut self) -> Result<()> {
        self.remove(Plugin::FIRST)
    }

    /// Ticks, whether the filter wants a tick or not. No time passes.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn tick(&mut self) -> Result<()> {
        self.tick_of(Plugin::FIRST)
    }

    /// Answers a callout with any headers.
    ///
    /// # Errors
    /// As [`Host::answer`].
    pub fn answer_with(&mut self, callout: u32, headers: &[(&str, &[u8])], body: &[u8]) -> Result<()> {
        self.deliver(callout, HeaderMap::from_client(headers), body)
    }

    /// Answers a callout and announces a larger body than there is.
    ///
    /// # Errors
    /// As [`Host::answer`].
    pub fn answer_promising(&mut self, callout: u32, promised: u32, body: &[u8]) -> Result<()> {
        let headers = HeaderMap::from_client(&[(":status", b"200")]);
        self.deliver_sized(callout, headers, body, promised)
    }

    /// Reports the end of a callout that has ended before. Envoy forgets a callout when it reports its end.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn report_again(&mut self, callout: u32) -> Result<()> {
        let on_response = self.guest.on_http_call_response.clone();
        self.enter(ROOT, &on_response, (ROOT, callout, 0, 0, 0))
    }

    /// Loses a callout: nothing is ever reported about it.
    pub fn lose(&mut self, callout: u32) {
        self.store.data_mut().callouts.remove(&callout);
    }
}
