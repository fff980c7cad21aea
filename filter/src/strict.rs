//! `consistency: strict`: is a token revoked, said so that no logout that has been answered is missed.
//!
//! The promise: once a logout call has returned 200, no request that reaches the proxy afterwards is admitted with that
//! token. There are two ways to admit, and each keeps it.
//!
//! **By the replica**, while the lease runs: [`crate::feed`] says why. In a callback that lasts no time this is a look into a
//! table.
//!
//! **By an answer** of the control plane, where there is no lease or the replica cannot say. The control plane reads its store
//! after the question was asked. A logout that was answered before a request came had been committed before that, so the
//! answer takes it into account if the question was asked when the request was there. Hence an answer "active" serves those
//! who waited when it was asked for; for whoever came while it was on its way the question is asked again. It is remembered
//! for nobody.
//!
//! An answer may have been on its way while the replica learnt more. So the replica is looked at again before an answer is
//! used: what it calls revoked is refused, and while the lease runs, what it calls clear is clear for everybody who waits.
//!
//! **The second of the cutoff.** A token that was issued in the very second of a logout of all devices is clear if it was
//! registered after that, which only the control plane knows. Its word is kept, but only if it had seen at least what
//! the replica holds: an answer from before that logout speaks of no tie. Kept it may be, because whatever revokes a
//! registered token later names it by its id, which the replica then calls revoked.

use std::collections::BTreeSet;
use std::ops::Deref;

use curfew_core::wire::{CheckAnswer, CheckRequest, CheckVerdict};
use curfew_core::{Coverage, Epoch, LogPosition, RevocationKey};

use crate::checks::{Found, Settled};
use crate::feed::{Feed, FeedSettings};
use crate::gate::Now;
use crate::proofs::Facts;
use crate::questions::{CallId, QuestionId, Questions, StreamId};

/// Ties that are kept. Beyond that all are forgotten and asked about again: nobody can fill this without that many logins
/// in the second of a logout.
const MAX_TIES: usize = 10_000;

/// What the control plane has answered, as far as it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The answer.
    pub verdict: CheckVerdict,
    /// How far the log reached when the store was read; `None` if the answer names no epoch that can be one.
    pub read_at: Option<LogPosition>,
}

impl From<CheckAnswer> for Answer {
    fn from(answer: CheckAnswer) -> Self {
        let read_at = answer.epoch.parse().ok().map(|epoch| LogPosition { epoch, seq: answer.seq });
        Self { verdict: answer.verdict, read_at }
    }
}

/// The feed, the questions under way, and the ties that are known. `F` shares the facts about a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Strict<F> {
    feed: Feed,
    questions: Questions<F>,
    /// Tokens of a cutoff's second that were registered after it, in this history.
    ties: BTreeSet<RevocationKey>,
    ties_of: Option<Epoch>,
}

impl<F: Deref<Target = Facts> + Clone> Strict<F> {
    /// Knows nothing and has no lease.
    pub fn new(settings: FeedSettings) -> Self {
        Self {
            questions: Questions::new(settings.timeout),
            feed: Feed::new(settings),
            ties: BTreeSet::new(),
            ties_of: None,
        }
    }

    /// The feed, to be polled for.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The feed, to be told what becomes of its polls.
    pub fn feed_mut(&mut self) -> &mut Feed {
        &mut self.feed
    }

    /// Decides about a proven token that has just come, or makes `stream` wait. `now` was read in this callback. Call
    /// [`Feed::poll`] after it.
    pub fn look(&mut self, facts: &F, stream: StreamId, now: Now) -> Found {
        self.feed.requested(now);
        if let Some(verdict) = self.own_verdict(&facts.check, now) {
            return Found::Known(verdict);
        }
        if self.questions.join(facts, stream, now.monotonic) {
            return Found::Joined;
        }
        if self.questions.full() {
            return Found::Full;
        }
        Found::Ask(self.questions.ask(facts, vec![stream], now.monotonic))
    }

    /// What this worker can say by itself of a request that is there at `now`. "Revoked" needs no lease.
    fn own_verdict(&self, token: &CheckRequest, now: Now) -> Option<CheckVerdict> {
        let clear = match self.feed.replica().coverage(token)? {
            Coverage::Revoked => return Some(CheckVerdict::Revoked),
            Coverage::Clear => true,
            Coverage::SameSecond => self.ties.contains(&token.token) && self.ties_of == self.epoch(),
        };
        (clear && self.feed.may_decide(now)).then_some(CheckVerdict::Active)
    }

    fn epoch(&self) -> Option<Epoch> {
        self.feed.position().map(|position| position.epoch)
    }

    /// The host took a question.
    pub fn sent(&mut self, id: QuestionId, call: CallId) {
        self.questions.sent(id, call);
    }

    /// The host did not take a question.
    pub fn not_sent(&mut self, id: QuestionId, now: Now) -> Settled<F> {
        let question = self.questions.close(id);
        question.map_or_else(Settled::default, |question| {
            let own = self.own_verdict(&question.facts.check, now);
            Settled::all(question, own)
        })
    }

    /// A callout has ended, with an answer or none that could be used. A callout that nobody knows settles nothing.
    pub fn answered(&mut self, call: CallId, answer: Option<Answer>, now: Now) -> Settled<F> {
        let Some(question) = self.questions.answered(call) else {
            return Settled::default();
        };
        self.note_tie(&question.facts.check, answer);
        if let Some(own) = self.own_verdict(&question.facts.check, now) {
            return Settled::all(question, Some(own));
        }
        match answer.map(|answer| answer.verdict) {
            Some(CheckVerdict::Active) => {
                Settled::those_before(question, Some(CheckVerdict::Active), &mut self.questions, now)
            }
            other => Settled::all(question, other),
        }
    }

    /// Gives up the questions that are lost. Answers that come for them after all are nobody's.
    pub fn give_up_lost(&mut self, now: Now) -> Vec<Settled<F>> {
        self.questions.lost(now.monotonic).into_iter().map(|id| self.not_sent(id, now)).collect()
    }

    /// Whether any question is under way.
    pub fn asking(&self) -> bool {
        !self.questions.is_empty()
    }

    fn note_tie(&mut self, token: &CheckRequest, answer: Option<Answer>) {
        let Some(Answer { verdict: CheckVerdict::Active, read_at: Some(read_at) }) = answer else { return };
        let Some(held) = self.feed.position() else { return };
        if !read_at.covers(held) || self.feed.replica().coverage(token) != Some(Coverage::SameSecond) {
            return;
        }
        if self.ties_of != Some(held.epoch) || self.ties.len() >= MAX_TIES {
            self.ties.clear();
            self.ties_of = Some(held.epoch);
        }
        self.ties.insert(token.token);
    }

    /// The stream is gone.
    pub fn forget(&mut self, stream: StreamId) {
        self.questions.forget(stream);
    }

    /// Whether a question is under way as this callout.
    pub fn asked(&self, call: CallId) -> bool {
        self.questions.asked(call)
    }

    /// How many streams wait.
    pub fn waiting(&self) -> usize {
        self.questions.waiting()
    }
}

#[cfg(test)]
mod tests;
