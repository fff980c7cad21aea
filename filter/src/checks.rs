//! Asking the control plane about each token (`consistency: bounded`): which answers are still good, and for whom.

use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use curfew_core::RevocationKey;
use curfew_core::wire::CheckVerdict;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::cache::cache;
use crate::gate::Now;
use crate::proofs::Facts;
use crate::questions::{Question, Questions};

pub use crate::questions::{CallId, QuestionId, StreamId};

/// What an answer costs: its slots in the tables, and those of one that is remembered by its hash.
const ANSWER_BYTES: u64 = 128;

/// The answers that are known and the questions that are under way.
pub struct Checks {
    answers: Cache<RevocationKey, Answer, ByCount>,
    questions: Questions<Rc<Facts>>,
    max_staleness: Duration,
}

/// What is known about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Good until this monotonic time.
    Active { until: Duration },
    /// For ever; it is dropped when it would need the space, and then asked again.
    Revoked,
}

#[derive(Clone)]
struct ByCount;

impl Weighter<RevocationKey, Answer> for ByCount {
    fn weight(&self, _: &RevocationKey, _: &Answer) -> u64 {
        ANSWER_BYTES
    }
}

/// What a request finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A good answer.
    Known(CheckVerdict),
    /// Nobody has asked: send this question now. The request waits.
    Ask(QuestionId),
    /// Somebody has asked: the request waits with the others.
    Joined,
    /// Nobody has asked, and nobody can: too many questions are under way.
    Full,
}

/// What became of those who waited for an answer.
#[derive(Debug)]
pub struct Settled<F = Rc<Facts>> {
    /// Each may be decided now.
    pub streams: Vec<StreamId>,
    /// The answer for them; `None` if there was none.
    pub verdict: Option<CheckVerdict>,
    /// The answer was too old for some: send this question, for them.
    pub ask_again: Option<(QuestionId, F)>,
}

impl<F> Default for Settled<F> {
    fn default() -> Self {
        Self { streams: Vec::new(), verdict: None, ask_again: None }
    }
}

impl<F: Deref<Target = Facts> + Clone> Settled<F> {
    /// The verdict serves everybody.
    pub(crate) fn all(question: Question<F>, verdict: Option<CheckVerdict>) -> Self {
        let mut streams = question.before;
        streams.extend(question.after);
        Self { streams, verdict, ask_again: None }
    }

    /// The verdict serves those who were there when the question was asked; for the others it is asked again.
    pub(crate) fn those_before(
        question: Question<F>,
        verdict: Option<CheckVerdict>,
        questions: &mut Questions<F>,
        now: Now,
    ) -> Self {
        let Question { facts, before, after, .. } = question;
        let again = (!after.is_empty()).then(|| questions.ask(&facts, after, now.monotonic));
        Self { streams: before, verdict, ask_again: again.map(|id| (id, facts)) }
    }
}

impl Checks {
    /// No answers yet, within a budget of bytes. `max_staleness` bounds an "active" answer's life from the asking of its
    /// question; `timeout` is the callouts' own.
    pub fn new(budget: u64, max_staleness: Duration, timeout: Duration) -> Self {
        let entries = usize::try_from(budget / ANSWER_BYTES).unwrap_or(usize::MAX);
        Self { answers: cache(entries, budget, ByCount), questions: Questions::new(timeout), max_staleness }
    }

    /// Looks for an answer about a proven token, or makes `stream` wait for one.
    pub fn look(&mut self, facts: &Rc<Facts>, stream: StreamId, now: Now) -> Found {
        let token = facts.check.token;
        match self.answers.get(&token) {
            Some(Answer::Revoked) => return Found::Known(CheckVerdict::Revoked),
            Some(Answer::Active { until }) if now.monotonic < *until => return Found::Known(CheckVerdict::Active),
            _ => {}
        }
        if self.questions.join(facts, stream, now.monotonic) {
            return Found::Joined;
        }
        if self.questions.full() {
            return Found::Full;
        }
        Found::Ask(self.questions.ask(facts, vec![stream], now.monotonic))
    }

    /// The host took the question and will report under this name.
    pub fn sent(&mut self, id: QuestionId, call: CallId) {
        self.questions.sent(id, call);
    }

    /// The host did not take the question.
    pub fn not_sent(&mut self, id: QuestionId) -> Settled {
        let Some(question) = self.questions.close(id) else { return Settled::default() };
        let verdict = self.overtaken_by(None, question.facts.check.token);
        Settled::all(question, verdict)
    }

    /// The host reports the end of a callout: an answer, or none that could be used. A callout that nobody knows (any
    /// more) settles nothing.
    pub fn answered(&mut self, call: CallId, verdict: Option<CheckVerdict>, now: Now) -> Settled {
        let Some(question) = self.questions.answered(call) else {
            return Settled::default();
        };
        let token = question.facts.check.token;
        let until = question.asked_at.saturating_add(self.max_staleness);
        self.remember(token, verdict, until, now);
        let verdict = self.overtaken_by(verdict, token);
        // Whoever was there before the question was asked is served by any answer. Who came later is served only while
        // the answer is good for newcomers: an "active" from before a logout must not admit a request from after it.
        if verdict != Some(CheckVerdict::Active) || now.monotonic < until {
            return Settled::all(question, verdict);
        }
        Settled::those_before(question, verdict, &mut self.questions, now)
    }

    /// Gives up the questions that are lost. Answers that come for them after all are nobody's.
    pub fn give_up_lost(&mut self, now: Now) -> Vec<Settled> {
        self.questions.lost(now.monotonic).into_iter().map(|id| self.not_sent(id)).collect()
    }

    /// Whether any question is under way.
    pub fn asking(&self) -> bool {
        !self.questions.is_empty()
    }

    /// A later question may have overtaken one that ends; its answer "revoked" holds for those who waited for this one.
    fn overtaken_by(&self, verdict: Option<CheckVerdict>, token: RevocationKey) -> Option<CheckVerdict> {
        let known = self.answers.peek(&token) == Some(&Answer::Revoked);
        if known { Some(CheckVerdict::Revoked) } else { verdict }
    }

    fn remember(&mut self, token: RevocationKey, verdict: Option<CheckVerdict>, until: Duration, now: Now) {
        let answer = match verdict {
            Some(CheckVerdict::Active) if now.monotonic < until => Answer::Active { until },
            Some(CheckVerdict::Revoked) => Answer::Revoked,
            _ => return,
        };
        if self.answers.peek(&token) != Some(&Answer::Revoked) {
            self.answers.insert(token, answer);
        }
    }

    /// The stream is gone. Its question goes on: the answer is good for others and for later.
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

    /// The bytes that answers use, as the budget counts them.
    pub fn bytes(&self) -> u64 {
        self.answers.weight()
    }
}

#[cfg(test)]
mod tests;
