//! Questions to the control plane: which are under way, who waits for them, and which answers are still good.
//!
//! One question per token however many requests wait for it. It belongs to the VM and not to the request that caused
//! it, so a client that goes away takes nobody else's answer along.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use curfew_core::RevocationKey;
use curfew_core::wire::CheckVerdict;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::cache::cache;
use crate::gate::Now;
use crate::proofs::Facts;

/// The host's name for a request's stream.
pub type StreamId = u32;

/// The host's name for a callout.
pub type CallId = u32;

/// What an answer costs: its slots in the tables, and those of one that is remembered by its hash.
const ANSWER_BYTES: u64 = 128;

/// A question without an answer is taken for lost when the host should have reported its timeout this many times over.
/// Newcomers then ask anew, and at the next tick those who wait for it are told. That never happens by the host's rules;
/// it keeps one lost callback from barring a token, or holding a request, for ever.
const LOST_AFTER_TIMEOUTS: u32 = 4;

/// Questions that may be under way at once. Envoy's clusters take 1,024 requests unless configured otherwise; this bound is
/// for those that are.
const MAX_QUESTIONS: usize = 8192;

/// Names a question within this VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuestionId(u64);

/// The answers that are known and the questions that are under way.
pub struct Checks {
    answers: Cache<RevocationKey, Answer, ByCount>,
    questions: HashMap<QuestionId, Question>,
    /// The question that newcomers with a token join.
    open: HashMap<RevocationKey, QuestionId>,
    calls: HashMap<CallId, QuestionId>,
    waiting: HashMap<StreamId, QuestionId>,
    next: u64,
    max_staleness: Duration,
    lost_after: Duration,
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

/// A question under way.
struct Question {
    facts: Rc<Facts>,
    asked_at: Duration,
    call: Option<CallId>,
    waiters: Vec<Waiter>,
}

#[derive(Clone, Copy)]
struct Waiter {
    stream: StreamId,
    arrived_at: Duration,
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
#[derive(Default)]
pub struct Settled {
    /// Each may be decided now.
    pub streams: Vec<StreamId>,
    /// The answer for them; `None` if there was none.
    pub verdict: Option<CheckVerdict>,
    /// The answer was too old for some: send this question, for them.
    pub ask_again: Option<(QuestionId, Rc<Facts>)>,
}

impl Checks {
    /// No answers yet, within a budget of bytes. `max_staleness` bounds an "active" answer's life from the asking of its
    /// question; `timeout` is the callouts' own.
    pub fn new(budget: u64, max_staleness: Duration, timeout: Duration) -> Self {
        let entries = usize::try_from(budget / ANSWER_BYTES).unwrap_or(usize::MAX);
        Self {
            answers: cache(entries, budget, ByCount),
            questions: HashMap::new(),
            open: HashMap::new(),
            calls: HashMap::new(),
            waiting: HashMap::new(),
            next: 0,
            max_staleness,
            lost_after: timeout.saturating_mul(LOST_AFTER_TIMEOUTS),
        }
    }

    /// Looks for an answer about a proven token, or makes `stream` wait for one.
    pub fn look(&mut self, facts: &Rc<Facts>, stream: StreamId, now: Now) -> Found {
        let token = facts.check.token;
        match self.answers.get(&token) {
            Some(Answer::Revoked) => return Found::Known(CheckVerdict::Revoked),
            Some(Answer::Active { until }) if now.monotonic < *until => return Found::Known(CheckVerdict::Active),
            _ => {}
        }
        let waiter = Waiter { stream, arrived_at: now.monotonic };
        if let Some(id) = self.joinable(token, now) {
            if let Some(question) = self.questions.get_mut(&id) {
                question.waiters.push(waiter);
            }
            self.waiting.insert(stream, id);
            return Found::Joined;
        }
        if self.questions.len() >= MAX_QUESTIONS {
            return Found::Full;
        }
        Found::Ask(self.ask(facts, vec![waiter], now))
    }

    fn joinable(&self, token: RevocationKey, now: Now) -> Option<QuestionId> {
        let id = self.open.get(&token)?;
        let asked_at = self.questions.get(id)?.asked_at;
        (now.monotonic.saturating_sub(asked_at) <= self.lost_after).then_some(*id)
    }

    fn ask(&mut self, facts: &Rc<Facts>, waiters: Vec<Waiter>, now: Now) -> QuestionId {
        let id = QuestionId(self.next);
        self.next = self.next.wrapping_add(1);
        self.waiting.extend(waiters.iter().map(|waiter| (waiter.stream, id)));
        let question = Question { facts: Rc::clone(facts), asked_at: now.monotonic, call: None, waiters };
        self.open.insert(facts.check.token, id);
        self.questions.insert(id, question);
        id
    }

    /// The host took the question and will report under this name.
    pub fn sent(&mut self, id: QuestionId, call: CallId) {
        if let Some(question) = self.questions.get_mut(&id) {
            question.call = Some(call);
            self.calls.insert(call, id);
        }
    }

    /// The host did not take the question.
    pub fn not_sent(&mut self, id: QuestionId) -> Settled {
        let Some(question) = self.close(id) else { return Settled::default() };
        let verdict = self.overtaken_by(None, question.facts.check.token);
        self.settle(question.waiters, verdict)
    }

    /// The host reports the end of a callout: an answer, or none that could be used. A callout that nobody knows (any
    /// more) settles nothing.
    pub fn answered(&mut self, call: CallId, verdict: Option<CheckVerdict>, now: Now) -> Settled {
        let id = self.calls.get(&call).copied();
        let Some(question) = id.and_then(|id| self.close(id)) else {
            return Settled::default();
        };
        let token = question.facts.check.token;
        let until = question.asked_at.saturating_add(self.max_staleness);
        self.remember(token, verdict, until, now);
        let verdict = self.overtaken_by(verdict, token);
        // Whoever was there before the question was asked is served by any answer. Who came later is served only while
        // the answer is good for newcomers: an "active" from before a logout must not admit a request from after it.
        let fresh = verdict != Some(CheckVerdict::Active) || now.monotonic < until;
        let (served, late): (Vec<_>, Vec<_>) =
            question.waiters.iter().copied().partition(|waiter| fresh || waiter.arrived_at <= question.asked_at);
        let mut settled = self.settle(served, verdict);
        if !late.is_empty() {
            let id = self.ask(&question.facts, late, now);
            settled.ask_again = Some((id, question.facts));
        }
        settled
    }

    /// Gives up the questions that are lost. Answers that come for them after all are nobody's.
    pub fn give_up_lost(&mut self, now: Now) -> Vec<Settled> {
        let lost = |question: &Question| now.monotonic.saturating_sub(question.asked_at) > self.lost_after;
        let mut ids: Vec<_> = self.questions.iter().filter(|(_, question)| lost(question)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.into_iter().map(|id| self.not_sent(id)).collect()
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

    fn close(&mut self, id: QuestionId) -> Option<Question> {
        let question = self.questions.remove(&id)?;
        question.call.and_then(|call| self.calls.remove(&call));
        let token = question.facts.check.token;
        if self.open.get(&token) == Some(&id) {
            self.open.remove(&token);
        }
        Some(question)
    }

    fn settle(&mut self, waiters: Vec<Waiter>, verdict: Option<CheckVerdict>) -> Settled {
        let streams: Vec<_> = waiters.into_iter().map(|waiter| waiter.stream).collect();
        for stream in &streams {
            self.waiting.remove(stream);
        }
        Settled { streams, verdict, ask_again: None }
    }

    /// The stream is gone. Its question goes on: the answer is good for others and for later.
    pub fn forget(&mut self, stream: StreamId) {
        let id = self.waiting.remove(&stream);
        if let Some(question) = id.and_then(|id| self.questions.get_mut(&id)) {
            question.waiters.retain(|waiter| waiter.stream != stream);
        }
    }

    /// Whether a question is under way as this callout.
    pub fn asked(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    /// How many streams wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The bytes that answers use, as the budget counts them.
    pub fn bytes(&self) -> u64 {
        self.answers.weight()
    }
}

#[cfg(test)]
mod tests;
