//! The gate without wasm: a second, plain version of what the filter's glue does with the gate's steps.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, anyhow};
use curfew_core::wire::{CHECK_PATH, CheckRequest, FEED_PATH, FeedRequest, KEYS_PATH, KeysRequest};
use curfew_core::{WorkerId, verify_natively};
use curfew_filter::config::Config;
use curfew_filter::feed::{Poll, Randomness};
use curfew_filter::gate::{Decision, Gate, Question, Step};
use curfew_filter::held_keys::{KeyCall, Waited};
use curfew_filter::metrics::{Gauges, NAMES};
use curfew_filter::now::Now;
use curfew_filter::outage::Failure;
use curfew_filter::permit::Edits;
use curfew_filter::request::Request;
use serde_json::Value;

use super::readers::Readers;
use super::seen::{Asked, Headers, Seen};
use crate::wasm_host::START;

/// The feed is not woken more often than this.
const SHORTEST_WAKE: Duration = Duration::from_millis(10);

/// A gate and its surroundings.
pub(super) struct Native {
    gate: Gate,
    readers: Readers,
    now: Now,
    /// Since 1970.
    wall: Duration,
    /// The value of every random byte.
    random: u8,
    /// True if the control plane takes questions.
    pub(super) healthy: bool,
    headers: BTreeMap<u32, Headers>,
    seen: BTreeMap<u32, Seen>,
    calls: BTreeMap<u32, Call>,
    next_call: u32,
    next_stream: u32,
    /// The period of the requested ticks in milliseconds; 0 for none.
    pub(super) ticks: u64,
    /// The counters so far, and the part of them that the host would have got.
    counted: BTreeMap<&'static str, u64>,
    told: BTreeMap<&'static str, u64>,
    pub(super) gauges: Gauges,
    pub(super) keys_seq: u64,
}

/// What a callout asks.
enum Call {
    Check(CheckRequest),
    Poll(Poll),
    Keys(KeyCall),
}

impl Native {
    pub(super) fn new(configuration: &[u8], random: u8, readers: Readers) -> Result<Self> {
        let config = Config::parse(configuration).map_err(|mistakes| anyhow!("{mistakes}"))?;
        let seed = [u64::from_le_bytes([random; 8]); 2];
        Ok(Self {
            gate: Gate::new(config, seed),
            readers,
            now: Now { monotonic: Duration::ZERO, unix: START },
            wall: Duration::from_secs(START.unsigned_abs()),
            random,
            healthy: true,
            headers: BTreeMap::new(),
            seen: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 1,
            next_stream: 2,
            ticks: 0,
            counted: BTreeMap::new(),
            told: BTreeMap::new(),
            gauges: Gauges::default(),
            keys_seq: 0,
        })
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.set_wall(self.wall + time);
    }

    /// Moves the wall clock by this many seconds.
    pub(super) fn step_wall_clock(&mut self, seconds: i64) {
        let step = Duration::from_secs(seconds.unsigned_abs());
        self.set_wall(if seconds < 0 { self.wall.saturating_sub(step) } else { self.wall + step });
    }

    fn set_wall(&mut self, wall: Duration) {
        self.wall = wall;
        self.now.unix = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
    }

    pub(super) fn set_random(&mut self, byte: u8) {
        self.random = byte;
    }

    fn randomness(&self) -> Randomness {
        let worker = WorkerId::from_bytes([self.random; 16]);
        Randomness { worker, jitter: u32::from_le_bytes([self.random; 4]) }
    }

    /// The callouts that wait for an answer.
    pub(super) fn calls(&self) -> Vec<u32> {
        self.calls.keys().copied().collect()
    }

    /// The questions among them.
    pub(super) fn questions(&self) -> Vec<u32> {
        let questions = self.calls.iter().filter(|(_, call)| matches!(call, Call::Check(_)));
        questions.map(|(call, _)| *call).collect()
    }

    /// The polls among them, some of which may be given up.
    pub(super) fn polls(&self) -> Vec<(u32, FeedRequest)> {
        let poll = |(call, asked): (&u32, &Call)| match asked {
            Call::Poll(poll) => Some((*call, poll.request.clone())),
            Call::Check(_) | Call::Keys(_) => None,
        };
        self.calls.iter().filter_map(poll).collect()
    }

    /// The calls for keys among them, likewise.
    pub(super) fn key_calls(&self) -> Vec<(u32, KeysRequest)> {
        let keys = |(call, asked): (&u32, &Call)| match asked {
            Call::Keys(keys) => Some((*call, keys.request.clone())),
            Call::Check(_) | Call::Poll(_) => None,
        };
        self.calls.iter().filter_map(keys).collect()
    }

    pub(super) fn asked(&self) -> Result<Vec<Asked>> {
        let usual = self.gate.config().control_plane.timeout;
        let asked = |(&call, asked): (&u32, &Call)| {
            let (path, timeout, body): (_, _, Value) = match asked {
                Call::Check(question) => (CHECK_PATH, usual, serde_json::to_value(question)?),
                Call::Poll(poll) => (FEED_PATH, poll.timeout, serde_json::to_value(&poll.request)?),
                Call::Keys(keys) => (KEYS_PATH, keys.timeout, serde_json::to_value(&keys.request)?),
            };
            Ok(Asked { call, path: path.to_owned(), body, timeout_ms: timeout.as_millis() })
        };
        self.calls.iter().map(asked).collect()
    }

    pub(super) fn seen(&self, stream: u32) -> Option<&Seen> {
        self.seen.get(&stream)
    }

    pub(super) fn told(&self, name: &str) -> u64 {
        self.told.get(name).copied().unwrap_or(0)
    }

    /// True if something of this name was counted, whether the host got it or not.
    pub(super) fn has_counted(&self, name: &str) -> bool {
        self.counted.contains_key(name)
    }

    /// A request arrives; returns its name.
    pub(super) fn request(&mut self, headers: &[(&str, &[u8])]) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 1;
        let own: Headers = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect();
        self.headers.insert(stream, own);
        self.seen.insert(stream, Seen::Waits);
        if let Some((edits, question)) = self.arrive(stream, Waited::default()) {
            self.edit(stream, &edits);
            if question.is_some() || self.gate.key_call_is_due() {
                question.iter().for_each(|question| self.ask(question));
                self.call_keys();
                self.poll();
                self.tick_sooner();
            }
            if let Some(decision) = self.gate.release_only(stream) {
                self.act(stream, &decision);
            } else if let Some(waited) = self.gate.take_returning(stream) {
                self.arrive(stream, waited);
            }
        }
        self.note();
        // Counts of an admission may wait for the end of a poll that is under way, and for nothing else.
        let polling = self.calls.keys().any(|call| self.gate.polled(*call));
        if !matches!(self.seen.get(&stream), Some(Seen::Went(_))) || !polling {
            self.tell();
        }
        stream
    }

    /// Decides about the headers of a request. If it is to wait: the edits to make, and the question to send.
    fn arrive(&mut self, stream: u32, waited: Waited) -> Option<(Edits, Option<Question>)> {
        let own = self.headers.get(&stream)?.clone();
        let pairs: Vec<_> = own.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        match self.gate.arrive_again(stream, waited, &Request::new(&pairs), self.now, verify_natively) {
            Step::Admit(permit) => self.act(stream, &Ok(permit)),
            Step::Refuse(refusal) => self.act(stream, &Err(refusal)),
            Step::Wait { edits, question } => return Some((edits, question)),
        }
        None
    }

    /// A callout ends, with an answer or by a reset.
    pub(super) fn answer(&mut self, call: u32, answer: Option<(u16, &[u8])>) {
        self.calls.remove(&call);
        if self.gate.asked(call) {
            self.question_ended(call, answer);
        } else if self.gate.polled(call) {
            self.poll_ended(call, answer);
        } else if self.gate.called_for_keys(call) {
            self.keys_ended(call, answer);
        }
        self.tick_sooner();
    }

    fn question_ended(&mut self, call: u32, answer: Option<(u16, &[u8])>) {
        let verdict = answer.map_or(Err(Failure::NoResponse), |(status, body)| (self.readers.verdict)(status, body));
        let released = self.gate.answered(call, verdict, self.now);
        self.release(&released.streams);
        if let Some(question) = &released.question {
            self.ask(question);
        }
        self.call_keys();
        self.poll();
        self.report();
    }

    fn keys_ended(&mut self, call: u32, answer: Option<(u16, &[u8])>) {
        let keys = answer.map_or(Err(Failure::NoResponse), |(status, body)| (self.readers.keys)(status, body));
        self.gate.keys_answered(call, keys.as_ref().map_err(|failure| *failure), self.now);
        self.release_portion();
        self.poll();
        self.report();
    }

    fn release_portion(&mut self) {
        let portion = self.gate.next_portion(self.now);
        self.release(&portion.streams);
        let mut questions = portion.questions;
        for (stream, waited) in portion.returning {
            if let Some((edits, question)) = self.arrive(stream, waited) {
                self.edit(stream, &edits);
                questions.extend(question);
            }
        }
        questions.iter().for_each(|question| self.ask(question));
        self.call_keys();
    }

    fn poll_ended(&mut self, call: u32, answer: Option<(u16, &[u8])>) {
        let page = answer.map_or(Err(Failure::NoResponse), |(status, body)| (self.readers.page)(status, body));
        self.gate.poll_answered(call, page.as_ref().map_err(|failure| *failure), self.now, self.randomness());
        self.call_keys();
        self.poll();
        self.report();
    }

    /// Ticks until there is nothing to release and nothing to wait for; returns how many ticks that took.
    pub(super) fn settle(&mut self) -> u32 {
        let mut ticks = 0;
        while self.next_tick() {
            ticks += 1;
        }
        ticks
    }

    /// Lets the time to the next tick pass, and ticks; false if no tick is wanted.
    pub(super) fn next_tick(&mut self) -> bool {
        if self.ticks == 0 {
            return false;
        }
        self.advance(Duration::from_millis(self.ticks));
        self.tick();
        true
    }

    pub(super) fn tick(&mut self) {
        self.gate.give_up_lost(self.now);
        self.poll();
        self.call_keys();
        if self.gate.holds_back() {
            self.release_portion();
        }
        self.report();
        self.ticks = self.wanted_ticks();
    }

    fn wanted_ticks(&self) -> u64 {
        if self.gate.holds_back() {
            return 1;
        }
        let feed = self.gate.polls_at().map(|at| at.saturating_sub(self.now.monotonic).max(SHORTEST_WAKE));
        let soonest = [self.gate.gives_up_every(), feed].into_iter().flatten().min();
        let milliseconds = soonest.map_or(0, |period| period.as_nanos().div_ceil(1_000_000).max(1));
        u64::try_from(milliseconds).unwrap_or(u64::MAX)
    }

    fn tick_sooner(&mut self) {
        let wanted = self.wanted_ticks();
        if wanted > 0 && (self.ticks == 0 || wanted < self.ticks) {
            self.ticks = wanted;
        }
    }

    /// The client goes away.
    pub(super) fn leave(&mut self, stream: u32) {
        self.headers.remove(&stream);
        self.seen.remove(&stream);
        self.gate.forget(stream);
    }

    fn ask(&mut self, question: &Question) {
        match self.dispatch(|| Call::Check(question.request.clone())) {
            Some(call) => self.gate.sent(question.id, call),
            None => self.gate.not_sent(question.id, self.now),
        }
    }

    /// Sends the poll that is due.
    fn poll(&mut self) {
        if self.gate.polls_at().is_none_or(|due| self.now.monotonic < due) {
            return;
        }
        let Some(poll) = self.gate.poll(self.now, self.randomness()) else { return };
        match self.dispatch(|| Call::Poll(poll)) {
            Some(call) => self.gate.poll_sent(call),
            None => self.gate.poll_not_sent(self.now, self.randomness()),
        }
    }

    /// Sends the calls for keys that are due.
    fn call_keys(&mut self) {
        while let Some(call) = self.gate.key_call(self.now) {
            let kind = call.kind;
            match self.dispatch(|| Call::Keys(call)) {
                Some(taken) => self.gate.key_call_sent(kind, taken),
                None => self.gate.key_call_not_sent(kind, self.now),
            }
        }
    }

    fn dispatch(&mut self, call: impl FnOnce() -> Call) -> Option<u32> {
        let name = self.healthy.then_some(self.next_call)?;
        self.next_call += 1;
        self.calls.insert(name, call());
        Some(name)
    }

    fn release(&mut self, streams: &[(u32, Decision)]) {
        for (stream, decision) in streams {
            self.act(*stream, decision);
        }
    }

    fn act(&mut self, stream: u32, decision: &Decision) {
        let seen = match decision {
            Ok(permit) => {
                self.edit(stream, &permit.edits);
                self.headers.get(&stream).map(Seen::went)
            }
            Err(refusal) => Some(Seen::refused(refusal)),
        };
        if let (Some(seen), true) = (seen, self.seen.contains_key(&stream)) {
            self.seen.insert(stream, seen);
        }
    }

    /// Removes every header of a name, and sets the first of one.
    fn edit(&mut self, stream: u32, edits: &Edits) {
        let Some(headers) = self.headers.get_mut(&stream) else { return };
        headers.retain(|(name, _)| !edits.remove.iter().any(|gone| gone == name.as_bytes()));
        for (name, value) in &edits.set {
            match headers.iter_mut().find(|(own, _)| **own == **name) {
                Some((_, own)) => *own = value.as_bytes().to_vec(),
                None => headers.push((name.to_string(), value.as_bytes().to_vec())),
            }
        }
    }

    fn report(&mut self) {
        self.note();
        self.tell();
    }

    fn tell(&mut self) {
        self.told.clone_from(&self.counted);
    }

    fn note(&mut self) {
        for metric in self.gate.take_counted() {
            if let Some((_, name)) = NAMES.get(metric.index()) {
                *self.counted.entry(name).or_default() += 1;
            }
        }
        self.gauges = self.gate.take_gauges().unwrap_or(self.gauges);
        self.keys_seq = self.gate.take_keys_gauge().unwrap_or(self.keys_seq);
    }
}
