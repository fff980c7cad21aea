//! What must hold in every world, and what must happen in some.
//!
//! - A worker that may decide refuses each token whose logout was answered with 200, at once and for ever. A logout that a
//!   database has lost before its answer is not held to this.
//! - The loss excuses a 200 only if the control plane could not know: it has read the log or the rows since the commit, which
//!   were then still those of the commit; and since the loss it has been told nothing of another history.
//! - While an old primary goes on answering some control planes, what these know is of the old history. Workers that they lead
//!   are not held to the promise until it has ended.
//! - A control plane that closes grants no lease.
//! - When the faults are over, every worker has a lease, and every logout ends soon.

use std::time::Duration;

use curfew_core::Coverage;
use curfew_core::wire::FeedAnswer;

use crate::scene::ms;
use crate::world::Inner;

/// How often each kind of event happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reached {
    pub(crate) answered: u64,
    pub(crate) unconfirmed: u64,
    pub(crate) redeemed: u64,
    pub(crate) failed_commits: u64,
    pub(crate) leases: u64,
    pub(crate) full: u64,
    pub(crate) repeated_polls: u64,
    pub(crate) deaths: u64,
    pub(crate) closes: u64,
    pub(crate) failovers: u64,
    pub(crate) forks: u64,
    pub(crate) distrusts: u64,
    pub(crate) lost_logouts: u64,
    pub(crate) excused: u64,
    pub(crate) rows_removed: u64,
    pub(crate) messages: u64,
}

impl Reached {
    fn numbers(&mut self) -> [&mut u64; 16] {
        [
            &mut self.answered,
            &mut self.unconfirmed,
            &mut self.redeemed,
            &mut self.failed_commits,
            &mut self.leases,
            &mut self.full,
            &mut self.repeated_polls,
            &mut self.deaths,
            &mut self.closes,
            &mut self.failovers,
            &mut self.forks,
            &mut self.distrusts,
            &mut self.lost_logouts,
            &mut self.excused,
            &mut self.rows_removed,
            &mut self.messages,
        ]
    }

    pub(crate) fn add(&mut self, mut other: Self) {
        self.numbers().into_iter().zip(other.numbers()).for_each(|(sum, number)| *sum += *number);
    }

    /// True if each kind has happened at least once.
    pub(crate) fn is_all(mut self) -> bool {
        self.numbers().into_iter().all(|number| *number > 0)
    }
}

/// Something that has shown a control plane another history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence {
    /// The server that it came from.
    pub(crate) server: usize,
    /// When the statement began and when it came back, in true time.
    pub(crate) began: Duration,
    pub(crate) at: Duration,
    /// It was a reading, and no mere warning.
    pub(crate) is_read: bool,
}

/// How long a reading may be under way, and then serve polls.
const UNDER_WAY: Duration = ms(500);

/// How long the room may take to act on what it was told.
const ACTS_WITHIN: Duration = ms(3);

impl Inner {
    pub(crate) fn violated(&mut self, what: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(what);
    }

    /// A caller was told that the logout is in force.
    pub(crate) fn answered(&mut self, index: usize, at_plane: (usize, u64), since: Duration, now: Duration) {
        self.reached.answered += 1;
        let logout = &mut self.logouts[index];
        logout.ended = true;
        let asked = logout.called;
        let Some(lost_to) = logout.lost else {
            logout.answered = true;
            return self.probe_all(now);
        };
        let told = self.planes[at_plane.0].evidence(at_plane.1).iter().find(|evidence| {
            // A warning counts for what was committed or asked for before it.
            let counts_from = if evidence.is_read { since } else { since.max(asked) };
            evidence.server >= lost_to && evidence.began > counts_from && evidence.at + ACTS_WITHIN <= now
        });
        let (told, shown) = (told.copied(), self.is_shown(&self.logouts[index]));
        self.reached.excused += 1;
        if !shown {
            self.violated(|| {
                format!("{now:?}: logout {index} is lost; nothing was read since its commit, and it is 200")
            });
        }
        if let Some(told) = told {
            self.violated(|| {
                format!("{now:?}: logout {index} is lost, its control plane knew ({told:?}), and says 200")
            });
        }
    }

    /// A control plane that has read the log of a new history grants nothing from an older one.
    pub(crate) fn grants_from_its_history(&mut self, at: (usize, u64), answer: &FeedAnswer, now: Duration) {
        let Some(server) = self.epochs.iter().find(|(epoch, _)| *epoch == answer.epoch).map(|(_, server)| *server)
        else {
            return;
        };
        let read =
            self.planes[at.0].evidence(at.1).iter().find(|evidence| evidence.is_read && evidence.server > server);
        if let Some(read) = read.filter(|read| answer.lease_ms > 0 && read.at + UNDER_WAY < now).copied() {
            self.violated(|| format!("{now:?}: control plane {} grants from server {server} after {read:?}", at.0));
        }
    }

    /// No worker admits what was logged out.
    pub(crate) fn probe_all(&mut self, now: Duration) {
        (0..self.workers.len()).for_each(|worker| self.probe(worker, now));
    }

    /// This worker does not admit what was logged out.
    pub(crate) fn probe(&mut self, index: usize, now: Duration) {
        let worker = &self.workers[index];
        let feed = &worker.feed;
        if !feed.may_decide(worker.clocks.now(now)) {
            return;
        }
        let epoch = feed.position().map(|position| position.epoch);
        if now < self.forked_until && epoch != Some(self.present().head.epoch) {
            return;
        }
        let dead = self.logouts.iter().enumerate().filter(|(_, logout)| logout.answered && logout.lost.is_none());
        let admitted = dead.map(|(number, logout)| (number, logout.check()));
        let admitted = admitted
            .filter(|(_, check)| feed.copy().coverage(check) != Some(Coverage::Revoked))
            .map(|(number, _)| number);
        if let Some(number) = admitted.min() {
            let position = feed.position();
            self.violated(|| format!("{now:?}: worker {index} at {position:?} admits after logout {number}"));
        }
    }

    /// Once all faults are over, workers decide by themselves.
    pub(crate) fn has_lease(&mut self, index: usize, now: Duration) {
        let worker = &self.workers[index];
        if !worker.feed.may_decide(worker.clocks.now(now)) {
            self.violated(|| format!("{now:?}: worker {index} has no lease though nothing is wrong"));
        }
    }
}
