//! What a worker knows of revocations, in the one mode or in the other, as the gate asks for it.

use std::rc::Rc;

use crate::checks::{CallId, Checks, Found, QuestionId, Settled, StreamId};
use crate::config::{Config, Consistency};
use crate::feed::{Feed, FeedSettings};
use crate::gate::Now;
use crate::proofs::Facts;
use crate::strict::{Answer, Strict};

/// Answers that are remembered, or a replica; and the questions under way.
pub(crate) enum Knowledge {
    /// `consistency: bounded`.
    Bounded(Checks),
    /// `consistency: strict`.
    Strict(Strict<Rc<Facts>>),
}

impl Knowledge {
    /// Nothing yet, and the bytes that are left of `cache_bytes` for proofs. `seed` is random.
    pub(crate) fn new(config: &Config, seed: [u64; 2]) -> (Self, u64) {
        let timeout = config.control_plane.timeout;
        match config.consistency {
            Consistency::Bounded { max_staleness } => {
                // A proof is some ten times the size of an answer, and there is one of each per token.
                let answers = config.cache_bytes / 8;
                let checks = Checks::new(answers, max_staleness, timeout);
                (Self::Bounded(checks), config.cache_bytes.saturating_sub(answers))
            }
            Consistency::Strict { replica_bytes } => {
                let keyspaces = config.policy.keyspaces().collect();
                let settings = FeedSettings { keyspaces, budget: replica_bytes, timeout, seed };
                (Self::Strict(Strict::new(settings)), config.cache_bytes)
            }
        }
    }

    /// Decides about a proven token, or makes `stream` wait. `now` was read in this callback.
    pub(crate) fn look(&mut self, facts: &Rc<Facts>, stream: StreamId, now: Now) -> Found {
        match self {
            Self::Bounded(checks) => checks.look(facts, stream, now),
            Self::Strict(strict) => strict.look(facts, stream, now),
        }
    }

    /// The host took a question.
    pub(crate) fn sent(&mut self, id: QuestionId, call: CallId) {
        match self {
            Self::Bounded(checks) => checks.sent(id, call),
            Self::Strict(strict) => strict.sent(id, call),
        }
    }

    /// The host did not take a question.
    pub(crate) fn not_sent(&mut self, id: QuestionId, now: Now) -> Settled {
        match self {
            Self::Bounded(checks) => checks.not_sent(id),
            Self::Strict(strict) => strict.not_sent(id, now),
        }
    }

    /// A question's callout has ended.
    pub(crate) fn answered(&mut self, call: CallId, answer: Option<Answer>, now: Now) -> Settled {
        match self {
            Self::Bounded(checks) => checks.answered(call, answer.map(|answer| answer.verdict), now),
            Self::Strict(strict) => strict.answered(call, answer, now),
        }
    }

    /// Gives up the questions that are lost.
    pub(crate) fn give_up_lost(&mut self, now: Now) -> Vec<Settled> {
        match self {
            Self::Bounded(checks) => checks.give_up_lost(now),
            Self::Strict(strict) => strict.give_up_lost(now),
        }
    }

    /// Whether any question is under way.
    pub(crate) fn asking(&self) -> bool {
        match self {
            Self::Bounded(checks) => checks.asking(),
            Self::Strict(strict) => strict.asking(),
        }
    }

    /// Whether a question is under way as this callout.
    pub(crate) fn asked(&self, call: CallId) -> bool {
        match self {
            Self::Bounded(checks) => checks.asked(call),
            Self::Strict(strict) => strict.asked(call),
        }
    }

    /// How many streams wait.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Bounded(checks) => checks.waiting(),
            Self::Strict(strict) => strict.waiting(),
        }
    }

    /// The stream is gone.
    pub(crate) fn forget(&mut self, stream: StreamId) {
        match self {
            Self::Bounded(checks) => checks.forget(stream),
            Self::Strict(strict) => strict.forget(stream),
        }
    }

    /// The feed, which only `strict` has.
    pub(crate) fn feed(&self) -> Option<&Feed> {
        match self {
            Self::Bounded(_) => None,
            Self::Strict(strict) => Some(strict.feed()),
        }
    }

    /// The feed, to be told what becomes of its polls.
    pub(crate) fn feed_mut(&mut self) -> Option<&mut Feed> {
        match self {
            Self::Bounded(_) => None,
            Self::Strict(strict) => Some(strict.feed_mut()),
        }
    }
}
