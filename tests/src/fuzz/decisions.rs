//! Anything that can happen to a filter, to two of them at once: the gate as the tests of its crate run it, and the module
//! that ships, in the wasm host.
//!
//! What is observed must be the same after every event: what became of each request and with which headers, what is asked,
//! and what is counted. So what is shown of the one by other means holds for the other: 32-bit sizes, the target's own
//! library, the glue and the bytes that travel between it and the host change nothing.

mod native;
mod setups;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Outcome;
use super::script::{self, Event};
use crate::wasm_host::{ClusterState, Host, StreamId};
use native::Native;
use setups::setups;

/// What became of some request, as it is counted.
pub(super) const REACHES: [Outcome; 11] = [
    "curfew_requests_report_only",
    "curfew_requests_revoked",
    "curfew_requests_unavailable_allowed",
    "curfew_requests_unavailable_denied",
    "curfew_requests_expired",
    "curfew_requests_admitted",
    "curfew_requests_anonymous",
    "curfew_requests_skipped",
    "curfew_requests_invalid",
    "curfew_requests_missing",
    "nothing",
];

/// Requests that are open at once; more are not sent.
const MOST_STREAMS: usize = 48;

/// Plays a script, see [`script`], to both.
///
/// # Errors
/// The first thing in which they differ, or the rule of a host that the module breaks.
pub fn check(text: &[u8]) -> Result<Outcome> {
    let (configuration, events) = script::read(text);
    let setups = setups()?;
    let setup = setups.numbered(configuration);
    let mut both = Both { host: Host::start(setup)?, native: Native::new(&setup.configuration)?, streams: Vec::new() };
    for (shown, event) in events {
        both.play(event).with_context(|| format!("at {shown}"))?;
        both.agree().with_context(|| format!("after {shown}"))?;
    }
    let counted = |name: &&Outcome| both.native.counted(name) > 0;
    Ok(REACHES.iter().find(counted).copied().unwrap_or("nothing"))
}

struct Both {
    host: Host,
    native: Native,
    /// Those that are open, by the host's name and by our own.
    streams: Vec<(StreamId, u32)>,
}

impl Both {
    fn play(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Request(headers) => self.request(headers)?,
            Event::Answer { question, status, body } => {
                if let Some(call) = self.call(question) {
                    self.host.answer(call, status, &body)?;
                    self.native.answer(call, Some((status, &body)));
                }
            }
            Event::Reset(question) => {
                if let Some(call) = self.call(question) {
                    self.host.fail(call)?;
                    self.native.answer(call, None);
                }
            }
            Event::Pass(milliseconds) => {
                let time = Duration::from_millis(milliseconds % 100_000_000);
                self.host.advance(time);
                self.native.advance(time);
            }
            Event::SetClock(seconds) => {
                self.host.step_wall_clock(seconds);
                self.native.set_unix(self.host.now());
            }
            Event::Leave(place) => self.leave(place)?,
            Event::Plane(healthy) => {
                let state = if healthy { ClusterState::Healthy } else { ClusterState::Unhealthy };
                self.host.set_cluster("curfew", state);
                self.native.healthy = healthy;
            }
            Event::Settle => {
                let ticks = self.host.settle()?;
                ensure!(ticks == self.native.settle(), "another number of ticks than {ticks}");
            }
        }
        self.native.set_unix(self.host.now());
        Ok(())
    }

    fn request(&mut self, headers: super::head::Pairs) -> Result<()> {
        if self.streams.len() >= MOST_STREAMS {
            return Ok(());
        }
        let headers = setups()?.filled_in(headers);
        let text = |name: &Vec<u8>| String::from_utf8(name.clone()).ok();
        let headers: Vec<_> = headers.into_iter().filter_map(|(name, value)| Some((text(&name)?, value))).collect();
        let borrowed: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let (stream, _) = self.host.request(&borrowed)?;
        let own = self.native.request(&borrowed);
        self.streams.push((stream, own));
        Ok(())
    }

    fn leave(&mut self, place: usize) -> Result<()> {
        if self.streams.is_empty() {
            return Ok(());
        }
        let (stream, own) = self.streams.remove(place % self.streams.len());
        self.host.close(stream)?;
        self.native.leave(own);
        Ok(())
    }

    /// One of the questions that wait for an answer.
    fn call(&self, place: usize) -> Option<u32> {
        let calls = self.native.calls();
        calls.get(place.checked_rem(calls.len())?).copied()
    }

    /// Whether everything that can be observed is the same.
    fn agree(&self) -> Result<()> {
        for (stream, own) in &self.streams {
            let (module, native) = (native::Seen::of(self.host.outcome(*stream)?), self.native.seen(*own));
            ensure!(native == Some(&module), "the module: {module:?}\nnatively: {native:?}");
        }
        let asked: Vec<_> = self.host.callouts().iter().map(|callout| (callout.token, callout.json())).collect();
        let native = self.native.asked()?;
        ensure!(asked == native, "the module asks {asked:?}\nnatively: {native:?}");
        for (name, count) in self.host.metrics() {
            let native = self.native.counted(&name);
            let signatures = name.starts_with("curfew_signatures_");
            ensure!(signatures || native == count, "{name} is {count} in the module and {native} natively");
        }
        Ok(())
    }
}
