//! Questions under way: one per token however many requests wait for it, and who waits.
//!
//! A question belongs to the VM and not to the request that caused it, so a client that goes away takes nobody else's answer
//! along. Who waits is split by one moment, the asking: the control plane reads its store after that, so an answer is
//! newer than every request that was there by then, and says nothing about a logout that a later request came after.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use curfew_core::RevocationKey;

use crate::proofs::Facts;

/// The host's name for a request's stream.
pub type StreamId = u32;

/// The host's name for a callout.
pub type CallId = u32;

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

/// The questions that are under way. `F` shares the facts about a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Questions<F> {
    questions: BTreeMap<QuestionId, Question<F>>,
    /// The question that newcomers with a token join.
    open: BTreeMap<RevocationKey, QuestionId>,
    calls: BTreeMap<CallId, QuestionId>,
    waiting: BTreeMap<StreamId, QuestionId>,
    next: u64,
    lost_after: Duration,
}

/// A question that is settled, or under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question<F> {
    /// The token it is about.
    pub facts: F,
    /// When it was asked, on the monotonic clock.
    pub asked_at: Duration,
    /// Those who were there when it was asked.
    pub before: Vec<StreamId>,
    /// Those who came later.
    pub after: Vec<StreamId>,
    call: Option<CallId>,
}

impl<F: Deref<Target = Facts> + Clone> Questions<F> {
    /// None is under way. `timeout` is the callouts' own.
    pub fn new(timeout: Duration) -> Self {
        Self {
            questions: BTreeMap::new(),
            open: BTreeMap::new(),
            calls: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next: 0,
            lost_after: timeout.saturating_mul(LOST_AFTER_TIMEOUTS),
        }
    }

    /// Makes `stream` wait with others for the answer about its token; `false` if nobody asks about it.
    pub fn join(&mut self, facts: &F, stream: StreamId, now: Duration) -> bool {
        let lost_after = self.lost_after;
        let Some(id) = self.open.get(&facts.check.token) else { return false };
        let Some(question) = self.questions.get_mut(id) else { return false };
        if now.saturating_sub(question.asked_at) > lost_after {
            return false;
        }
        question.after.push(stream);
        self.waiting.insert(stream, *id);
        true
    }

    /// The questions that are lost.
    pub fn lost(&self, now: Duration) -> Vec<QuestionId> {
        let lost = |question: &Question<F>| now.saturating_sub(question.asked_at) > self.lost_after;
        self.questions.iter().filter(|(_, question)| lost(question)).map(|(id, _)| *id).collect()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// Whether no other can be asked.
    pub fn full(&self) -> bool {
        self.questions.len() >= MAX_QUESTIONS
    }

    /// Opens a question for those who wait: it is to be sent now.
    pub fn ask(&mut self, facts: &F, streams: Vec<StreamId>, now: Duration) -> QuestionId {
        let id = QuestionId(self.next);
        self.next = self.next.wrapping_add(1);
        self.waiting.extend(streams.iter().map(|stream| (*stream, id)));
        self.open.insert(facts.check.token, id);
        let question = Question { facts: facts.clone(), asked_at: now, before: streams, after: Vec::new(), call: None };
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

    /// The callout has ended: nobody waits for its question any more. `None` if nobody did.
    pub fn answered(&mut self, call: CallId) -> Option<Question<F>> {
        self.close(*self.calls.get(&call)?)
    }

    /// Takes a question back, likewise.
    pub fn close(&mut self, id: QuestionId) -> Option<Question<F>> {
        let question = self.questions.remove(&id)?;
        question.call.and_then(|call| self.calls.remove(&call));
        let token = question.facts.check.token;
        if self.open.get(&token) == Some(&id) {
            self.open.remove(&token);
        }
        for stream in question.before.iter().chain(&question.after) {
            self.waiting.remove(stream);
        }
        Some(question)
    }

    /// The stream is gone. Its question goes on: the answer is good for others and for later.
    pub fn forget(&mut self, stream: StreamId) {
        let id = self.waiting.remove(&stream);
        if let Some(question) = id.and_then(|id| self.questions.get_mut(&id)) {
            question.before.retain(|waiter| *waiter != stream);
            question.after.retain(|waiter| *waiter != stream);
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
}
