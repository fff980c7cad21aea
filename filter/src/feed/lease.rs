//! The lease of one answer: until when the copy of the log may be used.

use std::time::Duration;

use curfew_core::wire::FeedAnswer;

use crate::now::Now;

/// No lease is longer, whatever an answer says.
const MAX_LEASE: Duration = Duration::from_secs(10);

/// The right to decide by the copy of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    /// On the monotonic clock.
    until: Duration,
    /// The first and the last second of Unix time at which it can be valid.
    unix: (i64, i64),
}

impl Lease {
    /// The lease that an answer brings, if any. A lease cannot begin after the answer came, whatever `fresh_ms` says.
    pub(super) fn of(answer: &FeedAnswer, sent: Now, now: Now) -> Option<Self> {
        let length = Duration::from_millis(answer.lease_ms).min(MAX_LEASE);
        let fresh = Duration::from_millis(answer.fresh_ms.unsigned_abs());
        let begins = if answer.fresh_ms < 0 {
            sent.monotonic.checked_sub(fresh)?
        } else {
            sent.monotonic.saturating_add(fresh).min(now.monotonic)
        };
        let until = begins.saturating_add(length);
        // The wall clock is read in whole seconds, hence one more at each end.
        let seconds = i64::try_from(until.saturating_sub(sent.monotonic).as_secs()).unwrap_or(0);
        let unix = (sent.unix, sent.unix.saturating_add(seconds).saturating_add(2));
        (!length.is_zero()).then_some(Self { until, unix })
    }

    /// True if it runs at `now` by both clocks.
    pub(super) fn is_valid(self, now: Now) -> bool {
        now.monotonic < self.until && self.unix.0 <= now.unix && now.unix <= self.unix.1
    }

    /// What is left of it on the monotonic clock.
    pub(super) fn left(self, now: Now) -> Duration {
        self.until.saturating_sub(now.monotonic)
    }

    /// The one that ends later.
    pub(super) fn longer(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).max_by_key(|lease| lease.until)
    }
}
