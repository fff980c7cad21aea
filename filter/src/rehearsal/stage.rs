//! Leads a gate from the arrival of a request to the decision, and answers its calls.

use std::collections::BTreeSet;
use std::time::Duration;

use curfew_core::wire::FeedAnswer;
use curfew_core::{Denial, WorkerId, verify_natively};

use super::{Answers, Known};
use crate::feed::Randomness;
use crate::gate::{Decision, Gate, Question, Refusal, Released, Step};
use crate::held_keys::Waited;
use crate::ids::{CallId, StreamId};
use crate::knowledge::Answer;
use crate::now::Now;
use crate::outage::Failure;
use crate::permit::Permit;
use crate::request::Request;

/// How often a request may go on after waiting. A gate gives up before that.
const MOST_ROUNDS: u8 = 16;

/// Longer than nothing: time stands still.
const LEASE_MS: u64 = 1700;

const RANDOMNESS: Randomness = Randomness { worker: WorkerId::from_bytes([1; 16]), jitter: 0 };

/// A gate, and the control plane that it calls.
pub(super) struct Stage<'a> {
    gate: Gate,
    now: Now,
    answers: &'a mut dyn Answers,
    calls: CallId,
    known: Option<Known>,
    without_keys: BTreeSet<String>,
}

/// What becomes of a request that waits.
enum After {
    Decided(Decision),
    Anew(Waited),
    Nothing,
}

impl<'a> Stage<'a> {
    pub(super) fn new(gate: Gate, unix: i64, answers: &'a mut dyn Answers) -> Self {
        let now = Now { monotonic: Duration::from_secs(1), unix };
        Self { gate, now, answers, calls: 0, known: None, without_keys: BTreeSet::new() }
    }

    /// The issuers whose keys were asked for in vain.
    pub(super) fn without_keys(self) -> Vec<String> {
        self.without_keys.into_iter().collect()
    }

    /// Decides about a request. In strict mode it comes to a worker that has a lease: a first one has the worker learn what
    /// the log says of the token.
    pub(super) fn play(&mut self, request: &Request<'_>) -> Decision {
        let first = self.decide(1, request);
        if self.follow() { self.decide(2, request) } else { first }
    }

    fn decide(&mut self, stream: StreamId, request: &Request<'_>) -> Decision {
        let mut step = self.gate.arrive(stream, request, self.now, verify_natively);
        for _ in 0..MOST_ROUNDS {
            let (edits, question) = match step {
                Step::Admit(permit) => return Ok(permit),
                Step::Refuse(refusal) => return Err(refusal),
                Step::Wait { edits, question } => (edits, question),
            };
            match self.wait(stream, question) {
                // The request was edited when it began to wait.
                After::Decided(decision) => return decision.map(|permit| Permit { edits, ..permit }),
                After::Anew(waited) => {
                    step = self.gate.arrive_again(stream, waited, request, self.now, verify_natively);
                }
                After::Nothing => break,
            }
        }
        self.gate.forget(stream);
        Err(undecided())
    }

    /// Answers the calls that a request waits for, until it may go on.
    fn wait(&mut self, stream: StreamId, question: Option<Question>) -> After {
        let mut questions: Vec<_> = question.into_iter().collect();
        for _ in 0..MOST_ROUNDS {
            let mut next = Vec::new();
            for question in questions {
                let Released { streams, question } = self.ask(&question);
                if let Some(decision) = of(stream, streams) {
                    return After::Decided(decision);
                }
                next.extend(question);
            }
            self.bring_keys();
            let portion = self.gate.next_portion(self.now);
            if let Some(decision) = of(stream, portion.streams) {
                return After::Decided(decision);
            }
            if let Some((_, waited)) = portion.returning.into_iter().find(|(returning, _)| *returning == stream) {
                return After::Anew(waited);
            }
            next.extend(portion.questions);
            questions = next;
        }
        After::Nothing
    }

    fn ask(&mut self, question: &Question) -> Released {
        let call = self.number();
        self.gate.sent(question.id, call);
        self.known = self.answers.check(&question.request);
        let answer = self.known.as_ref().map(|known| Answer::from(known.answer.clone()));
        self.gate.answered(call, answer.ok_or(Failure::NoResponse), self.now)
    }

    fn bring_keys(&mut self) {
        for _ in 0..MOST_ROUNDS {
            let Some(due) = self.gate.key_call(self.now) else { break };
            let call = self.number();
            self.gate.key_call_sent(due.kind, call);
            let answer = self.answers.keys(&due.request);
            if let Some(answer) = &answer {
                let has_keys =
                    |issuer: &&String| answer.sets.iter().any(|set| set.issuer == **issuer && set.jwks.is_some());
                self.without_keys = due.request.issuers.iter().filter(|issuer| !has_keys(issuer)).cloned().collect();
            }
            self.gate.keys_answered(call, answer.as_ref().ok_or(Failure::NoResponse), self.now);
        }
    }

    /// Takes a lease, and what the log says of the token that was asked about. False in bounded mode, and where there is
    /// nothing to take.
    fn follow(&mut self) -> bool {
        let Some(Known { answer, revocations }) = self.known.take() else { return false };
        let Ok(epoch) = answer.epoch.parse() else { return false };
        if self.gate.poll(self.now, RANDOMNESS).is_none() || !self.answers.grants_leases() {
            return false;
        }
        let call = self.number();
        self.gate.poll_sent(call);
        let page = FeedAnswer {
            epoch,
            from: 0,
            to: answer.seq,
            more: false,
            keys_seq: answer.keys_seq,
            revocations,
            lease_ms: LEASE_MS,
            fresh_ms: 0,
        };
        self.gate.poll_answered(call, Ok(&page), self.now, RANDOMNESS);
        true
    }

    fn number(&mut self) -> CallId {
        self.calls = self.calls.saturating_add(1);
        self.calls
    }
}

fn of(stream: StreamId, streams: Vec<(StreamId, Decision)>) -> Option<Decision> {
    streams.into_iter().find(|(released, _)| *released == stream).map(|(_, decision)| decision)
}

/// The refusal of a request that the gate has left waiting.
fn undecided() -> Refusal {
    let denial = Denial::Unavailable;
    Refusal { denial, detail: denial.detail().to_owned(), grpc: false, mark: None, cause: None, token: None }
}
