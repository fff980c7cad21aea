//! A worker's poll, from its arrival to its answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use curfew_core::wire::{FeedAnswer, FeedRequest, FeedRevocation};
use tokio::time::timeout;

use super::gateways::Caller;
use super::peers::message::PeerMessage;
use super::protocol::{Barrier, Grant};
use super::readings::{SharedReading, Wanted};
use super::{Leases, sleep_until};
use crate::clock::since_boot;
use crate::log::LogPosition;

/// A reading may be so old when a poll is answered from it that has nothing to wait for: the lease is shorter by that, and
/// any number of polls share the reading.
const SHARED_FOR: Duration = Duration::from_millis(25);

/// How long the first poll waits for this control plane's row, without which it would get no lease.
const REGISTERS_WITHIN: Duration = Duration::from_millis(250);

/// How often a page is sought from a newer reading before the worker is told to come again.
const ATTEMPTS: u32 = 5;

/// Why a poll has no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollFailure {
    /// As many polls as may be are held back.
    Full,
    /// The database did not answer.
    Unread,
}

/// A poll that is held back, counted until it is dropped: with its client, at the latest.
struct Place<'a>(&'a Leases);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        self.0.counters.held.dec();
    }
}

impl Leases {
    /// The answer to a poll, as soon as there is news for it or its time is over.
    ///
    /// # Errors
    ///
    /// See [`PollFailure`].
    pub async fn poll(&self, request: &FeedRequest, caller: Caller) -> Result<FeedAnswer, PollFailure> {
        let arrived = since_boot();
        self.note(request, caller, arrived);
        let answer = match self.place() {
            None => Err(PollFailure::Full),
            Some(_place) => self.answer(request, arrived).await,
        };
        self.counters.polled(match &answer {
            Ok(answer) if answer.lease_ms > 0 => "lease",
            Ok(_) => "page",
            Err(PollFailure::Full) => "full",
            Err(PollFailure::Unread) => "unavailable",
        });
        answer
    }

    /// What the poll says of its worker is true, whatever it is answered.
    fn note(&self, request: &FeedRequest, caller: Caller, arrived: Duration) {
        let mut state = self.state();
        let known_before = state.last_poll.replace(arrived).is_some();
        let news = state.barrier.polled(request);
        drop(state);
        if let Some(ack) = news {
            self.tell(PeerMessage::Ack(ack));
        }
        self.settle.notify_one();
        if !known_before || !*self.registered.borrow() {
            self.write_row.notify_one();
        }
        self.gateways().polled(request, caller, arrived);
    }

    fn place(&self) -> Option<Place<'_>> {
        if self.held.fetch_add(1, Ordering::Relaxed) >= self.settings.most_held {
            self.held.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.counters.held.inc();
        Some(Place(self))
    }

    async fn answer(&self, request: &FeedRequest, arrived: Duration) -> Result<FeedAnswer, PollFailure> {
        if !request.leaving {
            let mut registered = self.registered.subscribe();
            let _ = timeout(REGISTERS_WITHIN, registered.wait_for(|registered| *registered)).await;
            self.held_back(request, arrived).await;
        }
        // Who wants not to wait has no lease. After pages it takes one only from a reading that began after the poll came;
        // all that come before the next reading share it.
        let hurries = request.hold_ms == 0 && !request.leaving;
        let mut not_before = if hurries { arrived } else { self.shows_news(request) };
        for _ in 0..ATTEMPTS {
            let wanted = Wanted { after: request.applied, not_before };
            let shown = self.shown(wanted).await.ok_or(PollFailure::Unread)?;
            if let Some(answer) = self.granted(request, arrived, &shown) {
                return Ok(answer);
            }
            not_before = since_boot();
        }
        Err(PollFailure::Unread)
    }

    /// Returns when there is news for the poll, or its time is over.
    async fn held_back(&self, request: &FeedRequest, arrived: Duration) {
        let until = arrived.saturating_add(self.state().barrier.hold(request));
        let (mut known, mut closing) = (self.known.subscribe(), self.closing.subscribe());
        let news = known.wait_for(|known| known.is_none_or(|known| is_news(request, known.head)));
        tokio::select! {
            _ = news => {}
            _ = closing.wait_for(|closing| *closing) => {}
            () = sleep_until(until) => {}
        }
    }

    /// From when on a reading shows the news that there is, but not from longer than a little while ago.
    fn shows_news(&self, request: &FeedRequest) -> Duration {
        let recently = since_boot().saturating_sub(SHARED_FOR);
        let news = self.known.borrow().filter(|known| is_news(request, known.head));
        news.map_or(recently, |known| known.since.max(recently))
    }

    /// The answer from a reading, with a lease if there may be one; `None`: read again.
    fn granted(&self, request: &FeedRequest, arrived: Duration, shown: &SharedReading) -> Option<FeedAnswer> {
        let head = shown.reading.head;
        let after = Barrier::page_after(request, head);
        let (entries, to, more) = after.map_or((&[][..], 0, true), |after| shown.page(after));
        let now = since_boot();
        let grant = {
            let mut state = self.state();
            let mut reading = shown.reading;
            // The row may be gone that this reading shows; and who closes grants nothing.
            let retired = state.retired;
            reading.own_beat = reading.own_beat.filter(|beat| *beat > retired && !self.is_closing());
            state.barrier.answer(request, arrived, &reading, !more, now)
        };
        let (lease_ms, fresh_ms) = match grant {
            Grant::Lease { lease_ms, fresh_ms } => (lease_ms, fresh_ms),
            Grant::PageOnly => (0, 0),
            Grant::ReadAgain => return None,
        };
        if lease_ms > 0 {
            let until = shown.reading.began.saturating_add(self.settings.terms.lease_over());
            self.gateways().granted(request.worker, until);
        }
        let revocations = entries.iter().map(|entry| FeedRevocation {
            kind: entry.kind,
            key: entry.key,
            cutoff: entry.cutoff,
            expires_at: entry.expires_at,
        });
        let from = after.unwrap_or(0);
        Some(FeedAnswer { epoch: head.epoch, from, to, more, revocations: revocations.collect(), lease_ms, fresh_ms })
    }
}

/// Whether a worker that holds this much does not know of this head.
fn is_news(request: &FeedRequest, known: LogPosition) -> bool {
    request.epoch != Some(known.epoch) || known.seq > request.applied
}
