//! The open connections of a listener: how many there are, which of them go when places run out, and what operators see of it.
//!
//! [`crowd`] decides, [`terms`] has the numbers. Here the decisions are carried out, counted and logged.

mod crowd;
mod terms;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::crowd::{Crowd, Leaving, Number, Reason, State};
pub(super) use self::terms::PATIENCE;
pub use self::terms::Terms;
use super::counters::{ClosedLabels, ConnectionLabels, Counters};
use super::route::Listener;
use crate::abuse::source::Source;
use crate::log_throttle::LogThrottle;

/// How often connections are looked through for those that are late.
const SWEEP: Duration = Duration::from_millis(250);

/// The open connections of a listener.
#[derive(Debug)]
pub(super) struct Connections {
    listener: &'static str,
    open: Mutex<Open>,
    counters: Counters,
    lines: LogThrottle,
}

#[derive(Debug)]
struct Open {
    crowd: Crowd,
    /// Tells each connection to go.
    doors: HashMap<Number, CancellationToken>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    visit: Visit,
    told: CancellationToken,
}

/// A connection as its requests know it.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    connections: Arc<Connections>,
    number: Number,
    peer: IpAddr,
}

/// A request that is in progress until it is dropped.
#[derive(Debug)]
pub(super) struct InProgress(Visit);

impl Connections {
    pub(super) fn new(listener: Listener, terms: Terms, counters: Counters) -> Arc<Self> {
        let open = Open { crowd: Crowd::new(terms), doors: HashMap::new() };
        Arc::new(Self { listener: listener.name(), open: Mutex::new(open), counters, lines: LogThrottle::default() })
    }

    /// A place for a new connection; `None` if it is to be closed at once.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, now: Instant) -> Option<Place> {
        let told = CancellationToken::new();
        let (entry, gone) = self.with(|open| {
            let entry = open.crowd.enter(peer, now);
            if let Some(number) = entry.number {
                open.doors.insert(number, told.clone());
            }
            let gone: Vec<_> = entry.replaced.into_iter().chain(open.crowd.crowded_out()).collect();
            open.close(&gone);
            (entry.number, gone)
        });
        self.tell(&gone, now);
        if entry.is_none() {
            self.tell_one(Source::of_peer(peer), Reason::Share.name(), 1, now);
        }
        Some(Place { visit: Visit { connections: Arc::clone(self), number: entry?, peer }, told })
    }

    /// Closes those that are late, and makes room where connections have ended their requests.
    pub(super) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = Instant::now();
            let gone = self.with(|open| {
                let mut gone = open.crowd.late(now);
                gone.extend(open.crowd.crowded_out());
                open.close(&gone);
                gone
            });
            self.tell(&gone, now);
        }
    }

    /// Does something to the open connections, and shows how many there are then.
    fn with<T>(&self, act: impl FnOnce(&mut Open) -> T) -> T {
        let mut open = self.lock();
        let acted = act(&mut open);
        for (state, count) in open.crowd.states() {
            let labels = ConnectionLabels { listener: self.listener, state: state.name() };
            self.counters.connections.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        acted
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts those that were closed, and writes a line if the last one is long ago. It names the address that most of them
    /// came from.
    fn tell(&self, gone: &[Leaving], now: Instant) {
        let mut of_peer = HashMap::<_, u64>::new();
        for Leaving { peer, reason, .. } in gone {
            let count = of_peer.entry((*peer, reason.name())).or_default();
            *count = count.saturating_add(1);
        }
        let mut of_peer: Vec<_> = of_peer.into_iter().collect();
        of_peer.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for ((peer, reason), count) in of_peer {
            self.tell_one(peer, reason, count, now);
        }
    }

    fn tell_one(&self, address: Source, reason: &'static str, count: u64, now: Instant) {
        let labels = ClosedLabels { listener: self.listener, reason };
        self.counters.connections_closed.get_or_create(&labels).inc_by(count);
        if let Some(closed) = self.lines.lines(count, now) {
            let listener = self.listener;
            warn!(listener, reason, closed, %address, "connections were closed, to keep room for others");
        }
    }
}

impl Open {
    fn close(&mut self, gone: &[Leaving]) {
        for Leaving { number, .. } in gone {
            if let Some(door) = self.doors.get(number) {
                door.cancel();
            }
        }
    }
}

impl Place {
    /// Returns when the connection is to go.
    pub(super) async fn told_to_go(&self) {
        self.told.cancelled().await;
    }

    /// True once it has sent a request.
    pub(super) fn has_asked(&self) -> bool {
        self.state().is_some_and(|state| state != State::Silent)
    }

    /// True while a request is in progress.
    pub(super) fn is_busy(&self) -> bool {
        self.state() == Some(State::Busy)
    }

    /// The connection for its requests.
    pub(super) fn visit(&self) -> Visit {
        self.visit.clone()
    }

    fn state(&self) -> Option<State> {
        self.visit.connections.lock().crowd.state(self.visit.number)
    }
}

impl Visit {
    /// The address at the other end.
    pub(super) const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// A request begins.
    pub(super) fn begin(&self) -> InProgress {
        self.connections.with(|open| open.crowd.begin(self.number));
        InProgress(self.clone())
    }

    /// The connection has shown the internal secret.
    pub(super) fn trust(&self) {
        self.connections.with(|open| open.crowd.trust(self.number));
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.connections.with(|open| open.crowd.end(self.0.number, Instant::now()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.visit.connections.with(|open| {
            open.crowd.remove(self.visit.number);
            open.doors.remove(&self.visit.number);
        });
    }
}
