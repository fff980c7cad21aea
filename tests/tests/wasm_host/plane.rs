//! A control plane that keeps its side of the leases: its log, the leases that it has granted, and its logouts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use curfew_core::wire::{FeedAnswer, FeedRequest, FeedRevocation};
use curfew_core::{RevocationKey, WorkerId};

use crate::feed::{EPOCH, LEASE, page};

/// A lease as the control plane remembers it.
struct Row {
    covered: u64,
    until: Duration,
}

/// A logout of one token.
struct Logout {
    seq: u64,
    /// The step in which it was answered.
    answered: Option<usize>,
}

#[derive(Default)]
pub(crate) struct Plane {
    log: Vec<FeedRevocation>,
    logouts: BTreeMap<RevocationKey, Logout>,
    leases: BTreeMap<WorkerId, Row>,
    left: BTreeSet<WorkerId>,
    /// The end of the lease that ends last, of all that were ever granted.
    leased_until: Duration,
}

impl Plane {
    /// A poll carries the position of its worker.
    pub(crate) fn arrives(&mut self, poll: &FeedRequest) -> Result<()> {
        ensure!(!self.left.contains(&poll.worker), "an id is used again that was given up");
        ensure!(
            poll.applied <= self.log.len() as u64 || poll.epoch.is_none(),
            "a log of another control plane: {poll:?}"
        );
        if poll.leaving {
            self.left.insert(poll.worker);
            self.leases.remove(&poll.worker);
        } else if let Some(row) = self.leases.get_mut(&poll.worker) {
            ensure!(poll.epoch == Some(EPOCH) || poll.applied == 0, "{poll:?}");
            row.covered = row.covered.max(poll.applied);
        }
        Ok(())
    }

    /// Answers a poll that arrived at this time, and grants a lease from now on.
    pub(crate) fn page(&mut self, poll: &FeedRequest, arrived: Duration, now: Duration) -> FeedAnswer {
        let head = self.log.len() as u64;
        if !poll.leaving && !self.left.contains(&poll.worker) {
            let row = self.leases.entry(poll.worker).or_insert(Row { covered: head, until: now });
            if row.until <= now {
                row.covered = head;
            }
            row.until = row.until.max(now + LEASE);
            self.leased_until = self.leased_until.max(row.until);
        }
        let fresh_ms = i64::try_from((now - arrived).as_millis()).unwrap();
        FeedAnswer { fresh_ms, ..page(poll, &self.log) }
    }

    pub(crate) fn is_logged_out(&self, token: &RevocationKey) -> bool {
        self.logouts.contains_key(token)
    }

    /// The step in which the token's logout was answered.
    pub(crate) fn answered(&self, token: &RevocationKey) -> Option<usize> {
        self.logouts.get(token)?.answered
    }

    /// True if a lease was ever granted that lasts until then.
    pub(crate) fn leased(&self, at: Duration) -> bool {
        at < self.leased_until
    }

    pub(crate) fn log_out(&mut self, logout: FeedRevocation) {
        self.log.push(logout);
        self.logouts.insert(logout.key, Logout { seq: self.log.len() as u64, answered: None });
    }

    /// Answers each logout that no lease from before it is in the way of; returns how many there are.
    pub(crate) fn answer_logouts(&mut self, now: Duration, step: usize) -> usize {
        let in_the_way = |seq: u64| self.leases.values().any(|row| row.until > now && row.covered < seq);
        let mut answered = 0;
        for logout in self.logouts.values_mut().filter(|logout| logout.answered.is_none()) {
            if !in_the_way(logout.seq) {
                logout.answered = Some(step);
                answered += 1;
            }
        }
        answered
    }
}
