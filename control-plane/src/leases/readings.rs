//! Readings of the log, shared: however many polls wait for one, the database is asked once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_core::wire::PAGE_REVOCATIONS;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;
use tracing::warn;

use super::Leases;
use super::protocol::Reading;
use crate::clock::since_boot;
use crate::log::{LogPosition, Logged};
use crate::log_throttle::LogThrottle;
use crate::store::ReadFailure;

/// Readings begin at multiples of this, so that workers which differ by a few revocations share one.
const STEP: u64 = 64;

/// Readings at a time: half of the connections that read, for checks need them, too.
const AT_A_TIME: usize = 4;

/// How often a reading is made again that shows less than somebody was told.
const ATTEMPTS: u32 = 5;

/// What one reading showed.
pub(super) struct SharedReading {
    pub(super) reading: Reading,
    /// Entries follow this place.
    from: u64,
    entries: Vec<Logged>,
    more: bool,
}

impl SharedReading {
    /// What follows `after`, how far that reaches, and whether there is more.
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
    /// The entries after this place.
    pub(super) after: u64,
    /// From a reading that did not begin earlier.
    pub(super) not_before: Duration,
}

type Flight = Arc<OnceCell<Option<Arc<SharedReading>>>>;

/// Readings under way, and the last one.
pub(super) struct Readings {
    flights: Mutex<Flights>,
    places: Semaphore,
    failures: LogThrottle,
}

#[derive(Default)]
struct Flights {
    /// By where they begin.
    under_way: BTreeMap<u64, Flight>,
    last: Option<Arc<SharedReading>>,
}

impl Default for Readings {
    fn default() -> Self {
        Self { flights: Mutex::default(), places: Semaphore::new(AT_A_TIME), failures: LogThrottle::default() }
    }
}

impl Readings {
    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last reading, if it will do.
    fn last(&self, wanted: Wanted) -> Option<Arc<SharedReading>> {
        self.flights().last.clone().filter(|shown| shown.serves(wanted))
    }

    fn join(&self, from: u64) -> Flight {
        Arc::clone(self.flights().under_way.entry(from).or_default())
    }

    /// Lets the next one begin another reading.
    fn landed(&self, from: u64, flight: &Flight) {
        let mut flights = self.flights();
        if flights.under_way.get(&from).is_some_and(|known| Arc::ptr_eq(known, flight)) {
            flights.under_way.remove(&from);
        }
        if let Some(Some(shown)) = flight.get()
            && flights.last.as_ref().is_none_or(|last| last.reading.began < shown.reading.began)
        {
            flights.last = Some(Arc::clone(shown));
        }
    }
}

impl Leases {
    /// A reading that will do; `None` if the database did not answer.
    pub(super) async fn shown(&self, wanted: Wanted) -> Option<Arc<SharedReading>> {
        let from = wanted.after - wanted.after % STEP;
        loop {
            if let Some(shown) = self.readings.last(wanted) {
                return Some(shown);
            }
            let flight = self.readings.join(from);
            // Whoever comes first reads; if that one goes away, the next one does.
            let shown = flight.get_or_init(|| self.read(from)).await.clone();
            self.readings.landed(from, &flight);
            // One that was under way already may have begun too early.
            if let Some(shown) = shown.as_ref().filter(|shown| shown.serves(wanted)) {
                return Some(Arc::clone(shown));
            }
            shown?;
        }
    }

    async fn read(&self, from: u64) -> Option<Arc<SharedReading>> {
        let _place = self.readings.places.acquire().await.ok()?;
        for _ in 0..ATTEMPTS {
            match self.read_once(from).await {
                Ok(Some(shown)) => return Some(Arc::new(shown)),
                Ok(None) => {}
                Err(error) => {
                    self.reading_failed(&error);
                    return None;
                }
            }
        }
        None
    }

    fn reading_failed(&self, error: &ReadFailure) {
        if let Some(failures) = self.readings.failures.line(Instant::now()) {
            warn!(?error, failures, "the log could not be read for the proxies: their leases run out, and they ask");
        }
    }

    /// `None`: it shows less than somebody was told.
    async fn read_once(&self, from: u64) -> Result<Option<SharedReading>, ReadFailure> {
        let began = since_boot();
        let page = self.store.log_page(self.id, from, PAGE_REVOCATIONS).await?;
        let head: LogPosition = page.head;
        let reading = Reading { began, head, own_beat: page.own_beat };
        let (usable, is_new_history) = {
            let mut state = self.state();
            let before = state.barrier.epoch();
            (state.barrier.read(&reading, since_boot()), before != state.barrier.epoch())
        };
        if is_new_history {
            // What was committed to the one before can no more be confirmed.
            self.settle.notify_one();
        }
        if !usable {
            return Ok(None);
        }
        self.learn(head, began);
        Ok(Some(SharedReading { reading, from, entries: page.entries, more: page.more }))
    }
}
