//! What must hold in every world, and what must happen in some worlds: a world in which nothing happens would keep the
//! promise too.

use std::collections::BTreeMap;

use curfew_control_plane::log::{ControlPlaneId, LogPosition};
use curfew_core::wire::FeedRequest;
use curfew_core::{Epoch, WorkerId};

/// The first violation, and the facts that are needed to find one.
#[derive(Default)]
pub(crate) struct Checks {
    pub(crate) violation: Option<String>,
    pub(crate) reached: Reached,
    said: BTreeMap<WorkerId, FeedRequest>,
    confirmed: BTreeMap<(ControlPlaneId, Epoch), u64>,
}

/// How often each kind of event happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reached {
    pub(crate) events: u64,
    pub(crate) admitted_by_replica: u64,
    pub(crate) admitted_by_answer: u64,
    pub(crate) refused: u64,
    pub(crate) unavailable: u64,
    pub(crate) acknowledged: u64,
    pub(crate) outlasted: u64,
    pub(crate) ties: u64,
    pub(crate) restarts: u64,
    pub(crate) failovers: u64,
    /// Crashes of the database that lost a commit.
    pub(crate) crashes: u64,
    pub(crate) overflows: u64,
    pub(crate) departures: u64,
    pub(crate) pauses: u64,
    /// Admissions after a logout by a worker whose machine had been paused.
    pub(crate) excused: u64,
    /// Changes of handed-out keys that took a place in the log.
    pub(crate) keys_changed: u64,
    /// Requests that waited for keys.
    pub(crate) keys_awaited: u64,
    /// Requests that were admitted with a token that a handed-out key has proven.
    pub(crate) keys_admitted: u64,
    /// Requests that were refused because the key of their token is missing.
    pub(crate) keys_refused: u64,
    /// Requests whose key was removed while they waited for an answer about their token.
    pub(crate) keys_removed: u64,
}

impl Reached {
    fn numbers(&mut self) -> [&mut u64; 20] {
        [
            &mut self.events,
            &mut self.admitted_by_replica,
            &mut self.admitted_by_answer,
            &mut self.refused,
            &mut self.unavailable,
            &mut self.acknowledged,
            &mut self.outlasted,
            &mut self.ties,
            &mut self.restarts,
            &mut self.failovers,
            &mut self.crashes,
            &mut self.overflows,
            &mut self.departures,
            &mut self.pauses,
            &mut self.excused,
            &mut self.keys_changed,
            &mut self.keys_awaited,
            &mut self.keys_admitted,
            &mut self.keys_refused,
            &mut self.keys_removed,
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

impl Checks {
    pub(crate) fn violated(&mut self, what: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(what);
    }

    pub(crate) fn hold(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violated(what);
        }
    }

    /// Under one id a worker's `applied` never goes down, its epoch never changes, and no poll follows the poll with
    /// which it leaves.
    pub(crate) fn polled(&mut self, request: &FeedRequest) {
        let Some(before) = self.said.insert(request.worker, request.clone()) else { return };
        let same = before.epoch.is_none() || before.epoch == request.epoch;
        let true_still = same && before.applied <= request.applied && !before.leaving;
        self.hold(true_still, || format!("said of one id: {before:?}, then {request:?}"));
    }

    /// A confirmation of a control plane is never taken back.
    pub(crate) fn confirmed(&mut self, id: ControlPlaneId, head: LogPosition) {
        let before = self.confirmed.insert((id, head.epoch), head.seq).unwrap_or(0);
        self.hold(before <= head.seq, || format!("{id:?} has confirmed {before} and then {head:?}"));
    }
}
