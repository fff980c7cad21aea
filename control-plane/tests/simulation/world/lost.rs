//! Logouts that the database loses, with a failover or with a crash: what their control planes could know of that, and so
//! whether they may still be answered.

use std::time::Duration;

use curfew_control_plane::leases::protocol::{Safe, Superseded};
use curfew_core::LogPosition;

use super::World;
use super::logouts::{Logout, Scope};

impl World {
    /// Another server takes over without some logouts of single tokens whose callers were not answered yet.
    pub(super) fn lose_logouts(&mut self) {
        for index in 0..self.tokens.len() {
            let Some(token) = self.tokens.get(index).filter(|token| token.answered.is_none()) else { continue };
            let key = token.facts.check.token;
            let covering = || self.logouts.iter().filter(|logout| logout.covers.contains(&index));
            let may_lack_it =
                covering().next().is_some() && covering().all(|logout| logout.scope == Scope::Token && !logout.ended);
            if may_lack_it && self.dice.per_mille(500) {
                self.database.lose(key);
                let covering = self.logouts.iter_mut().filter(|logout| logout.covers.contains(&index));
                covering.for_each(|logout| logout.lost = true);
            }
        }
    }

    /// Another server takes over without the last changes of keys whose callers were not answered yet. What it has is not
    /// lost later.
    pub(super) fn lose_changes(&mut self) {
        let before = self.database.keys.clone();
        for (logout, stored) in std::mem::take(&mut self.changes).into_iter().rev() {
            let ended = self.logouts.get(logout).is_none_or(|logout| logout.ended);
            if ended || self.dice.per_mille(400) {
                break;
            }
            self.database.lose_change(stored);
            self.logouts.iter_mut().skip(logout).take(1).for_each(|logout| logout.lost = true);
        }
        self.keys_are_stored(&before);
    }

    /// The database crashes, and lacks its latest commits when it comes back. Their callers have no answer yet, and get
    /// none from this commit: the connections broke with the crash. True if a commit was lost.
    pub(super) fn lose_last_commits(&mut self) -> bool {
        let (most, before) = (1 + self.dice.below(3), self.database.keys.clone());
        let mut any = false;
        for _ in 0..most {
            let logouts = &self.logouts;
            let unanswered = |logout: usize| logouts.get(logout).is_some_and(|logout| !logout.ended);
            let Some(lost) = self.database.lose_latest(unanswered) else { break };
            any = true;
            for logout in self.logouts.iter_mut().skip(lost).take(1) {
                (logout.lost, logout.broken) = (true, logout.committed.is_none());
            }
        }
        self.changes.retain(|(logout, _)| self.logouts.get(*logout).is_some_and(|logout| !logout.lost));
        self.keys_are_stored(&before);
        any
    }

    /// A reading or a commit that began at `began` shows this history to a control plane.
    pub(super) fn shows(&mut self, index: usize, life: u64, head: LogPosition, began: Duration) {
        let now = self.plane_now(index);
        let Some((now, plane)) = now.zip(self.planes.get_mut(index)) else { return };
        let waits = |logout: &&mut Logout| logout.committed.is_some_and(|(_, at, of)| (at, of) == (index, life));
        for logout in self.logouts.iter_mut().filter(|logout| !logout.ended).filter(waits) {
            let Some((position, returned)) = logout.position.filter(|(_, returned)| began >= *returned) else {
                continue;
            };
            let of_own = plane.histories.get(&position.epoch);
            match position.epoch == head.epoch {
                true => logout.shown = true,
                // Of two histories that were asked for at the same time, it is not known which is the later one.
                false => logout.told |= of_own.is_none_or(|ended| *ended < began) && began > returned,
            }
        }
        plane.histories.insert(head.epoch, now);
    }

    /// For a mutant: ends the waits whose time has passed, whatever was read.
    pub(super) fn end_by_time_alone(&mut self, index: usize, now: Duration) {
        let Some(plane) = self.planes.get(index) else { return };
        let lease_over = self.scene.terms.lease_over();
        let is_over = |logout: &Logout| {
            let position = logout.position.filter(|(position, _)| plane.barrier.epoch() == Some(position.epoch));
            position.is_some_and(|(_, returned)| now >= returned + lease_over)
        };
        let waits = plane.waits.iter().filter(|(_, logout)| self.logouts.get(**logout).is_some_and(is_over));
        let waits: Vec<_> = waits.map(|(wait, _)| *wait).collect();
        for wait in waits {
            self.planes.iter_mut().skip(index).take(1).for_each(|plane| plane.barrier.forget(wait));
            self.logout_has_ended(index, wait, Ok(Safe::Outlasted));
        }
    }

    /// Ends a logout that the present history lacks. Its control plane makes no mistake if it answers 200 and could not know:
    /// it has seen the commit's own history since the commit returned, and no other one.
    pub(super) fn is_lost(&mut self, index: usize, logout: usize, ended: Result<Safe, Superseded>) -> bool {
        let known = self.planes.get(index).and_then(|plane| plane.barrier.epoch());
        let Some(logout) = self.logouts.get_mut(logout).filter(|logout| logout.lost) else { return false };
        logout.ended = true;
        let knows_better = known == Some(self.scene.seen_epoch(self.database.head.epoch));
        let held = ended.is_err() || (logout.shown && !logout.told && !knows_better);
        self.checks.hold(held, || format!("a logout that the history lacks was answered 200: {ended:?}"));
        true
    }
}
