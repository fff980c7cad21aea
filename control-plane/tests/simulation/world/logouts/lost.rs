//! Logouts that the database loses: with a failover, or with a crash.

use curfew_control_plane::leases::protocol::{Safe, Superseded};

use crate::world::World;

impl World {
    /// Another server takes over without some logouts of single tokens whose callers were not answered yet.
    pub(in crate::world) fn lose_logouts(&mut self) {
        for index in 0..self.tokens.len() {
            let Some(token) = self.tokens.get(index).filter(|token| token.answered.is_none()) else { continue };
            let key = token.facts.check.token;
            let covering = || self.logouts.iter().filter(|logout| logout.covers.contains(&index));
            let may_lack_it = covering().next().is_some() && covering().all(|logout| !logout.all && !logout.ended);
            if may_lack_it && self.dice.per_mille(500) {
                self.database.lose(key);
                let covering = self.logouts.iter_mut().filter(|logout| logout.covers.contains(&index));
                covering.for_each(|logout| logout.lost = true);
            }
        }
    }

    /// The database crashes, and lacks its latest commits when it comes back. Their callers have no answer yet, and get
    /// none from this commit: the connections broke with the crash. True if a commit was lost.
    pub(in crate::world) fn lose_last_commits(&mut self) -> bool {
        let most = 1 + self.dice.below(3);
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
        any
    }

    /// Ends a logout that the present history lacks. A control plane that knows of that history must not answer it 200.
    /// A control plane that does not know of it yet makes no mistake.
    pub(super) fn is_lost(&mut self, index: usize, logout: usize, ended: Result<Safe, Superseded>) -> bool {
        let known = self.planes.get(index).and_then(|plane| plane.barrier.epoch());
        let Some(logout) = self.logouts.get_mut(logout).filter(|logout| logout.lost) else { return false };
        logout.ended = true;
        let knows_better = known == Some(self.scene.seen_epoch(self.database.head.epoch));
        let held = ended.is_err() || !knows_better;
        self.checks.hold(held, || format!("a logout that the history lacks was answered 200: {ended:?}"));
        true
    }
}
