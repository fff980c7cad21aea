//! When a worker polls, and what it sends.

use std::time::Duration;

use curfew_core::WorkerId;
use curfew_core::wire::FeedRequest;

use super::Feed;
use crate::ids::CallId;
use crate::now::Now;

/// A worker without requests stops polling after this time: a lease that is not used only makes logouts wait.
pub const IDLE_AFTER: Duration = Duration::from_secs(10);

/// Polls without news are at least this far apart, in case the control plane does not hold them back.
pub(super) const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A poll counts as lost after this many of its timeouts. The host should have reported the end of the poll after the
/// first.
const LOST_AFTER_TIMEOUTS: u32 = 4;

/// Random bits for one event. The feed draws none itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Randomness {
    /// The id that the worker takes if it needs a new one.
    pub worker: WorkerId,
    /// Spreads the polls of many workers.
    pub jitter: u32,
}

/// A poll to be sent now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Poll {
    /// What to send.
    pub request: FeedRequest,
    /// When to give up, counted from the sending.
    pub timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Polling {
    /// No poll is sent until a request comes, nor before this time.
    Resting { until: Duration },
    /// A poll is due.
    Due { at: Duration },
    /// A poll is under way.
    UnderWay { sent: Now, timeout: Duration, call: Option<CallId>, leaving: bool },
}

impl Feed {
    /// A request has arrived that needs the copy. Call [`Self::poll`] after it.
    pub fn requested(&mut self, now: Now) {
        self.last_request = now.monotonic;
        if let Polling::Resting { until } = self.polling
            && until <= now.monotonic
            && !self.retired
        {
            if self.copy.overflowed() {
                self.start_again();
            }
            self.polling = Polling::Due { at: now.monotonic };
        }
    }

    /// When to call [`Self::poll`] next, on the monotonic clock; `None`: after the next request.
    pub fn wake_at(&self) -> Option<Duration> {
        match self.polling {
            Polling::Resting { .. } => None,
            Polling::Due { at } => Some(at),
            Polling::UnderWay { sent, timeout, .. } => Some(lost_at(sent, timeout)),
        }
    }

    /// The poll to send now, if one is due. Report [`Self::sent`] or [`Self::not_sent`].
    pub fn poll(&mut self, now: Now, randomness: Randomness) -> Option<Poll> {
        if self.is_lost(now) {
            self.failed(now, randomness);
        }
        if self.was_ahead(now) && !matches!(self.polling, Polling::UnderWay { .. }) {
            self.start_again();
        }
        let Polling::Due { at } = self.polling else { return None };
        if now.monotonic < at {
            return None;
        }
        let leaving = now.monotonic.saturating_sub(self.last_request) >= IDLE_AFTER;
        if leaving && !self.may_decide(now) {
            self.rest(Duration::ZERO);
            return None;
        }
        let worker = *self.worker.get_or_insert(randomness.worker);
        Some(self.send(now, worker, leaving))
    }

    /// True if the end of the poll under way should have been reported long ago: [`Self::poll`] gives it up.
    pub fn is_lost(&self, now: Now) -> bool {
        matches!(self.polling, Polling::UnderWay { sent, timeout, .. } if lost_at(sent, timeout) <= now.monotonic)
    }

    /// Gives up the lease and the id for good: another feed takes this one's place. A token that the copy calls revoked
    /// stays so. The poll to send now tells the control plane, so that no logout waits for a lease that is not used;
    /// the answer to a poll that was under way is ignored. `None` if there is nothing to tell.
    pub fn retire(&mut self, now: Now) -> Option<Poll> {
        self.retired = true;
        if let Some(worker) = self.worker {
            return Some(self.send(now, worker, true));
        }
        if !matches!(self.polling, Polling::UnderWay { .. }) {
            self.rest(Duration::ZERO);
        }
        None
    }

    /// True if no poll is under way, and none will be sent before a request arrives.
    pub fn is_resting(&self) -> bool {
        matches!(self.polling, Polling::Resting { .. })
    }

    /// True if a poll is under way.
    pub fn is_polling(&self) -> bool {
        matches!(self.polling, Polling::UnderWay { .. })
    }

    fn send(&mut self, now: Now, worker: WorkerId, leaving: bool) -> Poll {
        let hold = if leaving { Duration::ZERO } else { self.hold(now) };
        if leaving {
            // The worker gives its lease up before the control plane hears of it.
            self.lease = None;
            self.worker = None;
        }
        let timeout = self.settings.timeout.saturating_add(hold);
        self.polling = Polling::UnderWay { sent: now, timeout, call: None, leaving };
        let request = FeedRequest {
            worker,
            keyspaces: self.settings.keyspaces.clone(),
            epoch: self.position.map(|position| position.epoch),
            applied: self.position.map_or(0, |position| position.seq),
            hold_ms: u64::try_from(hold.as_millis()).unwrap_or(0),
            leaving,
        };
        Poll { request, timeout }
    }

    /// How long the control plane may hold the answer back: a third of what is left of the lease, so that two more
    /// polls may fail before it is over. Without a lease, not at all.
    fn hold(&self, now: Now) -> Duration {
        let valid = self.lease.filter(|_| self.may_decide(now));
        valid.map_or(Duration::ZERO, |lease| lease.left(now) / 3)
    }

    /// The host took the poll and will report its end under this number.
    pub fn sent(&mut self, taken: CallId) {
        if let Polling::UnderWay { call, .. } = &mut self.polling {
            *call = Some(taken);
        }
    }

    /// The host did not take the poll.
    pub fn not_sent(&mut self, now: Now, randomness: Randomness) {
        self.failed(now, randomness);
    }

    /// True if this callout is the poll under way.
    pub fn asked(&self, ended: CallId) -> bool {
        matches!(self.polling, Polling::UnderWay { call, .. } if call == Some(ended))
    }

    /// Pauses after a failure. The pause doubles with each failure in a row, and half of it is random. A lease runs on.
    pub(super) fn failed(&mut self, now: Now, randomness: Randomness) {
        if matches!(self.polling, Polling::UnderWay { leaving: true, .. }) {
            self.left(now);
            return;
        }
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let pause = MIN_INTERVAL.saturating_mul(factor).min(MAX_PAUSE);
        let spread = pause.saturating_mul(randomness.jitter >> 16) / (2 << 16);
        self.failures = self.failures.saturating_add(1).min(16);
        self.polling = Polling::Due { at: now.monotonic.saturating_add(pause / 2).saturating_add(spread) };
    }

    /// The control plane no longer waits for this worker. A request that arrived meanwhile makes a poll due again.
    pub(super) fn left(&mut self, now: Now) {
        self.rest(Duration::ZERO);
        if now.monotonic.saturating_sub(self.last_request) < IDLE_AFTER {
            self.requested(Now { monotonic: self.last_request, ..now });
        }
    }

    pub(super) fn rest(&mut self, until: Duration) {
        self.failures = 0;
        self.polling = Polling::Resting { until };
    }
}

/// When a poll that is still under way counts as lost.
fn lost_at(sent: Now, timeout: Duration) -> Duration {
    sent.monotonic.saturating_add(timeout.saturating_mul(LOST_AFTER_TIMEOUTS))
}
