//! The questions under way: one for each token, however many requests wait for it, and the streams that wait.
//!
//! A question belongs to the VM and not to the request that caused it, so a client that goes away does not take the
//! answer away from others. The streams that wait are split at the moment of asking: the control plane reads its store
//! after that moment, so the answer is newer than every request that was there by then, and says nothing about a logout
//! that was answered before a later request came.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Deref;
use std::time::Duration;

use curfew_core::RevocationKey;

use crate::ids::{CallId, StreamId};
use crate::proofs::Facts;

/// A question counts as lost after this many of its timeouts. The host should have reported the end of the question
/// after the first. New requests then ask anew, and at the next tick the requests that wait for it are released. By the
/// host's rules that never happens; this keeps one missing callback from barring a token, or holding a request, for
/// ever.
const LOST_AFTER_TIMEOUTS: u32 = 4;

/// How many questions may be under way at once. Envoy's clusters take 1,024 requests unless configured otherwise; this
/// bound is for clusters that are configured otherwise.
const MAX_QUESTIONS: usize = 8192;

/// How often one question may wait for keys before it is given up.
pub const MAX_ROUNDS: u8 = 3;

/// Names a question within this VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuestionId(u64);

/// The questions under way. `F` is a shared handle to the facts about a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Questions<F> {
    questions: BTreeMap<QuestionId, Question<F>>,
    /// The question that new requests with a token join.
    open: BTreeMap<RevocationKey, QuestionId>,
    calls: BTreeMap<CallId, QuestionId>,
    waiting: BTreeMap<StreamId, QuestionId>,
    /// Those that have an answer, and wait for keys that are as new.
    parked: BTreeSet<QuestionId>,
    /// Those that have waited for keys, and may go on.
    woken: VecDeque<QuestionId>,
    next: u64,
    lost_after: Duration,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question<F> {
    /// The token it is about.
    pub(super) facts: F,
    /// When it was asked, on the monotonic clock.
    pub(super) asked_at: Duration,
    /// The streams that waited when it was asked.
    pub(super) before: Vec<StreamId>,
    /// The streams that came later.
    pub(super) after: Vec<StreamId>,
    /// How often it has waited for keys.
    pub(super) round: u8,
    call: Option<CallId>,
}

impl<F: Deref<Target = Facts> + Clone> Questions<F> {
    /// No question is under way. `timeout` is that of the callouts.
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            questions: BTreeMap::new(),
            open: BTreeMap::new(),
            calls: BTreeMap::new(),
            waiting: BTreeMap::new(),
            parked: BTreeSet::new(),
            woken: VecDeque::new(),
            next: 0,
            lost_after: timeout.saturating_mul(LOST_AFTER_TIMEOUTS),
        }
    }

    /// Makes `stream` wait with others for the answer about its token; `false` if no question about it is under way.
    pub(super) fn join(&mut self, facts: &F, stream: StreamId, now: Duration) -> bool {
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

    /// The questions that are lost. Those that wait for keys are not: the end of the call for keys is certain.
    pub(super) fn lost(&self, now: Duration) -> Vec<QuestionId> {
        let late = |question: &Question<F>| now.saturating_sub(question.asked_at) > self.lost_after;
        let asked = |id: &QuestionId| !self.parked.contains(id) && !self.woken.contains(id);
        let lost = self.questions.iter().filter(|(id, question)| late(question) && asked(id));
        lost.map(|(id, _)| *id).collect()
    }

    /// True if there is no room for another question.
    pub(super) fn full(&self) -> bool {
        self.questions.len() >= MAX_QUESTIONS
    }

    /// Opens a question for the streams that wait. It is to be sent now.
    pub(super) fn ask(&mut self, facts: &F, streams: Vec<StreamId>, now: Duration) -> QuestionId {
        self.ask_in_round(facts, streams, now, 0)
    }

    /// The same for a question that has waited for keys so often.
    pub(super) fn ask_in_round(&mut self, facts: &F, streams: Vec<StreamId>, now: Duration, round: u8) -> QuestionId {
        let (facts, after) = (facts.clone(), Vec::new());
        self.open(Question { facts, asked_at: now, before: streams, after, round, call: None })
    }

    fn open(&mut self, question: Question<F>) -> QuestionId {
        let id = QuestionId(self.next);
        self.next = self.next.wrapping_add(1);
        self.waiting.extend(question.before.iter().chain(&question.after).map(|stream| (*stream, id)));
        self.open.insert(question.facts.check.token, id);
        self.questions.insert(id, question);
        id
    }

    /// Lets a question that was answered wait for keys.
    pub(super) fn park(&mut self, question: Question<F>) {
        let id = self.open(Question { round: question.round.saturating_add(1), call: None, ..question });
        self.parked.insert(id);
    }

    /// The questions that wait for keys may go on.
    pub(super) fn wake_all(&mut self) {
        self.woken.extend(std::mem::take(&mut self.parked));
    }

    /// Takes out the questions that wait for keys.
    pub(super) fn take_parked(&mut self) -> Vec<Question<F>> {
        std::mem::take(&mut self.parked).into_iter().filter_map(|id| self.close(id)).collect()
    }

    /// Takes out the next question that may go on.
    pub(super) fn next_woken(&mut self) -> Option<Question<F>> {
        let id = self.woken.pop_front()?;
        self.close(id)
    }

    /// True if some question waits for keys.
    pub fn wait_for_keys(&self) -> bool {
        !self.parked.is_empty()
    }

    /// True if some question has waited for keys and may go on.
    pub fn may_go_on(&self) -> bool {
        !self.woken.is_empty()
    }

    /// The callout has ended: takes its question out, and nothing waits for it any more. `None` for a callout that
    /// belongs to no question.
    pub(super) fn answered(&mut self, call: CallId) -> Option<Question<F>> {
        self.close(*self.calls.get(&call)?)
    }

    /// Takes a question out, and nothing waits for it any more.
    pub(super) fn close(&mut self, id: QuestionId) -> Option<Question<F>> {
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

    /// The host took the question and will report its end under this number.
    pub fn sent(&mut self, id: QuestionId, call: CallId) {
        if let Some(question) = self.questions.get_mut(&id) {
            question.call = Some(call);
            self.calls.insert(call, id);
        }
    }

    /// The stream is gone. Its question goes on: the answer is good for others and for later.
    pub fn forget(&mut self, stream: StreamId) {
        let id = self.waiting.remove(&stream);
        if let Some(question) = id.and_then(|id| self.questions.get_mut(&id)) {
            question.before.retain(|waiter| *waiter != stream);
            question.after.retain(|waiter| *waiter != stream);
        }
    }

    /// True if no question is under way.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// True if this callout belongs to a question under way.
    pub fn asked(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    /// How many streams wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
