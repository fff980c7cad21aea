//! The state that decisions are made from, under one lock: the [`Barrier`], and what has to change together with it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::peers::company::Company;
use super::peers::row_state::RowState;
use super::protocol::{Barrier, LeaseTimes};
use super::survey::Survey;
use super::waiting::WaitingLogouts;
use crate::log::{ControlPlaneId, LogPosition};

/// The state that all tasks and handlers share. The lock is held for a few steps of computing and never across an await.
pub(super) struct SharedState(Mutex<State>);

/// The parts of the state.
pub(super) struct State {
    pub(super) barrier: Barrier,
    /// The callers that wait for what the barrier decides.
    pub(super) waiting: WaitingLogouts,
    /// What other control planes have committed, and which confirmations they have.
    pub(super) survey: Survey,
    /// Whether the own row is to be written or removed.
    pub(super) row: RowState,
    /// The other control planes, for operators.
    pub(super) company: Company,
}

impl SharedState {
    /// The state of a control plane that knows nothing and has granted nothing.
    pub(super) fn new(id: ControlPlaneId, times: LeaseTimes) -> Self {
        Self(Mutex::new(State {
            barrier: Barrier::new(id, times),
            waiting: WaitingLogouts::default(),
            survey: Survey::default(),
            row: RowState::default(),
            company: Company::default(),
        }))
    }

    /// Locks the state.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug in this program. The state is consistent between any two calls of the
        // barrier.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The position that is confirmed, if another control plane may wait for it and does not know it yet. The own row
    /// then has to say it, too.
    pub(super) fn confirm_for_others(&mut self, now: Duration) -> Option<LogPosition> {
        if !self.survey.is_awaited() {
            return None;
        }
        let confirmed = self.barrier.confirm(now)?;
        if !self.survey.confirms(confirmed) {
            return None;
        }
        self.row.falls_behind();
        Some(confirmed)
    }
}
