//! What a worker knows of revocations, and what it has asked the control plane.
//!
//! In both modes a worker asks in the same way, one question for each token: that is [`Questions`]. The mode decides
//! two things: what the worker can say without asking, and which of the waiting requests an answer serves ([`Decide`]).
//!
//! **Keys that the control plane hands out.** A removed key is as good as a logout of all that it signed, and has a
//! place in the log. So "active" counts about such a token only if the worker's keys are at least as new as what says
//! so. The copy may say it only while the keys are as new as the copy's log shows; [`Strict`] holds that. An answer may
//! say it only if they are as new as the answer's reading; [`Knowledge::answered`] holds that for both modes, and lets
//! the requests wait until the keys were asked for. "Revoked" always counts.

mod bounded;
mod questions;
mod strict;

use std::ops::Deref;
use std::time::Duration;

use curfew_core::LogPosition;
use curfew_core::wire::{CheckAnswer, CheckVerdict};

use crate::feed::Feed;
use crate::ids::{CallId, StreamId};
use crate::now::Now;
use crate::proofs::Facts;

pub use bounded::Bounded;
pub use questions::{MAX_ROUNDS, QuestionId, Questions};
pub use strict::Strict;

use questions::Question;

/// The questions under way, and the mode that decides what they are about. `F` is a shared handle to the facts about a
/// token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Knowledge<F, M = Mode> {
    questions: Questions<F>,
    mode: M,
    /// How new the keys are that the worker got from the control plane; `None` if it has none.
    keys: Option<LogPosition>,
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
    /// The verdict about a token whose request has just arrived, if it needs no question. `keys` says how new the keys
    /// are that the control plane has handed out. `now` was read in this callback.
    fn decide(&mut self, token: &Facts, keys: Option<&LogPosition>, now: Now) -> Option<CheckVerdict>;

    /// Decides what the end of a question about this token means.
    fn conclude(&mut self, token: &Facts, keys: Option<&LogPosition>, end: End, now: Now) -> Conclusion;

    /// True if this token, which is revoked, is so only because it was issued in the second of a logout of all devices.
    /// `answer` is that of the question that has just ended, if one has.
    fn is_of_the_second(&self, token: &Facts, answer: Option<Answer>) -> bool;
}

/// The end of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When it was asked, on the monotonic clock.
    pub asked_at: Duration,
    /// `None` if there was no answer, or none that could be used.
    pub answer: Option<Answer>,
}

/// The part of the control plane's answer that decisions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The answer itself.
    pub verdict: CheckVerdict,
    /// How far the log reached when the control plane read its store; `None` if the answer names no possible epoch.
    pub read_at: Option<LogPosition>,
    /// The newest change of handed-out keys that this reading shows; 0 for none.
    pub keys_seq: u64,
    /// "Revoked", and only because the token was issued in the second of a logout of all devices.
    pub same_second: bool,
}

impl Answer {
    /// The newest change of handed-out keys that its reading shows.
    pub fn keys(self) -> Option<LogPosition> {
        self.read_at.map(|read_at| LogPosition { seq: self.keys_seq, ..read_at })
    }

    /// True if the answer can be used for a token that was proven with keys as new as this. An older key may have been
    /// removed by the time of the reading.
    fn counts(self, token: &Facts, keys: Option<LogPosition>) -> bool {
        let new_enough = || self.keys().zip(keys).is_some_and(|(shown, held)| held.covers(shown));
        self.verdict == CheckVerdict::Revoked || !token.handed_out || new_enough()
    }
}

impl From<CheckAnswer> for Answer {
    fn from(answer: CheckAnswer) -> Self {
        let read_at = answer.epoch.parse().ok().map(|epoch| LogPosition { epoch, seq: answer.seq });
        let CheckAnswer { verdict, keys_seq, same_second, .. } = answer;
        Self { verdict, read_at, keys_seq, same_second }
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
    /// The verdict is "revoked", and only because the token was issued in the second of a logout of all devices.
    pub same_second: bool,
    /// There is no verdict because the keys could not be had that the control plane's answers show. Then nothing is
    /// proven, whatever is configured for a missing verdict.
    pub without_keys: bool,
    /// The answer did not serve all that waited: send this question for the others.
    pub ask_again: Option<(QuestionId, F)>,
}

impl<F> Default for Settled<F> {
    fn default() -> Self {
        Self { streams: Vec::new(), verdict: None, same_second: false, without_keys: false, ask_again: None }
    }
}

impl<F: Deref<Target = Facts> + Clone, M: Decide> Knowledge<F, M> {
    /// Knows nothing and asks nothing yet. `timeout` is that of the questions' callouts.
    pub fn new(mode: M, timeout: Duration) -> Self {
        Self { questions: Questions::new(timeout), mode, keys: None }
    }

    /// The worker's keys are as new as this from now on.
    pub fn hold_keys(&mut self, keys: Option<LogPosition>) {
        self.keys = keys;
    }

    /// Decides about a proven token whose request has just arrived, or makes `stream` wait. `now` was read in this
    /// callback.
    pub fn look(&mut self, facts: &F, stream: StreamId, now: Now) -> Lookup {
        match self.own(facts, now) {
            Some(verdict) => Lookup::Decided(verdict),
            None => self.ask(facts, stream, now),
        }
    }

    /// The verdict about a proven token whose request has just arrived, if it needs no question.
    pub fn own(&mut self, facts: &F, now: Now) -> Option<CheckVerdict> {
        self.mode.decide(facts, self.keys.as_ref(), now)
    }

    /// True if this token, which is revoked by what the worker knows itself, is so only because it was issued in the second of
    /// a logout of all devices.
    pub fn is_of_the_second(&self, facts: &Facts) -> bool {
        self.mode.is_of_the_second(facts, None)
    }

    /// Makes `stream` wait for a question about its token.
    pub fn ask(&mut self, facts: &F, stream: StreamId, now: Now) -> Lookup {
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

    /// The keys were asked for and are here: the questions that have waited for that go on, with [`Self::go_on`].
    pub fn keys_came(&mut self) {
        self.questions.wake_all();
    }

    /// The keys could not be had: no question waits for them any more.
    pub fn keys_failed(&mut self) -> Vec<Settled<F>> {
        let waiting = self.questions.take_parked();
        waiting.into_iter().map(without_keys).collect()
    }

    /// Goes on with one of the questions that have waited for keys: it is settled, or to be sent again.
    pub fn go_on(&mut self, now: Now) -> Option<Settled<F>> {
        let Question { facts, before: mut streams, after, round, .. } = self.questions.next_woken()?;
        streams.extend(after);
        if streams.is_empty() {
            return Some(Settled::default());
        }
        let own = self.mode.decide(&facts, self.keys.as_ref(), now);
        if own.is_some() {
            let same_second = own == Some(CheckVerdict::Revoked) && self.is_of_the_second(&facts);
            return Some(Settled { streams, verdict: own, same_second, ..Settled::default() });
        }
        // All of them were there before it is asked now.
        let id = self.questions.ask_in_round(&facts, streams, now.monotonic, round);
        Some(Settled { ask_again: Some((id, facts)), ..Settled::default() })
    }

    /// Gives up the questions that are lost. An answer that comes for one of them after all is ignored.
    pub fn give_up_lost(&mut self, now: Now) -> Vec<Settled<F>> {
        self.questions.lost(now.monotonic).into_iter().map(|id| self.not_sent(id, now)).collect()
    }

    fn settle(&mut self, question: Question<F>, answer: Option<Answer>, now: Now) -> Settled<F> {
        let usable = answer.filter(|answer| answer.counts(&question.facts, self.keys));
        let end = End { asked_at: question.asked_at, answer: usable };
        let conclusion = self.mode.conclude(&question.facts, self.keys.as_ref(), end, now);
        if conclusion == Conclusion::ForAll(None) && answer.is_some() {
            return self.wait_for_keys(question);
        }
        let Question { facts, before: mut streams, after, .. } = question;
        match conclusion {
            Conclusion::ForAll(verdict) => {
                streams.extend(after);
                let revoked = verdict == Some(CheckVerdict::Revoked);
                let same_second = revoked && self.mode.is_of_the_second(&facts, answer);
                Settled { streams, verdict, same_second, ..Settled::default() }
            }
            Conclusion::ActiveForEarlier => {
                let again = (!after.is_empty()).then(|| self.questions.ask(&facts, after, now.monotonic));
                let ask_again = again.map(|id| (id, facts));
                Settled { streams, verdict: Some(CheckVerdict::Active), ask_again, ..Settled::default() }
            }
        }
    }

    /// The answer shows newer keys than the worker's: those who wait for it wait for the keys, and it is asked for
    /// again. Not for ever: the keys may change each time.
    fn wait_for_keys(&mut self, question: Question<F>) -> Settled<F> {
        if question.round >= MAX_ROUNDS {
            return without_keys(question);
        }
        self.questions.park(question);
        Settled::default()
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

fn without_keys<F>(question: Question<F>) -> Settled<F> {
    let streams = question.before.into_iter().chain(question.after).collect();
    Settled { streams, without_keys: true, ..Settled::default() }
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
    fn decide(&mut self, token: &Facts, keys: Option<&LogPosition>, now: Now) -> Option<CheckVerdict> {
        match self {
            Self::Bounded(bounded) => bounded.decide(token, keys, now),
            Self::Strict(strict) => strict.decide(token, keys, now),
        }
    }

    fn conclude(&mut self, token: &Facts, keys: Option<&LogPosition>, end: End, now: Now) -> Conclusion {
        match self {
            Self::Bounded(bounded) => bounded.conclude(token, keys, end, now),
            Self::Strict(strict) => strict.conclude(token, keys, end, now),
        }
    }

    fn is_of_the_second(&self, token: &Facts, answer: Option<Answer>) -> bool {
        match self {
            Self::Bounded(bounded) => bounded.is_of_the_second(token, answer),
            Self::Strict(strict) => strict.is_of_the_second(token, answer),
        }
    }
}
