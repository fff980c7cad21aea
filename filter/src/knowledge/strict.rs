//! `consistency: strict`: no logout that has been answered is missed.
//!
//! The promise: once a logout call has returned 200, no request that reaches the proxy afterwards is admitted with that
//! token. A worker admits in one of two ways, and each keeps the promise.
//!
//! **By its copy of the log**, while its lease runs; [`crate::feed`] says why. The decision is a look into a table, in
//! the callback of the request.
//!
//! **By an answer** of the control plane, if the worker has no lease or its copy cannot say. The control plane reads
//! its store after the question was asked. A logout that was answered before a request arrived had been committed
//! before that. So the answer takes the logout into account if the request was there when the question was asked. An
//! answer "active" therefore serves only the requests that were; for those that arrived later the worker asks again. No
//! such answer is remembered.
//!
//! The copy may have grown while an answer was on its way. So the worker looks into its copy again before it uses the
//! answer: a token that the copy calls revoked is refused, and while the lease runs, a token that the copy calls clear
//! is clear for every request that waits.
//!
//! **Keys that the control plane hands out.** A change of keys is a place in the log, and the worker acknowledges it with
//! its page, before it has the new keys. From then on the copy says nothing about the tokens of handed-out keys, until
//! the worker's keys are as new as the copy's log shows. So a removed key is refused as soon as its removal is answered.
//!
//! **The second of the cutoff.** A token that was issued in the second of a logout of all devices, or that does not say
//! when, is clear if it was registered after the logout, which only the control plane knows. Its answer is remembered, but only if it was read
//! at a position that covers the copy's: an older answer does not know of that logout. It may be remembered because a
//! registered token is revoked later only by its own id, which the copy then calls revoked.

use std::collections::BTreeSet;

use curfew_core::wire::{CheckRequest, CheckVerdict};
use curfew_core::{Coverage, Epoch, LogPosition, RevocationKey};

use super::{Answer, Conclusion, Decide, End};
use crate::feed::{Feed, FeedSettings};
use crate::now::Now;
use crate::proofs::Facts;

/// How many ties are remembered. Beyond that all are forgotten and asked about again. To fill this, an attacker needs
/// that many logins in the second of a logout, or tokens without a time that were registered after one.
const MAX_TIES: usize = 10_000;

/// The feed, and the ties that are known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Strict {
    feed: Feed,
    /// Tokens that were issued in a cutoff's second and registered after the cutoff, in this history.
    ties: BTreeSet<RevocationKey>,
    ties_of: Option<Epoch>,
}

impl Strict {
    /// Holds nothing and has no lease.
    pub fn new(settings: FeedSettings) -> Self {
        Self { feed: Feed::new(settings), ties: BTreeSet::new(), ties_of: None }
    }

    /// The feed that the lease and the copy come from.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The feed, to report the sending and the end of its polls to.
    pub fn feed_mut(&mut self) -> &mut Feed {
        &mut self.feed
    }

    /// The verdict that this worker can give without asking, for a request that has arrived by `now`. "Revoked" needs
    /// no lease.
    fn own_verdict(&self, token: &Facts, keys: Option<&LogPosition>, now: Now) -> Option<CheckVerdict> {
        let clear = match self.feed.copy().coverage(&token.check)? {
            Coverage::Revoked => return Some(CheckVerdict::Revoked),
            Coverage::Clear => true,
            Coverage::SameSecond => self.ties.contains(&token.check.token) && self.ties_of == self.epoch(),
        };
        let decides = clear && self.feed.may_decide(now) && (!token.handed_out || self.are_as_new(keys));
        decides.then_some(CheckVerdict::Active)
    }

    /// True if these keys are as new as the copy's log shows.
    fn are_as_new(&self, keys: Option<&LogPosition>) -> bool {
        keys.zip(self.feed.keys()).is_some_and(|(held, shown)| held.covers(shown))
    }

    fn epoch(&self) -> Option<Epoch> {
        self.feed.position().map(|position| position.epoch)
    }

    fn remember_tie(&mut self, token: &CheckRequest, answer: Option<Answer>) {
        let Some(Answer { verdict: CheckVerdict::Active, read_at: Some(read_at), .. }) = answer else { return };
        let Some(held) = self.feed.position() else { return };
        if !read_at.covers(held) || self.feed.copy().coverage(token) != Some(Coverage::SameSecond) {
            return;
        }
        if self.ties_of != Some(held.epoch) || self.ties.len() >= MAX_TIES {
            self.ties.clear();
            self.ties_of = Some(held.epoch);
        }
        self.ties.insert(token.token);
    }
}

impl Decide for Strict {
    /// Call [`Feed::poll`] after it: a request may make a poll due.
    fn decide(&mut self, token: &Facts, keys: Option<&LogPosition>, now: Now) -> Option<CheckVerdict> {
        self.feed.requested(now);
        self.own_verdict(token, keys, now)
    }

    fn conclude(&mut self, token: &Facts, keys: Option<&LogPosition>, end: End, now: Now) -> Conclusion {
        self.remember_tie(&token.check, end.answer);
        match (self.own_verdict(token, keys, now), end.answer.map(|answer| answer.verdict)) {
            (Some(own), _) => Conclusion::ForAll(Some(own)),
            (None, Some(CheckVerdict::Active)) => Conclusion::ActiveForEarlier,
            (None, other) => Conclusion::ForAll(other),
        }
    }

    /// What the copy calls revoked is so whenever it was issued.
    fn is_of_the_second(&self, token: &Facts, answer: Option<Answer>) -> bool {
        let revoked_by_copy = || self.feed.copy().coverage(&token.check) == Some(Coverage::Revoked);
        answer.is_some_and(|answer| answer.same_second) && !revoked_by_copy()
    }
}

#[cfg(test)]
mod tests;
