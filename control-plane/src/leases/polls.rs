//! A worker's poll, from its arrival to its answer.

use std::time::Duration;

use curfew_core::wire::{FeedAnswer, FeedRequest, FeedRevocation};
use tokio::time::timeout;
use tracing::debug;

use super::counters::Counters;
use super::gateways::{Caller, Gateways};
use super::news::News;
use super::peers::message::PeerMessage;
use super::peers::outbox::Outbox;
use super::places::Places;
use super::protocol::{Barrier, Grant, LeaseTimes};
use super::readings::{LogReader, SharedReading, Wanted};
use super::signals::Signals;
use super::state::SharedState;
use crate::clock::LocalClock;

/// How old a reading may be that answers a poll, provided that it began after the poll arrived. The lease is shorter by
/// that age. In return, any number of polls that were held back share the reading.
const SHARED_FOR: Duration = Duration::from_millis(25);

/// How long the first poll waits for this control plane's row. Without the row it would get no lease.
const REGISTERS_WITHIN: Duration = Duration::from_millis(250);

/// How many readings are tried before the worker is told to poll again.
const ATTEMPTS: u32 = 5;

/// Why a poll gets no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollFailure {
    /// No place is free for a poll that is held back: this many are held.
    Full(usize),
    /// The database did not answer.
    Unread,
}

/// The parts of the room that this file uses.
pub(super) struct Polls<'a> {
    pub(super) clock: &'a LocalClock,
    pub(super) times: LeaseTimes,
    pub(super) state: &'a SharedState,
    pub(super) signals: &'a Signals,
    pub(super) news: &'a News,
    pub(super) places: &'a Places,
    pub(super) reader: LogReader<'a>,
    pub(super) outbox: &'a Outbox,
    pub(super) gateways: &'a Gateways,
    pub(super) counters: &'a Counters,
}

impl Polls<'_> {
    /// Answers a poll as soon as there is news for its worker, or when its time is over.
    pub(super) async fn poll(&self, request: &FeedRequest, caller: Caller) -> Result<FeedAnswer, PollFailure> {
        let arrived = self.clock.now();
        self.note(request, caller, arrived);
        let answer = match self.places.take() {
            None => Err(PollFailure::Full(self.places.most())),
            Some(_place) => self.answer(request, arrived).await,
        };
        self.counters.polled(match &answer {
            Ok(answer) if answer.lease_ms > 0 => "lease",
            Ok(_) => "page",
            Err(PollFailure::Full(_)) => "full",
            Err(PollFailure::Unread) => "unavailable",
        });
        answer
    }

    /// Records what the poll says of its worker, which is true however the poll is answered.
    fn note(&self, request: &FeedRequest, caller: Caller, arrived: Duration) {
        let mut state = self.state.lock();
        let is_first = state.row.polled(arrived);
        let news = state.barrier.polled(request);
        drop(state);
        if let Some(ack) = news {
            debug!(worker = %request.worker, seq = request.applied, leaving = request.leaving, "a worker acknowledges");
            self.outbox.tell(PeerMessage::Ack(ack));
        }
        self.signals.look();
        if is_first || !self.signals.is_registered() {
            self.signals.write_row();
        }
        self.gateways.polled(request, caller, self.news.head(), arrived);
    }

    async fn answer(&self, request: &FeedRequest, arrived: Duration) -> Result<FeedAnswer, PollFailure> {
        if !request.leaving {
            let _ = timeout(REGISTERS_WITHIN, self.signals.registered()).await;
            self.hold_back(request, arrived).await;
        }
        let mut not_before = self.earliest_reading(request, arrived);
        for _ in 0..ATTEMPTS {
            let wanted = Wanted { after: request.applied, not_before };
            let shared = self.reader.reading(wanted).await.ok_or(PollFailure::Unread)?;
            if let Some(answer) = self.answer_from(&shared, request, arrived) {
                return Ok(answer);
            }
            not_before = self.clock.now();
        }
        Err(PollFailure::Unread)
    }

    /// Returns when there is news for the poll, when its time is over, or when the room closes.
    async fn hold_back(&self, request: &FeedRequest, arrived: Duration) {
        let until = arrived.saturating_add(self.state.lock().barrier.hold(request));
        tokio::select! {
            () = self.news.for_worker(request) => {}
            () = self.signals.closed() => {}
            () = self.clock.sleep_until(until) => {}
        }
    }

    /// The earliest beginning of a reading that may answer the poll.
    ///
    /// No lease is granted from a reading that began before the poll arrived; all polls that arrive before the next
    /// reading share it. A poll that was held back arrived long ago, so it gets any recent reading, and if there is news
    /// for it, a reading that shows the news. A worker that leaves gets no lease.
    fn earliest_reading(&self, request: &FeedRequest, arrived: Duration) -> Duration {
        let recently = self.clock.now().saturating_sub(SHARED_FOR);
        let least = if request.leaving { recently } else { recently.max(arrived) };
        self.news.shown_since(request).map_or(least, |since| since.max(least))
    }

    /// The answer from a reading, with a lease if one may be granted. `None` if another reading is needed.
    fn answer_from(&self, shared: &SharedReading, request: &FeedRequest, arrived: Duration) -> Option<FeedAnswer> {
        let head = shared.reading.head;
        let after = Barrier::page_after(request, head);
        let (entries, to, more) = after.map_or((&[][..], 0, true), |after| shared.page(after));
        let (lease_ms, fresh_ms) = match self.grant(shared, request, arrived, !more) {
            Grant::Lease { lease_ms, fresh_ms } => (lease_ms, fresh_ms),
            Grant::PageOnly => (0, 0),
            Grant::ReadAgain => return None,
        };
        if lease_ms > 0 {
            let until = shared.reading.began.saturating_add(self.times.lease_over());
            self.gateways.granted(request.worker, until);
        }
        let revocations = entries.iter().map(|entry| FeedRevocation {
            kind: entry.kind,
            key: entry.key,
            cutoff: entry.cutoff,
            expires_at: entry.expires_at,
        });
        let from = after.unwrap_or(0);
        Some(FeedAnswer {
            epoch: head.epoch,
            from,
            to,
            more,
            keys_seq: shared.keys_seq,
            revocations: revocations.collect(),
            lease_ms,
            fresh_ms,
        })
    }

    fn grant(&self, shared: &SharedReading, request: &FeedRequest, arrived: Duration, last: bool) -> Grant {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let mut reading = shared.reading;
        // The own row may have been removed since this reading. After the close, nothing is granted.
        reading.own_beat = state.row.unless_retired(reading.own_beat).filter(|_| !self.signals.is_closing());
        state.barrier.answer(request, arrived, &reading, last, now)
    }
}
