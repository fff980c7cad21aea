//! `consistency: bounded`: the control plane is asked about each token, and its answers are remembered for a time.
//!
//! An answer "active" is good for `max_staleness` from the moment when its question was asked, "revoked" for ever. So a
//! logout is noticed after `max_staleness` at the latest, and so is a removed key: an answer is remembered only if the
//! worker's keys were as new as the answer.

use std::time::Duration;

use curfew_core::wire::CheckVerdict;
use curfew_core::{LogPosition, RevocationKey};
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::{Answer, Conclusion, Decide, End};
use crate::cache::cache;
use crate::now::Now;
use crate::proofs::Facts;

/// What a remembered answer costs: its slots in the tables, and those of an evicted entry that is remembered by its
/// hash.
const ANSWER_BYTES: u64 = 128;

/// The answers that are remembered.
#[derive(Debug)]
pub struct Bounded {
    answers: Cache<RevocationKey, Remembered, ByCount>,
    max_staleness: Duration,
}

/// An answer about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remembered {
    /// Good until this monotonic time.
    Active { until: Duration },
    /// Good for ever. It may be evicted; then the token is asked about again. Why is remembered for the client's sake.
    Revoked { same_second: bool },
}

#[derive(Clone)]
struct ByCount;

impl Weighter<RevocationKey, Remembered> for ByCount {
    fn weight(&self, _: &RevocationKey, _: &Remembered) -> u64 {
        ANSWER_BYTES
    }
}

impl Bounded {
    /// Remembers no answers yet, and never more than fit into `budget` bytes. `max_staleness` is how long an answer
    /// "active" is good from the asking of its question.
    pub fn new(budget: u64, max_staleness: Duration) -> Self {
        let entries = usize::try_from(budget / ANSWER_BYTES).unwrap_or(usize::MAX);
        Self { answers: cache(entries, budget, ByCount), max_staleness }
    }

    /// The bytes that answers use, as the budget counts them.
    pub fn bytes(&self) -> u64 {
        self.answers.weight()
    }

    /// A later question about the token may have been answered "revoked" already. That holds for the requests that
    /// waited for this question, too.
    fn overtaken_by(&self, verdict: Option<CheckVerdict>, token: RevocationKey) -> Option<CheckVerdict> {
        if self.is_revoked(token) { Some(CheckVerdict::Revoked) } else { verdict }
    }

    fn is_revoked(&self, token: RevocationKey) -> bool {
        matches!(self.answers.peek(&token), Some(Remembered::Revoked { .. }))
    }

    fn remember(&mut self, token: RevocationKey, answer: Option<Answer>, until: Duration, now: Now) {
        let answer = match answer {
            Some(Answer { verdict: CheckVerdict::Active, .. }) if now.monotonic < until => Remembered::Active { until },
            Some(Answer { verdict: CheckVerdict::Revoked, same_second, .. }) => Remembered::Revoked { same_second },
            _ => return,
        };
        if !self.is_revoked(token) {
            self.answers.insert(token, answer);
        }
    }
}

impl Decide for Bounded {
    fn decide(&mut self, token: &Facts, _: Option<&LogPosition>, now: Now) -> Option<CheckVerdict> {
        match self.answers.get(&token.check.token)? {
            Remembered::Revoked { .. } => Some(CheckVerdict::Revoked),
            Remembered::Active { until } => (now.monotonic < *until).then_some(CheckVerdict::Active),
        }
    }

    /// Any answer serves the requests that waited when the question was asked. Later ones are served only while the
    /// answer is good for new requests: an "active" from before a logout must not admit a request from after it.
    fn conclude(&mut self, token: &Facts, _: Option<&LogPosition>, end: End, now: Now) -> Conclusion {
        let verdict = end.answer.map(|answer| answer.verdict);
        let until = end.asked_at.saturating_add(self.max_staleness);
        self.remember(token.check.token, end.answer, until, now);
        match self.overtaken_by(verdict, token.check.token) {
            Some(CheckVerdict::Active) if now.monotonic >= until => Conclusion::ActiveForEarlier,
            verdict => Conclusion::ForAll(verdict),
        }
    }
    /// What is remembered counts, and the answer only where it was not remembered.
    fn is_of_the_second(&self, token: &Facts, answer: Option<Answer>) -> bool {
        match self.answers.peek(&token.check.token) {
            Some(Remembered::Revoked { same_second }) => *same_second,
            _ => answer.is_some_and(|answer| answer.same_second),
        }
    }
}

#[cfg(test)]
mod tests;
