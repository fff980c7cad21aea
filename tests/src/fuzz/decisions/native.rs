//! The gate without wasm: what the filter's glue does with its steps, written once more and plainly.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, anyhow};
use curfew_core::verify_natively;
use curfew_core::wire::{CheckAnswer, CheckRequest};
use curfew_filter::config::Config;
use curfew_filter::gate::{Decision, Gate, Now, Question, Refusal, Step};
use curfew_filter::metrics::NAMES;
use curfew_filter::outage::Failure;
use curfew_filter::permit::Edits;
use curfew_filter::request::Request;
use curfew_filter::strict::Answer;
use serde_json::Value;

use crate::wasm_host::{HeaderMap, Outcome, START};

/// The largest answer that the filter looks at.
const MAX_ANSWER_BYTES: usize = 4096;

type Headers = Vec<(String, Vec<u8>)>;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Waits,
    Went(HeaderMap),
    Refused { status: u32, details: String, body: String },
}

impl Seen {
    /// What the wasm host saw.
    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Paused => Self::Waits,
            Outcome::Continued { headers } => Self::Went(headers),
            Outcome::LocalReply { status, details, body, .. } => Self::Refused { status, details, body },
        }
    }

    fn refused(refusal: &Refusal) -> Self {
        let denial = refusal.denial;
        let body = if refusal.grpc { String::new() } else { denial.problem_with(&refusal.detail).to_json() };
        Self::Refused { status: denial.status().into(), details: format!("curfew_{}", denial.code()), body }
    }

    fn went(headers: &Headers) -> Self {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        Self::Went(HeaderMap::from_client(&headers))
    }
}

/// A gate and its surroundings.
pub(super) struct Native {
    gate: Gate,
    now: Now,
    /// Whether the control plane takes questions.
    pub(super) healthy: bool,
    headers: BTreeMap<u32, Headers>,
    seen: BTreeMap<u32, Seen>,
    calls: BTreeMap<u32, CheckRequest>,
    next_call: u32,
    next_stream: u32,
    /// The period of the ticks that were asked for, in milliseconds; 0 for none.
    ticks: u64,
    counted: BTreeMap<&'static str, u64>,
}

impl Native {
    pub(super) fn new(configuration: &[u8]) -> Result<Self> {
        let config = Config::parse(configuration).map_err(|mistakes| anyhow!("{mistakes}"))?;
        Ok(Self {
            gate: Gate::new(config, [1, 2]),
            now: Now { monotonic: Duration::ZERO, unix: START },
            healthy: true,
            headers: BTreeMap::new(),
            seen: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 1,
            next_stream: 2,
            ticks: 0,
            counted: BTreeMap::new(),
        })
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now.monotonic += time;
    }

    pub(super) fn set_unix(&mut self, unix: i64) {
        self.now.unix = unix;
    }

    /// The questions that wait, by their calls.
    pub(super) fn calls(&self) -> Vec<u32> {
        self.calls.keys().copied().collect()
    }

    pub(super) fn asked(&self) -> Result<Vec<(u32, Value)>> {
        self.calls.iter().map(|(call, question)| Ok((*call, serde_json::to_value(question)?))).collect()
    }

    pub(super) fn seen(&self, stream: u32) -> Option<&Seen> {
        self.seen.get(&stream)
    }

    pub(super) fn counted(&self, name: &str) -> u64 {
        self.counted.get(name).copied().unwrap_or(0)
    }

    /// A request arrives; its name.
    pub(super) fn request(&mut self, headers: &[(&str, &[u8])]) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 1;
        let own: Headers = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect();
        let pairs: Vec<_> = own.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        let step = self.gate.arrive(stream, &Request::new(&pairs), self.now, verify_natively);
        self.headers.insert(stream, own);
        self.seen.insert(stream, Seen::Waits);
        match step {
            Step::Admit(permit) => self.act(stream, &Ok(permit)),
            Step::Refuse(refusal) => self.act(stream, &Err(refusal)),
            Step::Wait { edits, question } => {
                self.edit(stream, &edits);
                if let Some(question) = question {
                    self.send(&question);
                    self.tick_sooner();
                }
                if let Some(decision) = self.gate.release_only(stream) {
                    self.act(stream, &decision);
                }
            }
        }
        self.count();
        stream
    }

    /// A question's callout ends, with an answer or by a reset.
    pub(super) fn answer(&mut self, call: u32, answer: Option<(u16, &[u8])>) {
        self.calls.remove(&call);
        if !self.gate.asked(call) {
            return;
        }
        let verdict = answer.map_or(Err(Failure::NoResponse), |(status, body)| verdict(status, body));
        let released = self.gate.answered(call, verdict, self.now);
        self.release(&released.streams);
        if let Some(question) = &released.question {
            self.send(question);
        }
        self.count();
        self.tick_sooner();
    }

    /// Ticks until there is nothing to release and nothing to wait for; how many there were.
    pub(super) fn settle(&mut self) -> u32 {
        let mut ticks = 0;
        while self.ticks > 0 {
            ticks += 1;
            self.advance(Duration::from_millis(self.ticks));
            self.gate.give_up_lost(self.now);
            self.count();
            if self.gate.holds_back() {
                let streams = self.gate.release_more();
                self.release(&streams);
                self.count();
            }
            self.ticks = self.wanted_ticks();
        }
        ticks
    }

    fn wanted_ticks(&self) -> u64 {
        if self.gate.holds_back() {
            return 1;
        }
        let period = self.gate.gives_up_every();
        period.map_or(0, |period| u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1))
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

    fn send(&mut self, question: &Question) {
        if !self.healthy {
            return self.gate.not_sent(question.id, self.now);
        }
        self.gate.sent(question.id, self.next_call);
        self.calls.insert(self.next_call, question.request.clone());
        self.next_call += 1;
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
            match headers.iter_mut().find(|(own, _)| own == name) {
                Some((_, own)) => *own = value.clone().into_bytes(),
                None => headers.push((name.clone(), value.clone().into_bytes())),
            }
        }
    }

    fn count(&mut self) {
        for metric in self.gate.take_counted() {
            if let Some((_, name)) = NAMES.get(metric.index()) {
                *self.counted.entry(name).or_default() += 1;
            }
        }
    }
}

/// The verdict in an answer: a 200 of a reasonable size with our body.
fn verdict(status: u16, body: &[u8]) -> Result<Answer, Failure> {
    match status {
        200 if body.len() <= MAX_ANSWER_BYTES => {
            serde_json::from_slice::<CheckAnswer>(body).map(Answer::from).map_err(|_| Failure::NoVerdict)
        }
        200 => Err(Failure::NoVerdict),
        status => Err(Failure::Status(status)),
    }
}
