//! What a worker knows of revocations, and what it has asked the control plane.
//!
//! In both modes a worker asks in the same way, one question for each token: that is [`Questions`]. The mode decides
//! two things: what the worker can say without asking, and which of the waiting requests an answer serves ([`Decide`]).

mod bounded;
mod questions;
mod strict;

use std::ops::Deref;
use std::time::Duration;

use curfew_core::LogPosition;
use curfew_core::wire::{CheckAnswer, CheckRequest, CheckVerdict};

use crate::feed::Feed;
use crate::ids::{CallId, StreamId};
use crate::now::Now;
use crate::proofs::Facts;

pub use bounded::Bounded;
pub use questions::{QuestionId, Questions};
pub use strict::Strict;

use questions::Question;

/// The questions under way, and the mode that decides what they are about. `F` is a shared handle to the facts about a
/// token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Knowledge<F, M = Mode> {
    questions: Questions<F>,
    mode: M,
}

/// What the configuration's `consistency` says.
#[derive(Debug)]
pub enum Mode {
    /// `consistency: bounded`.
    Bounded(Bounded),
    /// `consistency: strict`.
    Strict(Strict),
}

/// The decisions of a mode.
pub trait Decide {
    /// The verdict about a token whose request has just arrived, if it needs no question. `now` was read in this
    /// callback.
    fn decide(&mut self, token: &CheckRequest, now: Now) -> Option<CheckVerdict>;

    /// Decides what the end of a question about this token means. The question was asked at `asked_at` on the monotonic
    /// clock. `answer` is `None` if there was no answer, or none that could be used.
    fn conclude(&mut self, token: &CheckRequest, asked_at: Duration, answer: Option<Answer>, now: Now) -> Conclusion;
}

/// The part of the control plane's answer that decisions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The answer itself.
    pub verdict: CheckVerdict,
    /// How far the log reached when the control plane read its store; `None` if the answer names no possible epoch.
    pub read_at: Option<LogPosition>,
}

impl From<CheckAnswer> for Answer {
    fn from(answer: CheckAnswer) -> Self {
        let read_at = answer.epoch.parse().ok().map(|epoch| LogPosition { epoch, seq: answer.seq });
        Self { verdict: answer.verdict, read_at }
    }
}

/// Which requests the end of a question serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// All that wait. Without a verdict, the policy for an unavailable control plane decides about them.
    ForAll(Option<CheckVerdict>),
    /// The token is not revoked, for the requests that waited when the question was asked. For later requests the
    /// worker must ask again.
    ActiveForEarlier,
}

/// The result of looking up a request's token.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A verdict, without any question.
    Decided(CheckVerdict),
    /// No question about its token: send this one now. The request waits.
    Ask(QuestionId),
    /// A question that is under way. The request waits with the others.
    Joined,
    /// No question about its token, and too many others under way for one more.
    Full,
}

/// The outcome for the requests that waited for a question.
#[derive(Debug)]
pub struct Settled<F> {
    /// The streams that may be decided about now.
    pub streams: Vec<StreamId>,
    /// The verdict for them; `None` if there is none.
    pub verdict: Option<CheckVerdict>,
    /// The answer did not serve all that waited: send this question for the others.
    pub ask_again: Option<(QuestionId, F)>,
}

impl<F> Default for Settled<F> {
    fn default() -> Self {
        Self { streams: Vec::new(), verdict: None, ask_again: None }
    }
}

impl<F: Deref<Target = Facts> + Clone, M: Decide> Knowledge<F, M> {
    /// Knows nothing and asks nothing yet. `timeout` is that of the questions' callouts.
    pub fn new(mode: M, timeout: Duration) -> Self {
        Self { questions: Questions::new(timeout), mode }
    }

    /// Decides about a proven token whose request has just arrived, or makes `stream` wait. `now` was read in this
    /// callback.
    pub fn look(&mut self, facts: &F, stream: StreamId, now: Now) -> Lookup {
        if let Some(verdict) = self.mode.decide(&facts.check, now) {
            return Lookup::Decided(verdict);
        }
        if self.questions.join(facts, stream, now.monotonic) {
            return Lookup::Joined;
        }
        if self.questions.full() {
            return Lookup::Full;
        }
        Lookup::Ask(self.questions.ask(facts, vec![stream], now.monotonic))
    }

    /// The host did not take the question.
    pub fn not_sent(&mut self, id: QuestionId, now: Now) -> Settled<F> {
        let question = self.questions.close(id);
        question.map_or_else(Settled::default, |question| self.settle(question, None, now))
    }

    /// The host reports the end of a callout: an answer, or none that could be used. A callout that belongs to no
    /// question, or no longer to one, settles nothing.
    pub fn answered(&mut self, call: CallId, answer: Option<Answer>, now: Now) -> Settled<F> {
        let question = self.questions.answered(call);
        question.map_or_else(Settled::default, |question| self.settle(question, answer, now))
    }

    /// Gives up the questions that are lost. An answer that comes for one of them after all is ignored.
    pub fn give_up_lost(&mut self, now: Now) -> Vec<Settled<F>> {
        self.questions.lost(now.monotonic).into_iter().map(|id| self.not_sent(id, now)).collect()
    }

    fn settle(&mut self, question: Question<F>, answer: Option<Answer>, now: Now) -> Settled<F> {
        let Question { facts, asked_at, before: mut streams, after, .. } = question;
        match self.mode.conclude(&facts.check, asked_at, answer, now) {
            Conclusion::ForAll(verdict) => {
                streams.extend(after);
                Settled { streams, verdict, ask_again: None }
            }
            Conclusion::ActiveForEarlier => {
                let again = (!after.is_empty()).then(|| self.questions.ask(&facts, after, now.monotonic));
                let ask_again = again.map(|id| (id, facts));
                Settled { streams, verdict: Some(CheckVerdict::Active), ask_again }
            }
        }
    }

    /// The questions under way.
    pub fn questions(&self) -> &Questions<F> {
        &self.questions
    }

    /// The questions under way, to report the sending of a question and the end of a stream to.
    pub fn questions_mut(&mut self) -> &mut Questions<F> {
        &mut self.questions
    }

    /// The mode.
    pub fn mode(&self) -> &M {
        &self.mode
    }

    /// The mode, to report to.
    pub fn mode_mut(&mut self) -> &mut M {
        &mut self.mode
    }
}

impl Mode {
    /// The feed, which only strict mode has.
    pub fn feed(&self) -> Option<&Feed> {
        match self {
            Self::Bounded(_) => None,
            Self::Strict(strict) => Some(strict.feed()),
        }
    }

    /// The feed, to report the sending and the end of its polls to.
    pub fn feed_mut(&mut self) -> Option<&mut Feed> {
        match self {
            Self::Bounded(_) => None,
            Self::Strict(strict) => Some(strict.feed_mut()),
        }
    }
}

impl Decide for Mode {
    fn decide(&mut self, token: &CheckRequest, now: Now) -> Option<CheckVerdict> {
        match self {
            Self::Bounded(bounded) => bounded.decide(token, now),
            Self::Strict(strict) => strict.decide(token, now),
        }
    }

    fn conclude(&mut self, token: &CheckRequest, asked_at: Duration, answer: Option<Answer>, now: Now) -> Conclusion {
        match self {
            Self::Bounded(bounded) => bounded.conclude(token, asked_at, answer, now),
            Self::Strict(strict) => strict.conclude(token, asked_at, answer, now),
        }
    }
}
