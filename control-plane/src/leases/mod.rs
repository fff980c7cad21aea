//! `consistency: strict` at work: the [`Barrier`] between polls, the database and the other control planes.
//!
//! [`crate::leases::protocol`] decides, and this hands it what happens. [`Leases`] is what handlers share; beside them run the tasks
//! of [`run`]: one answers logouts that may be answered, one reads the rows of the others, one keeps the own row, one looks
//! for what others commit. Nothing here keeps a lock while it waits for anything.
//!
//! A control plane that no strict worker polls has no row, and costs the others nothing: it registers with the first poll and
//! takes its row away when there have been none for a while.

mod counters;
mod gateways;
mod peers;
mod polls;
pub mod protocol;
mod readings;
mod settling;
mod tail;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::since_boot;
use crate::log::{ControlPlaneId, LogPosition};
use crate::secret::Secret;
use crate::store::Store;

pub use counters::Counters;
pub use gateways::{Caller, Gateway, GatewayList};
pub use peers::gossip;
pub use polls::PollFailure;
pub use settling::{Settling, Unsettled};

use gateways::Gateways;
use peers::message::{Code, PeerMessage};
use peers::{Outbox, own_row, rows};
use protocol::{Barrier, LeaseTimes};
use readings::Readings;
use settling::Waiting;

/// What may differ between installations and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The lengths of time. Two control planes with different ones would break the promise, so this is no setting of an
    /// operator's.
    pub terms: LeaseTimes,
    /// Polls that may be held back at a time. Beyond that they are answered 503, and the worker asks.
    pub most_held: usize,
}

impl Settings {
    /// For a listener of so many connections. Over HTTP/1.1 a held poll keeps one to itself, and a quarter is left for the
    /// questions of those that are told 503.
    pub fn on_connections(internal: u32) -> Self {
        let internal = usize::try_from(internal).unwrap_or(usize::MAX);
        Self { terms: LeaseTimes::default(), most_held: internal - internal / 4 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::on_connections(4_096)
    }
}

/// What handlers and tasks share.
pub struct Leases {
    id: ControlPlaneId,
    settings: Settings,
    store: Store,
    counters: Counters,
    state: Mutex<State>,
    gateways: Mutex<Gateways>,
    readings: Readings,
    /// The newest head that is known of: a hint that there is news, and nothing that is granted from.
    known: watch::Sender<Option<Known>>,
    /// Whether the own row has been written.
    registered: watch::Sender<bool>,
    /// No leases are granted any more, and polls are not held back.
    closing: watch::Sender<bool>,
    held: AtomicUsize,
    /// Something has happened by which a logout may be answered, or something be confirmed.
    settle: Notify,
    /// A logout waits for the rows of others.
    read_rows: Notify,
    /// The own row is to be written before it is due.
    write_row: Notify,
    /// For messages to other control planes.
    code: Code,
    outbox: Outbox,
    /// The other end, until the task has taken it.
    told: Mutex<Option<mpsc::Receiver<PeerMessage>>>,
    /// Whether messages arrive.
    heard: watch::Sender<bool>,
    /// What another one says of the head.
    hinted: watch::Sender<Option<LogPosition>>,
}

/// A head, and a time from which on readings show it.
#[derive(Debug, Clone, Copy)]
struct Known {
    head: LogPosition,
    since: Duration,
}

/// What decisions are made from.
struct State {
    barrier: Barrier,
    waiting: Vec<Waiting>,
    /// What somebody else has committed, as long as it is not confirmed.
    foreign: Option<LogPosition>,
    /// Up to here it is known what others have committed: nothing that is not in `foreign`, or was confirmed.
    surveyed: Option<LogPosition>,
    /// Everything up to here may be answered, if somebody should ask once more.
    settled: Option<LogPosition>,
    /// What the others were told last.
    told: Option<LogPosition>,
    /// More is confirmed than the own row says.
    unconfirmed: bool,
    /// The own row was taken away at this number, or an attempt was made. Nothing is granted from a reading that shows it, or
    /// a lower one: the row may be gone by now.
    retired: u64,
    last_poll: Option<Duration>,
}

impl State {
    /// The log reaches to `head`, and from `before` on it is of this process, if that is known. Whether somebody else has
    /// committed something that was not known of.
    fn survey(&mut self, head: LogPosition, own_from: Option<LogPosition>) -> bool {
        let unknown = |to: LogPosition| !self.surveyed.is_some_and(|known| known.covers(to));
        let foreign = Some(own_from.unwrap_or(head)).filter(|to| to.seq > 0 && unknown(*to));
        if unknown(head) {
            self.surveyed = Some(head);
        }
        if foreign.is_some() {
            self.foreign = foreign;
        }
        foreign.is_some()
    }

    /// Logouts up to here may be answered. Of two histories the one that was asked for last is remembered.
    fn settles(&mut self, head: LogPosition) {
        if !self.settled.is_some_and(|settled| settled.covers(head)) {
            self.settled = Some(head);
        }
    }

    /// What is confirmed, if that is more than the others were told, and one of them may wait for it. While they go on
    /// committing it is never all that they have committed.
    fn confirms_more(&mut self, now: Duration) -> Option<LogPosition> {
        let foreign = self.foreign?;
        let confirmed = self.barrier.confirm(now)?;
        if confirmed.covers(foreign) {
            self.foreign = None;
        }
        if self.told.is_some_and(|told| told.covers(confirmed)) {
            return None;
        }
        self.told = Some(confirmed);
        self.unconfirmed = true;
        Some(confirmed)
    }
}

impl Leases {
    /// Knows nothing and has granted nothing. The tasks must be [`run`] for anything to be granted or answered. `secret` is the
    /// one that all control planes share.
    ///
    /// # Errors
    ///
    /// There is no randomness for a name.
    pub fn new(store: Store, counters: Counters, secret: &Secret, settings: Settings) -> std::io::Result<Self> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(std::io::Error::other)?;
        let id = ControlPlaneId::from_bytes(id);
        let state = State {
            barrier: Barrier::new(id, settings.terms),
            waiting: Vec::new(),
            foreign: None,
            surveyed: None,
            settled: None,
            told: None,
            unconfirmed: false,
            retired: 0,
            last_poll: None,
        };
        let (outbox, told) = peers::outbox();
        Ok(Self {
            id,
            settings,
            store,
            counters,
            state: Mutex::new(state),
            gateways: Mutex::default(),
            readings: Readings::default(),
            known: watch::Sender::new(None),
            registered: watch::Sender::new(false),
            closing: watch::Sender::new(false),
            held: AtomicUsize::new(0),
            settle: Notify::new(),
            read_rows: Notify::new(),
            write_row: Notify::new(),
            code: Code::of(secret),
            outbox,
            told: Mutex::new(Some(told)),
            heard: watch::Sender::new(false),
            hinted: watch::Sender::new(None),
        })
    }

    /// How long a logout waits at most after its commit.
    pub fn longest_wait(&self) -> Duration {
        self.settings.terms.lease_over()
    }

    /// How long a poll is held back at most.
    pub fn longest_hold(&self) -> Duration {
        self.settings.terms.hold
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a fault of this program's; the state is whole between any two calls of the barrier's.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants nothing from now on, and answers the polls that are held back.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Polls that are held back.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes note of a head that readings from `since` on show.
    fn know(&self, head: LogPosition, since: Duration) {
        self.known.send_if_modified(|known| {
            let news = !known.is_some_and(|known| known.head.covers(head));
            if news {
                *known = Some(Known { head, since });
            }
            news
        });
    }

    /// Takes note of a head that a reading has shown which began at `began`.
    fn learn(&self, head: LogPosition, began: Duration) {
        self.know(head, began);
        let foreign = self.state().survey(head, None);
        if foreign {
            self.settle.notify_one();
        }
    }
}

/// Runs the tasks until it is told to stop and the leases from here are over, and takes the own row away.
pub async fn run(leases: &Leases, stop: CancellationToken) {
    let over = watch::Sender::new(false);
    let until_over = || {
        let mut over = over.subscribe();
        async move { drop(over.wait_for(|over| *over).await) }
    };
    tokio::join!(
        async {
            own_row::run(leases, stop).await;
            over.send_replace(true);
        },
        settling::run(leases, until_over()),
        rows::run(leases, until_over()),
        tail::run(leases, until_over()),
    );
}

/// Sleeps until a time of the local clock.
async fn sleep_until(at: Duration) {
    tokio::time::sleep(at.saturating_sub(since_boot())).await;
}

#[cfg(test)]
mod tests {
    use crate::log::Epoch;

    use super::*;

    fn head(epoch: u8, seq: u64) -> LogPosition {
        LogPosition { epoch: Epoch::from_bytes([epoch; 16]), seq }
    }

    fn state() -> State {
        State {
            barrier: Barrier::new(ControlPlaneId::from_bytes([1; 16]), LeaseTimes::default()),
            waiting: Vec::new(),
            foreign: None,
            surveyed: None,
            settled: None,
            told: None,
            unconfirmed: false,
            retired: 0,
            last_poll: None,
        }
    }

    #[test]
    fn what_others_committed_shows_between_two_own_commits() {
        let mut state = state();
        assert!(!state.survey(head(1, 1), Some(head(1, 0))), "the log was empty");
        assert!(!state.survey(head(1, 3), Some(head(1, 1))));
        assert!(state.survey(head(1, 5), Some(head(1, 4))), "4 is of somebody else");
        assert_eq!(state.foreign, Some(head(1, 4)));
        assert!(!state.survey(head(1, 5), None), "a reading that shows nothing new");
        assert!(state.survey(head(1, 7), None));
        assert!(!state.survey(head(1, 7), Some(head(1, 6))), "the reading came before the word of the own commit");
        assert_eq!(state.foreign, Some(head(1, 7)));
        assert!(state.survey(head(2, 3), Some(head(2, 2))), "of a new history nothing is known");
        assert_eq!(state.foreign, Some(head(2, 2)));
    }

    #[test]
    fn what_was_settled_stays_settled() {
        let mut state = state();
        state.settles(head(1, 7));
        state.settles(head(1, 5));
        assert_eq!(state.settled, Some(head(1, 7)));
        state.settles(head(2, 1));
        assert_eq!(state.settled, Some(head(2, 1)));
    }
}
