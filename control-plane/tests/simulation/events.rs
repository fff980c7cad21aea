//! The events of a world, and the queue in which they wait for their time.

use std::collections::BTreeMap;
use std::sync::Arc;

use curfew_control_plane::leases::protocol::Ack;
use curfew_control_plane::log::{Beat, ControlPlaneId, ControlPlaneRow, LogPosition};
use curfew_core::wire::{FeedAnswer, FeedRequest, FeedRevocation, KeysAnswer};
use curfew_filter::ids::CallId;
use curfew_filter::knowledge::Answer;
use curfew_filter::proofs::Facts;

use std::time::Duration;

use crate::clocks::Moment;
use crate::database::Snapshot;

/// A worker's callout. It ends once, however many answers arrive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) worker: usize,
    /// Which of the workers that ran in this place one after the other.
    pub(crate) life: u64,
    pub(crate) id: CallId,
}

#[derive(Debug, Clone)]
pub(crate) enum Event {
    RequestsGoOn { worker: usize },
    Request { worker: usize, life: u64, token: usize, arrived: u64 },
    WorkerWakes { worker: usize, life: u64 },
    PollArrives { plane: usize, call: Call, request: FeedRequest },
    PollEnds { call: Call, answer: Option<FeedAnswer> },
    CheckArrives { plane: usize, call: Call, facts: Arc<Facts> },
    CheckEnds { call: Call, answer: Option<Answer> },
    KeysArrive { plane: usize, call: Call, refresh: bool },
    KeysEnd { call: Call, answer: Option<Arc<KeysAnswer>> },
    PlaneTicks { plane: usize, life: u64 },
    PlaneWakes { plane: usize, life: u64 },
    PeerMessage { plane: usize, news: News },
    LogoutsGoOn,
    KeysGoOn,
    LogoutArrives { plane: usize, logout: usize },
    Statement { plane: usize, life: u64, statement: Statement, answer_is_lost: bool },
    Returned { plane: usize, life: u64, returned: Returned },
    Purge,
    FaultsGoOn,
    PlaneStarts { plane: usize },
    ProxyStarts { proxy: usize },
    End,
}

/// A message between control planes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News {
    Ack(Ack),
    Confirmed(ControlPlaneId, LogPosition),
    /// A revocation was committed.
    Bell,
}

/// A statement of a control plane to the database.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    Reading {
        began: Duration,
        flight: u64,
    },
    Rows {
        began: Duration,
    },
    WriteRow {
        id: ControlPlaneId,
        beat: Beat,
    },
    RemoveRow {
        id: ControlPlaneId,
        beat: u64,
    },
    ReplaceRow {
        id: ControlPlaneId,
        beat: u64,
        nobody: ControlPlaneId,
    },
    Check {
        call: Call,
        facts: Arc<Facts>,
    },
    Keys {
        call: Call,
    },
    Commit {
        logout: usize,
        began: Duration,
    },
    /// For mutants that act before the commit, or read twice.
    SecondHalf(Box<Half>),
}

/// The part of such a statement that was done first.
#[derive(Debug, Clone)]
pub(crate) enum Half {
    Commit { logout: usize, began: Duration, first: u64, rows: Vec<ControlPlaneRow>, revocations: Vec<FeedRevocation> },
    Reading { began: Duration, flight: u64, snapshot: Snapshot },
}

/// The result of a statement.
#[derive(Debug, Clone)]
pub(crate) enum Returned {
    Reading {
        began: Duration,
        flight: u64,
        snapshot: Snapshot,
    },
    ReadingFailed {
        flight: u64,
    },
    Rows {
        began: Duration,
        head: LogPosition,
        rows: Vec<ControlPlaneRow>,
    },
    RowsFailed,
    Check {
        call: Call,
        answer: Option<Answer>,
    },
    Keys {
        call: Call,
        answer: Option<Arc<KeysAnswer>>,
    },
    Committed {
        logout: usize,
        began: Duration,
        head: LogPosition,
        rows: Option<Vec<ControlPlaneRow>>,
    },
    /// The control plane does not learn whether it was committed.
    CommitFailed {
        logout: usize,
    },
}

/// Events in the order of their time. Events of the same time are in the order in which they were pushed.
#[derive(Default)]
pub(crate) struct Queue {
    events: BTreeMap<(Moment, u64), Event>,
    next: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Moment, event: Event) {
        self.next += 1;
        self.events.insert((at, self.next), event);
    }

    pub(crate) fn pop(&mut self) -> Option<(Moment, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}

impl Statement {
    /// The result of the statement if it fails; `None` if the control plane waits for no result.
    pub(crate) fn failed(&self) -> Option<Returned> {
        match self {
            Self::Reading { flight, .. } => Some(Returned::ReadingFailed { flight: *flight }),
            Self::Rows { .. } => Some(Returned::RowsFailed),
            Self::Check { call, .. } => Some(Returned::Check { call: *call, answer: None }),
            Self::Keys { call } => Some(Returned::Keys { call: *call, answer: None }),
            Self::Commit { logout, .. } => Some(Returned::CommitFailed { logout: *logout }),
            Self::WriteRow { .. } | Self::RemoveRow { .. } | Self::ReplaceRow { .. } => None,
            Self::SecondHalf(half) => Some(match half.as_ref() {
                Half::Commit { logout, .. } => Returned::CommitFailed { logout: *logout },
                Half::Reading { flight, .. } => Returned::ReadingFailed { flight: *flight },
            }),
        }
    }
}
