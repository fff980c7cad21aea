//! Exchanges between the host and the filter: requests from clients, and answers to the filter's callouts.

use anyhow::{Context as _, Result, bail};

use super::{Callout, HeaderMap, Host, Outcome, Plugin, StreamId, guest};

impl Host {
    /// Sends a request without a body. Header names arrive in lower case, as Envoy's codecs deliver them.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn request(&mut self, headers: &[(&str, &[u8])]) -> Result<(StreamId, Outcome)> {
        self.open(Plugin::FIRST, headers, None)
    }

    /// Sends a request with a body, which reaches the filter after its headers were admitted.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn request_with_body(&mut self, headers: &[(&str, &[u8])], body: &[u8]) -> Result<(StreamId, Outcome)> {
        self.open(Plugin::FIRST, headers, Some(body.to_vec()))
    }

    pub(super) fn open(
        &mut self,
        plugin: Plugin,
        headers: &[(&str, &[u8])],
        body: Option<Vec<u8>>,
    ) -> Result<(StreamId, Outcome)> {
        let id = self.next_context;
        self.next_context += 1;
        let headers = HeaderMap::from_client(headers);
        let count = u32::try_from(headers.len())?;
        let end_of_stream = u32::from(body.is_none());
        self.store.data_mut().streams.open(id, plugin.0, headers, body);
        let create = self.guest.on_context_create.clone();
        self.enter(id, &create, (id, plugin.0))?;
        let on_headers = self.guest.on_request_headers.clone();
        let action = self.enter(id, &on_headers, (id, count, end_of_stream))?;
        self.store.data_mut().streams.headers_done(id, action)?;
        let fuel = self.last_fuel;
        self.finish_decided()?;
        self.last_fuel = fuel;
        let stream = StreamId(id);
        Ok((stream, self.outcome(stream)?))
    }

    /// The outcome of a request so far.
    ///
    /// # Errors
    /// When the stream was closed.
    pub fn outcome(&self, stream: StreamId) -> Result<Outcome> {
        let stream = self.store.data().streams.get(stream.0).context("the stream is closed")?;
        Ok(stream.outcome().clone())
    }

    /// The client goes away, or the exchange is over: the stream's context is deleted.
    ///
    /// # Errors
    /// When the filter traps.
    pub fn close(&mut self, stream: StreamId) -> Result<()> {
        let id = stream.0;
        for callback in [self.guest.on_done.clone(), self.guest.on_log.clone()] {
            match callback {
                Some(guest::Ending::Done(call)) => drop(self.enter(id, &call, id)?),
                Some(guest::Ending::Plain(call)) => self.enter(id, &call, id)?,
                None => {}
            }
        }
        self.store.data_mut().streams.close(id);
        let delete = self.guest.on_delete.clone();
        self.enter(id, &delete, id)
    }

    /// The callouts that wait for an answer, oldest first.
    pub fn callouts(&self) -> Vec<Callout> {
        self.store.data().callouts.values().cloned().collect()
    }

    /// Answers a callout.
    ///
    /// # Errors
    /// When there is no such callout, the filter traps or breaks a rule of the host.
    pub fn answer(&mut self, callout: u32, status: u16, body: &[u8]) -> Result<()> {
        let headers = HeaderMap::from_client(&[
            (":status", status.to_string().as_bytes()),
            ("content-type", b"application/json"),
        ]);
        self.deliver(callout, headers, body)
    }

    /// Lets a callout fail as Envoy reports a reset: without any header.
    ///
    /// # Errors
    /// As [`Host::answer`].
    pub fn fail(&mut self, callout: u32) -> Result<()> {
        self.deliver(callout, HeaderMap::default(), b"")
    }

    pub(super) fn deliver(&mut self, token: u32, headers: HeaderMap, body: &[u8]) -> Result<()> {
        self.deliver_sized(token, headers, body, u32::try_from(body.len())?)
    }

    pub(super) fn deliver_sized(&mut self, token: u32, headers: HeaderMap, body: &[u8], size: u32) -> Result<()> {
        let state = self.store.data_mut();
        let callout = state.callouts.remove(&token).with_context(|| format!("no callout {token} is waiting"))?;
        let root = callout.plugin.0;
        let sizes = (u32::try_from(headers.len())?, size);
        state.call_response = Some((headers, body.to_vec()));
        let on_response = self.guest.on_http_call_response.clone();
        self.enter(root, &on_response, (root, token, sizes.0, sizes.1, 0))?;
        let fuel = self.last_fuel;
        self.store.data_mut().call_response = None;
        self.finish_decided()?;
        self.last_fuel = fuel;
        Ok(())
    }

    /// Makes the calls that Envoy makes after a request was admitted (for its body) or answered (for the reply's
    /// headers).
    pub(super) fn finish_decided(&mut self) -> Result<()> {
        while let Some((id, body)) = self.store.data_mut().streams.next_to_finish() {
            match (body, self.guest.on_request_body.clone(), self.guest.on_response_headers.clone()) {
                (Some(body), Some(on_body), _) => {
                    let size = u32::try_from(body.len())?;
                    if self.enter(id, &on_body, (id, size, 1))? != 0 {
                        bail!("the filter holds the body of a request that it admitted");
                    }
                }
                (None, _, Some(on_headers)) => {
                    self.enter(id, &on_headers, (id, 1, 0))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
