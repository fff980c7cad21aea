//! The leases of the workers (`consistency: strict`): which workers may decide by their own copy of the log, and
//! when a logout is confirmed.
//!
//! [`protocol`] decides, and is pure. The rest of the room reports events to it and carries out its decisions: the rest
//! answers polls, reads the log, keeps this control plane's row, talks with the other control planes, and ends the
//! waits of logouts. The handlers share one [`Leases`], and the tasks of [`run`] and [`gossip`] run beside them. No
//! part of the room waits for anything while it holds a lock.
//!
//! A control plane that no worker polls has no row, and costs the others nothing. It registers with the first poll, and removes
//! its row when there have been no polls for a while.
//!
//! Each file owns its state, and lists the parts that it uses in one struct:
//!
//! | file | what it is | uses |
//! |---|---|---|
//! | `settings` | what may differ between installations and tests | |
//! | `surroundings` | what the room asks of the database and of a channel, as traits | |
//! | [`protocol`] | the barrier: which worker gets a lease, and when a wait ends | |
//! | `waiting` | the logouts that wait, as their callers see them | |
//! | `survey` | what other control planes have committed, and which confirmations they have | |
//! | `peers::row_state` | whether to write or to remove the own row | |
//! | `state` | the four above under one lock | |
//! | `signals` | the signals that wake the tasks | |
//! | `news` | the newest known head | |
//! | `places` | the limit on polls that are held back | |
//! | `gateways` | the workers that poll, for operators | |
//! | `counters` | the metrics | |
//! | `peers::message`, `peers::outbox` | messages to other control planes, as bytes and on their way | |
//! | `confirming` | the start of a logout's wait, and the task that ends waits | `state`, `outbox` |
//! | `readings` | shared readings of the log | `state`, `news` |
//! | `polls` | a poll, from its arrival to its answer | `state`, `news`, `places`, `readings`, `outbox`, `gateways` |
//! | `tail` | the task that notices commits | `state`, `news`, `readings`, `outbox` |
//! | `peers::rows` | the task that reads the rows of others | `state`, `outbox` |
//! | `peers::own_row` | the task that keeps the own row | `state`, `outbox` |
//! | `peers::gossip` | the task that speaks with others through Redis | `state`, `news`, `outbox` |

mod confirming;
mod counters;
mod gateways;
mod news;
mod peers;
mod places;
mod polls;
pub mod protocol;
mod readings;
mod settings;
mod signals;
mod state;
mod surroundings;
mod survey;
mod tail;
mod waiting;

use std::time::Duration;

use curfew_core::wire::{FeedAnswer, FeedRequest};
use tokio_util::sync::CancellationToken;

use crate::clock::LocalClock;
use crate::log::{Commit, ControlPlaneId, LogPosition};
use crate::redis;
use crate::secret::Secret;
use crate::store::Store;

pub use counters::Counters;
pub use gateways::{Caller, Gateway, GatewayList, GatewayState};
pub use polls::PollFailure;
pub use settings::Settings;
pub use surroundings::{Line, Lines, LogStore, RowStore, Surroundings};
pub use waiting::{Pending, Unconfirmed};

use confirming::Confirming;
use gateways::Gateways;
use news::News;
pub use peers::company::Others;
use peers::gossip::Gossip;
use peers::message::MessageCode;
use peers::outbox::Outbox;
use peers::own_row::OwnRowKeeper;
use peers::rows::RowsReader;
use places::Places;
use polls::Polls;
use readings::{LogReader, SharedReadings};
use signals::Signals;
use state::SharedState;
use tail::Tail;

/// The parts that handlers and tasks share.
pub struct Leases {
    id: ControlPlaneId,
    clock: LocalClock,
    settings: Settings,
    store: Box<dyn LogStore>,
    counters: Counters,
    state: SharedState,
    signals: Signals,
    news: News,
    readings: SharedReadings,
    places: Places,
    gateways: Gateways,
    outbox: Outbox,
    code: MessageCode,
}

impl Leases {
    /// A control plane that knows nothing and has granted nothing. Leases are granted and logouts confirmed only while [`run`]
    /// runs. All control planes share the `secret`.
    ///
    /// # Errors
    ///
    /// The system has no randomness for the control plane's id.
    pub fn new(store: Store, counters: Counters, secret: &Secret, settings: Settings) -> std::io::Result<Self> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(std::io::Error::other)?;
        let id = ControlPlaneId::from_bytes(id);
        Self::within(
            Surroundings { id, clock: LocalClock::system(), store: Box::new(store) },
            counters,
            secret,
            settings,
        )
    }

    /// The same in other surroundings than the system's: the caller has drawn the id, which no other process has had.
    ///
    /// # Errors
    ///
    /// No key for messages to other control planes can be made from the secret.
    pub fn within(
        surroundings: Surroundings,
        counters: Counters,
        secret: &Secret,
        settings: Settings,
    ) -> std::io::Result<Self> {
        let Surroundings { id, clock, store } = surroundings;
        counters.most_held.set(i64::try_from(settings.most_held).unwrap_or(i64::MAX));
        Ok(Self {
            id,
            clock,
            settings,
            store,
            state: SharedState::new(id, settings.times),
            signals: Signals::default(),
            news: News::default(),
            readings: SharedReadings::default(),
            places: Places::new(settings.most_held, counters.held.clone()),
            gateways: Gateways::default(),
            outbox: Outbox::new(),
            code: MessageCode::of(secret).map_err(std::io::Error::other)?,
            counters,
        })
    }

    /// Answers a worker's poll, as soon as there is news for the worker or its time is over.
    ///
    /// # Errors
    ///
    /// See [`PollFailure`].
    pub async fn poll(&self, request: &FeedRequest, caller: Caller) -> Result<FeedAnswer, PollFailure> {
        self.polls().poll(request, caller).await
    }

    /// Begins to wait until no worker admits a new request with what this commit has revoked.
    pub fn wait_for(&self, commit: Commit) -> Pending {
        self.confirming().wait_for(commit)
    }

    /// Begins to wait for a position that some control plane has committed before. It may have been confirmed already.
    /// Then the wait is over as soon as the rows of the other control planes have been read.
    pub fn wait_for_position(&self, position: LogPosition) -> Pending {
        self.confirming().wait_for_position(position)
    }

    /// How many workers with a lease from here hold everything up to the pending position, and how many have a lease.
    pub fn applied(&self, pending: &Pending) -> (usize, usize) {
        self.state.lock().barrier.workers(pending.position(), self.clock.now())
    }

    /// How long a logout waits at most after its commit.
    pub fn longest_wait(&self) -> Duration {
        self.settings.times.lease_over()
    }

    /// How long a poll is held back at most.
    pub fn longest_hold(&self) -> Duration {
        self.settings.times.hold
    }

    /// Grants no leases from now on, and answers the polls that are held back.
    pub fn close(&self) {
        self.signals.close();
    }

    /// How many polls are held back.
    pub fn held(&self) -> usize {
        self.places.taken()
    }

    /// True if messages through Redis arrive, judged by whether this control plane hears its own.
    pub fn hears_itself(&self) -> bool {
        self.outbox.is_heard()
    }

    /// The workers that have polled here recently.
    pub fn list(&self) -> GatewayList {
        self.gateways.list(self.news.head(), self.clock.now())
    }

    /// How many other control planes grant leases, and how many were lost a moment ago.
    pub fn others(&self) -> Others {
        self.state.lock().company.others(self.clock.now())
    }

    /// Sets the gauges that change with time alone.
    pub fn measure(&self) {
        self.counters.show_others(self.others());
        let (live, longest) = self.gateways.live(self.clock.now());
        self.counters.workers.set(i64::try_from(live).unwrap_or(i64::MAX));
        self.counters.slowest.set(i64::try_from(longest.as_millis()).unwrap_or(i64::MAX));
    }

    fn reader(&self) -> LogReader<'_> {
        let Self { id, clock, store, readings, state, signals, news, .. } = self;
        LogReader { id: *id, clock, store: &**store, readings, state, signals, news }
    }

    fn polls(&self) -> Polls<'_> {
        let (times, reader) = (self.settings.times, self.reader());
        let Self { clock, state, signals, news, places, outbox, gateways, counters, .. } = self;
        Polls { clock, times, state, signals, news, places, reader, outbox, gateways, counters }
    }

    fn confirming(&self) -> Confirming<'_> {
        let Self { clock, state, signals, outbox, counters, .. } = self;
        Confirming { clock, state, signals, outbox, counters }
    }

    fn tail(&self) -> Tail<'_> {
        let reader = self.reader();
        let Self { store, state, signals, news, outbox, .. } = self;
        Tail { store: &**store, state, signals, news, reader, outbox }
    }

    /// Gives up, each time when the database turns out to be one that may not be believed, the logouts that wait: it may lack
    /// them.
    async fn follow_trust(&self, over: impl Future<Output = ()>) {
        let mut distrusts = self.store.distrusts();
        let mut over = std::pin::pin!(over);
        loop {
            tokio::select! {
                Ok(()) = distrusts.changed() => {}
                () = over.as_mut() => return,
            }
            self.state.lock().barrier.distrust(self.clock.now());
            self.signals.look();
        }
    }

    fn rows_reader(&self) -> RowsReader<'_> {
        let Self { clock, store, settings, state, signals, outbox, .. } = self;
        RowsReader::new(clock, &**store, settings.times.lease, state, signals, outbox)
    }

    fn own_row(&self) -> OwnRowKeeper<'_> {
        let Self { id, clock, store, settings, state, signals, outbox, .. } = self;
        OwnRowKeeper::new(*id, clock, settings.times, state, signals, outbox, store.row_store())
    }
}

/// Runs the tasks until it is told to stop and the leases from here are over, and removes the own row at the end.
pub async fn run(leases: &Leases, stop: CancellationToken) {
    let over = CancellationToken::new();
    tokio::join!(
        async {
            leases.own_row().run(stop).await;
            over.cancel();
        },
        leases.confirming().run(over.cancelled()),
        leases.rows_reader().run(over.cancelled()),
        leases.tail().run(over.cancelled()),
        leases.follow_trust(over.cancelled()),
    );
}

/// Sends the other control planes news through Redis, so that they are quicker, until it is told to stop. Does nothing
/// if no Redis is configured.
pub async fn gossip(leases: &Leases, redis: Option<&redis::Settings>, stop: CancellationToken) {
    let Some(redis) = redis else { return };
    gossip_over(leases, redis, stop).await;
}

/// The same over any lines.
pub async fn gossip_over(leases: &Leases, lines: &dyn Lines, stop: CancellationToken) {
    let Leases { id, code, state, signals, news, outbox, counters, .. } = leases;
    Gossip { id: *id, code, state, signals, news, outbox, counters }.run(lines, stop).await;
}
