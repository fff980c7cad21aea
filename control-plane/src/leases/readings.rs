//! Readings of the log, shared: however many polls wait for a reading, the database is asked once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_core::wire::PAGE_REVOCATIONS;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;
use tracing::warn;

use super::news::News;
use super::protocol::Reading;
use super::signals::Signals;
use super::state::SharedState;
use super::surroundings::LogStore;
use crate::clock::LocalClock;
use crate::log::{ControlPlaneId, LogPosition, Logged};
use crate::log_throttle::LogThrottle;
use crate::store::ReadFailure;

/// Readings begin at multiples of this seq, so that workers which differ by a few revocations share one.
const STEP: u64 = 64;

/// The most readings at a time: half of the connections that read. Checks need the others.
const AT_A_TIME: usize = 4;

/// How many times a reading is repeated while its result may not be used.
const ATTEMPTS: u32 = 5;

/// What one reading showed.
pub(super) struct SharedReading {
    pub(super) reading: Reading,
    /// The newest change of keys in the same snapshot; 0 for none.
    pub(super) keys_seq: u64,
    /// The entries follow this seq.
    from: u64,
    entries: Vec<Logged>,
    more: bool,
}

impl SharedReading {
    /// The entries after the seq `after`, the seq that they reach to, and whether there are more.
    pub(super) fn page(&self, after: u64) -> (&[Logged], u64, bool) {
        let first = self.entries.partition_point(|entry| entry.seq <= after);
        let page = self.entries.get(first..).unwrap_or_default();
        let last = self.entries.last().map_or(after, |entry| entry.seq);
        let to = if self.more { last } else { self.reading.head.seq };
        (page, to.max(after), self.more)
    }

    fn serves(&self, wanted: Wanted) -> bool {
        let advances = !self.more || self.page(wanted.after).1 > wanted.after;
        self.from <= wanted.after && self.reading.began >= wanted.not_before && advances
    }
}

/// What a poll needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The entries after this seq.
    pub(super) after: u64,
    /// From a reading that did not begin earlier.
    pub(super) not_before: Duration,
}

type Flight = Arc<OnceCell<Option<Arc<SharedReading>>>>;

/// The readings that are under way, and the last one.
pub(super) struct SharedReadings {
    flights: Mutex<Flights>,
    places: Semaphore,
    failures: LogThrottle,
}

#[derive(Default)]
struct Flights {
    /// The readings by the seq where they begin.
    under_way: BTreeMap<u64, Flight>,
    last: Option<Arc<SharedReading>>,
}

impl Default for SharedReadings {
    fn default() -> Self {
        Self { flights: Mutex::default(), places: Semaphore::new(AT_A_TIME), failures: LogThrottle::default() }
    }
}

impl SharedReadings {
    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last reading, if it serves the poll.
    fn last(&self, wanted: Wanted) -> Option<Arc<SharedReading>> {
        self.flights().last.clone().filter(|shared| shared.serves(wanted))
    }

    fn join(&self, from: u64) -> Flight {
        Arc::clone(self.flights().under_way.entry(from).or_default())
    }

    /// Records that a reading is over, so that the next poll begins another one.
    fn landed(&self, from: u64, flight: &Flight) {
        let mut flights = self.flights();
        if flights.under_way.get(&from).is_some_and(|known| Arc::ptr_eq(known, flight)) {
            flights.under_way.remove(&from);
        }
        if let Some(Some(shared)) = flight.get()
            && flights.last.as_ref().is_none_or(|last| last.reading.began < shared.reading.began)
        {
            flights.last = Some(Arc::clone(shared));
        }
    }
}

/// The parts of the room that this file uses.
#[derive(Clone, Copy)]
pub(super) struct LogReader<'a> {
    pub(super) id: ControlPlaneId,
    pub(super) clock: &'a LocalClock,
    pub(super) store: &'a dyn LogStore,
    pub(super) readings: &'a SharedReadings,
    pub(super) state: &'a SharedState,
    pub(super) signals: &'a Signals,
    pub(super) news: &'a News,
}

impl LogReader<'_> {
    /// A reading that serves the poll; `None` if the database did not answer.
    pub(super) async fn reading(&self, wanted: Wanted) -> Option<Arc<SharedReading>> {
        let from = wanted.after - wanted.after % STEP;
        loop {
            if let Some(shared) = self.readings.last(wanted) {
                return Some(shared);
            }
            let flight = self.readings.join(from);
            // The first poll reads for all. If its client goes away, the next poll reads.
            let shared = flight.get_or_init(|| self.read(from)).await.clone();
            self.readings.landed(from, &flight);
            // A reading that was under way already may have begun too early.
            if let Some(shared) = shared.as_ref().filter(|shared| shared.serves(wanted)) {
                return Some(Arc::clone(shared));
            }
            shared?;
        }
    }

    async fn read(&self, from: u64) -> Option<Arc<SharedReading>> {
        let _place = self.readings.places.acquire().await.ok()?;
        for _ in 0..ATTEMPTS {
            match self.read_once(from).await {
                Ok(Some(shared)) => return Some(Arc::new(shared)),
                Ok(None) => {}
                Err(error) => {
                    self.failed(&error);
                    return None;
                }
            }
        }
        None
    }

    fn failed(&self, error: &ReadFailure) {
        if !self.store.explains(error)
            && let Some(failures) = self.readings.failures.line(Instant::now())
        {
            warn!(
                error = error.cause(),
                failures,
                "the log could not be read for the workers: their leases run out, and they ask for each request"
            );
        }
    }

    /// `None` if the reading may not be used.
    async fn read_once(&self, from: u64) -> Result<Option<SharedReading>, ReadFailure> {
        let began = self.clock.now();
        let page = self.store.log_page(self.id, from, PAGE_REVOCATIONS).await?;
        let reading = Reading { began, head: page.head, own_beat: page.own_beat };
        if !self.is_usable(&reading) {
            return Ok(None);
        }
        self.learn(page.head, began);
        Ok(Some(SharedReading { reading, keys_seq: page.keys_seq, from, entries: page.entries, more: page.more }))
    }

    fn is_usable(&self, reading: &Reading) -> bool {
        let (is_usable, is_new_epoch) = {
            let mut state = self.state.lock();
            let before = state.barrier.epoch();
            (state.barrier.reading_ended(reading, self.clock.now()), state.barrier.epoch() != before)
        };
        if is_new_epoch {
            // Commits to the previous epoch will never be confirmed, and their callers are answered at once.
            self.signals.look();
        }
        is_usable
    }

    /// Records a head that was shown by a reading that began at `began`.
    fn learn(&self, head: LogPosition, began: Duration) {
        self.news.hear(head, began);
        let foreign = self.state.lock().survey.head(head, None);
        if foreign {
            self.signals.look();
        }
    }
}
