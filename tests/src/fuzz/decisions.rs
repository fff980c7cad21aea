//! Any sequence of events, played to two filters at once: the gate as the tests of its crate run it, and the shipped
//! module in the wasm host.
//!
//! After every event, both must show the same: the outcome of each request and its headers, the questions and polls,
//! when the next tick is wanted, the content of the copy, and the counters. Then other tests of the gate also hold for
//! the module: 32-bit sizes, the target's own library, the glue, and the bytes between the glue and the host change
//! nothing.

mod key_sets;
mod native;
mod pages;
mod readers;
mod seen;
mod setups;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use curfew_filter::metrics::{GAUGE_NAMES, KEYS_GAUGE};

use super::Outcome;
use super::script::{self, Event};
use crate::wasm_host::{ClusterState, Host, StreamId};
use native::Native;
use readers::{READERS, Readers};
use seen::{Asked, Seen};
use setups::{Prepared, setups};

/// The counters that give a script its outcome. The first that is not zero counts.
pub(super) const REACHES: [Outcome; 21] = [
    "curfew_keys_removed_meanwhile",
    "curfew_replica_overflows",
    "curfew_replica_restarts",
    "curfew_leases_lost",
    "curfew_keys_replaced",
    "curfew_key_calls_failed",
    "curfew_key_waits",
    "curfew_replica_decided",
    "curfew_leases_gained",
    "curfew_polls_failed",
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

/// The largest number of requests that are open at once.
const MOST_STREAMS: usize = 48;

/// Plays a script (see [`script`]) to both.
///
/// # Errors
/// The first difference, or the rule of a host that the module breaks.
pub fn check(text: &[u8]) -> Result<Outcome> {
    check_with(text, READERS)
}

fn check_with(text: &[u8], readers: Readers) -> Result<Outcome> {
    let (configuration, events) = script::read(text);
    let prepared = setups()?.numbered(configuration)?;
    let mut both = Both::new(prepared, readers)?;
    for (number, (shown, event)) in events.into_iter().enumerate() {
        both.set_random(random_byte(number + 1));
        both.play(event).with_context(|| format!("at {shown}"))?;
        both.agree().with_context(|| format!("after {shown}"))?;
    }
    let outcome = REACHES.iter().find(|name| both.native.has_counted(name)).copied().unwrap_or("nothing");
    // Counts that the host has not got yet must be the same too.
    both.play(Event::TickNow)?;
    both.agree().context("after the last tick")?;
    Ok(outcome)
}

/// The value of every random byte during an event. It differs from event to event, so that a worker with a new id can
/// be distinguished from a worker that keeps its id.
fn random_byte(event: usize) -> u8 {
    event.to_le_bytes()[0].wrapping_mul(37).wrapping_add(1)
}

struct Both {
    host: Host,
    native: Native,
    tokens: &'static Prepared,
    /// The open requests, by the host's name and by our own.
    streams: Vec<(StreamId, u32)>,
    /// By how many bytes an empty copy is smaller where pointers have 32 bits; known from the first page on.
    pointers: Option<u64>,
}

impl Both {
    fn new(prepared: &'static Prepared, readers: Readers) -> Result<Self> {
        let random = random_byte(0);
        let host = Host::start(&prepared.setup.clone().with_random(random))?;
        let native = Native::new(&prepared.setup.configuration, random, readers)?;
        Ok(Self { host, native, tokens: prepared, streams: Vec::new(), pointers: None })
    }

    fn set_random(&mut self, byte: u8) {
        self.host.set_random(byte);
        self.native.set_random(byte);
    }

    fn play(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Request(headers) => self.request(headers)?,
            Event::Verdict { question, body } => self.answer(at(&self.native.questions(), question), 200, &body)?,
            Event::Answer { call, status, body } => self.answer(at(&self.native.calls(), call), status, &body)?,
            Event::Page { poll, words } => {
                if let Some((call, poll)) = at(&self.native.polls(), poll) {
                    let body = pages::body(&words, &poll, &self.tokens.tokens)?;
                    self.answer(Some(call), 200, &body)?;
                }
            }
            Event::Keys { call, words } => {
                if let Some((call, request)) = at(&self.native.key_calls(), call) {
                    let body = key_sets::body(&words, &request, &self.tokens.handed_out)?;
                    self.answer(Some(call), 200, &body)?;
                }
            }
            Event::Reset(call) => {
                if let Some(call) = at(&self.native.calls(), call) {
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
                self.native.step_wall_clock(seconds);
            }
            Event::Leave(place) => self.leave(place)?,
            Event::Plane(healthy) => {
                let state = if healthy { ClusterState::Healthy } else { ClusterState::Unhealthy };
                self.host.set_cluster("curfew", state);
                self.native.healthy = healthy;
            }
            Event::Ticks(count) => {
                for _ in 0..count {
                    ensure!(self.host.next_tick()? == self.native.next_tick(), "one of the two wants no tick");
                }
            }
            Event::TickNow => {
                self.host.tick()?;
                self.native.tick();
            }
            Event::Settle => {
                let ticks = self.host.settle()?;
                ensure!(ticks == self.native.settle(), "another number of ticks than {ticks}");
            }
        }
        Ok(())
    }

    fn answer(&mut self, call: Option<u32>, status: u16, body: &[u8]) -> Result<()> {
        let Some(call) = call else { return Ok(()) };
        self.host.answer(call, status, body)?;
        self.native.answer(call, Some((status, body)));
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

    /// Checks that everything that can be observed is the same.
    fn agree(&mut self) -> Result<()> {
        for (stream, own) in &self.streams {
            let (module, native) = (Seen::of(self.host.outcome(*stream)?), self.native.seen(*own));
            ensure!(native == Some(&module), "the module: {module:?}\nnatively: {native:?}");
        }
        let asked: Vec<_> = self.host.callouts().iter().map(Asked::of).collect();
        let native = self.native.asked()?;
        ensure!(asked == native, "the module asks {asked:?}\nnatively: {native:?}");
        let (ticks, native) = (self.host.ticks_wanted(), Duration::from_millis(self.native.ticks));
        ensure!(ticks.unwrap_or_default() == native, "the module wants ticks every {ticks:?}, natively {native:?}");
        let metrics = self.host.metrics();
        for (name, count) in
            metrics.iter().filter(|(name, _)| !GAUGE_NAMES.contains(&name.as_str()) && name != KEYS_GAUGE)
        {
            let native = self.native.told(name);
            let signatures = name.starts_with("curfew_signatures_");
            ensure!(signatures || native == *count, "{name} is {count} in the module and {native} natively");
        }
        self.gauges_agree()
    }

    /// The copies are the same, except for the size of pointers.
    fn gauges_agree(&mut self) -> Result<()> {
        let (module, native) = (self.host.metric(KEYS_GAUGE), self.native.keys_seq);
        ensure!(module == native, "the module's keys are as new as {module}, natively {native}");
        let module @ [seq, entries, bytes] = GAUGE_NAMES.map(|name| self.host.metric(name));
        let native = self.native.gauges;
        if native.bytes > 0 && self.pointers.is_none() {
            self.pointers = native.bytes.checked_sub(bytes);
        }
        let pointers = self.pointers.unwrap_or(0);
        let same = (seq, entries, bytes + pointers) == (native.seq, native.entries, native.bytes);
        ensure!(same, "the module shows {module:?} and {pointers} bytes of pointers, natively {native:?}");
        Ok(())
    }
}

/// One of these; after the last, the count begins again.
fn at<T: Clone>(all: &[T], place: usize) -> Option<T> {
    all.get(place.checked_rem(all.len())?).cloned()
}

#[cfg(test)]
mod tests;
