//! The requests that wait for a question: from its sending to their release.

use std::time::Duration;

use super::{Decision, Gate, Portion, Question, Released, Verdict, Waiter};
use crate::ids::{CallId, StreamId};
use crate::knowledge::{Answer, QuestionId, Settled};
use crate::metrics::Metric;
use crate::now::Now;
use crate::outage::Failure;
use crate::permit::Edits;

/// How many requests one callback of the host may release.
///
/// Envoy carries out a callback's local replies after it, one inside the other, and each calls back into the VM: about
/// 300 of them overflow V8's stack, which kills the VM and with it every request that waits. Measured on Envoy 1.40;
/// other Wasm filters in the chain make it fewer.
pub const RELEASED_AT_ONCE: usize = 32;

impl Gate {
    /// The host took a question.
    pub fn sent(&mut self, question: QuestionId, call: CallId) {
        self.count(Metric::CheckSent);
        self.knowledge.questions_mut().sent(question, call);
    }

    /// The host did not take a question. The requests that wait for it are released by [`Self::release_more`], or one
    /// of them by [`Self::release_only`].
    pub fn not_sent(&mut self, question: QuestionId, now: Now) {
        self.failed(Failure::NotSent, now);
        let settled = self.knowledge.not_sent(question, now);
        self.hold(&settled);
    }

    /// The host did not change the headers of a stream that was to wait. The stream is refused, and its question is
    /// never sent.
    pub fn withdraw(&mut self, stream: StreamId, question: Option<QuestionId>, now: Now) {
        if let Some(question) = question {
            self.knowledge.not_sent(question, now);
        }
        self.forget(stream);
        self.count(Metric::UnavailableDenied);
    }

    /// A callout has ended, with the control plane's verdict or without any. Send [`Self::key_call`] after it.
    pub fn answered(&mut self, call: CallId, answer: Result<Answer, Failure>, now: Now) -> Released {
        match answer {
            Ok(answer) => {
                self.notices.extend(self.outage.ended(None, now.monotonic));
                self.keys.note_shown(answer.keys());
            }
            Err(failure) => self.failed(failure, now),
        }
        let settled = self.knowledge.answered(call, answer.ok(), now);
        self.hold(&settled);
        self.call_for_questions(now);
        let question = settled.ask_again.map(|(id, facts)| Question { id, request: facts.check.clone() });
        Released { streams: self.release_more(), question }
    }

    /// Gives up questions and calls for keys whose end the host should have reported long ago. The requests that wait for
    /// one are in the next portions.
    pub fn give_up_lost(&mut self, now: Now) {
        self.give_up_lost_key_calls(now);
        for settled in self.knowledge.give_up_lost(now) {
            self.failed(Failure::Lost, now);
            self.hold(&settled);
        }
    }

    /// How often to call [`Self::give_up_lost`]; `None` while neither a question nor a call for keys is under way.
    pub fn gives_up_every(&self) -> Option<Duration> {
        let asking = !self.knowledge.questions().is_empty() || self.keys.are_called();
        asking.then_some(self.config.control_plane.timeout)
    }

    /// Releases the next streams that may go, [`RELEASED_AT_ONCE`] at most. Each stream is released once.
    pub fn release_more(&mut self) -> Vec<(StreamId, Decision)> {
        let count = self.ready.len().min(RELEASED_AT_ONCE);
        let ready: Vec<_> = self.ready.drain(..count).collect();
        ready.into_iter().map(|(stream, verdict)| (stream, self.release_one(stream, verdict))).collect()
    }

    /// The next streams that may go or are to be decided about anew, and the next questions that have waited for keys.
    /// Streams and questions are [`RELEASED_AT_ONCE`] at most, each.
    pub fn next_portion(&mut self, now: Now) -> Portion {
        let questions = self.go_on_with_questions(now);
        let streams = self.release_more();
        let returning = self.keys.take_returning(RELEASED_AT_ONCE.saturating_sub(streams.len()));
        Portion { streams, returning, questions }
    }

    /// Releases this stream, if it may go.
    pub fn release_only(&mut self, stream: StreamId) -> Option<Decision> {
        let place = self.ready.iter().position(|(ready, _)| *ready == stream)?;
        let (_, verdict) = self.ready.remove(place)?;
        Some(self.release_one(stream, verdict))
    }

    /// True if some streams may go and are not released yet.
    pub fn holds_back(&self) -> bool {
        !self.ready.is_empty() || self.keys.any_return() || self.knowledge.questions().may_go_on()
    }

    /// True if this callout belongs to a question under way.
    pub fn asked(&self, call: CallId) -> bool {
        self.knowledge.questions().asked(call)
    }

    /// How many streams wait.
    pub fn waiting(&self) -> usize {
        let others = self.ready.len().saturating_add(self.keys.waiting());
        self.knowledge.questions().waiting().saturating_add(others)
    }

    /// The stream is gone.
    pub fn forget(&mut self, stream: StreamId) {
        // Hashing a name costs more than all else here, and mostly none waits.
        if !self.waiters.is_empty() {
            self.waiters.remove(&stream);
        }
        if let Some(place) = self.ready.iter().position(|(ready, _)| *ready == stream) {
            self.ready.remove(place);
        }
        self.knowledge.questions_mut().forget(stream);
        self.keys.forget(stream);
    }

    /// A question got no answer that could be used.
    pub(super) fn failed(&mut self, failure: Failure, now: Now) {
        self.count(Metric::CheckFailed);
        self.notices.extend(self.outage.ended(Some(failure), now.monotonic));
    }

    pub(super) fn hold<F>(&mut self, settled: &Settled<F>) {
        let verdict = match settled.verdict {
            Some(_) if settled.same_second => Verdict::SameSecond,
            Some(verdict) => Verdict::Is(verdict),
            None if settled.without_keys => Verdict::WithoutKeys,
            None => Verdict::Missing,
        };
        self.ready.extend(settled.streams.iter().map(|stream| (*stream, verdict)));
    }

    fn release_one(&mut self, stream: StreamId, verdict: Verdict) -> Decision {
        let Waiter { mut manner, proven_by } = self.waiters.remove(&stream).unwrap_or_default();
        manner.key_removed = proven_by.is_some_and(|key| !self.keys.sets().contains(key));
        self.decide(verdict, manner, Edits::default())
    }
}
