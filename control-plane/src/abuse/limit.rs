//! A limit on failures, in a memory that does not grow.
//!
//! Each of the [`super::cells`] is limited by GCRA. A cell that was over its limit stays suspect for a while: GCRA itself
//! forgives one failure as soon as the time for one has passed, and cannot be asked without counting.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use super::cells::{Cells, one_for_each};

/// How long a cell is suspect after a failure over its limit.
const SUSPICION: Duration = Duration::from_secs(60);

/// A limit on the failures of many sources, networks or tokens, each with its own count.
pub(super) struct FailureLimit {
    limiter: RateLimiter<usize, States, TokioClock>,
    /// By cell: until when it is suspect, in milliseconds since the start.
    suspect_until: Box<[AtomicU64]>,
    cells: Cells,
    start: Instant,
}

impl FailureLimit {
    /// At most `failures` in a minute, all at once or spread out.
    pub(super) fn per_minute(failures: NonZeroU32) -> Self {
        let limiter = RateLimiter::new(Quota::per_minute(failures), States(one_for_each()), TokioClock);
        Self { limiter, suspect_until: one_for_each(), cells: Cells::default(), start: TokioClock.now() }
    }

    /// Counts one failure of `key`.
    ///
    /// # Errors
    ///
    /// There have been too many failures. The value is the time until one more is within the limit.
    pub(super) fn failed(&self, key: &impl Hash) -> Result<(), Duration> {
        let cell = self.cells.of(key);
        self.limiter.check_key(&cell).map_err(|refused| {
            let now = TokioClock.now();
            let wait = refused.wait_time_from(now);
            if let Some(until) = self.suspect_until.get(cell) {
                until.fetch_max(self.milliseconds(now + wait.max(SUSPICION)), Ordering::Relaxed);
            }
            wait
        })
    }

    /// Whether `key` has lately failed too often. Counts nothing.
    pub(super) fn is_suspect(&self, key: &impl Hash) -> bool {
        let until = self.suspect_until.get(self.cells.of(key));
        until.is_some_and(|until| until.load(Ordering::Relaxed) > self.milliseconds(TokioClock.now()))
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

/// GCRA's state of each cell: the time at which it is empty again, in nanoseconds since the limiter's start; 0 for a new one.
struct States(Box<[AtomicU64]>);

impl StateStore for States {
    type Key = usize;

    fn measure_and_replace<T, F, E>(&self, cell: &usize, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let known = |state: u64| (state != 0).then(|| Nanos::from(state));
        // Every key is a cell that exists.
        let Some(cell) = self.0.get(*cell) else { return judge(None).map(|(outcome, _)| outcome) };
        let mut state = cell.load(Ordering::Acquire);
        loop {
            let (outcome, next) = judge(known(state))?;
            match cell.compare_exchange_weak(state, next.into(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(outcome),
                Err(changed) => state = changed,
            }
        }
    }
}

/// The runtime's clock, which a test can move.
#[derive(Debug, Clone)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::abuse::cells::CELLS;

    const SECOND: Duration = Duration::from_secs(1);

    fn per_minute(failures: u32) -> FailureLimit {
        FailureLimit::per_minute(NonZeroU32::new(failures).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_minutes_failures_may_come_at_once_and_then_one_at_a_time() {
        let limit = per_minute(3);
        for _ in 0..3 {
            assert_eq!(limit.failed(&"alice"), Ok(()));
        }
        assert_eq!(limit.failed(&"alice"), Err(20 * SECOND));
        advance(19 * SECOND).await;
        assert_eq!(limit.failed(&"alice"), Err(SECOND));
        advance(SECOND).await;
        assert_eq!(limit.failed(&"alice"), Ok(()));
        assert_eq!(limit.failed(&"alice"), Err(20 * SECOND));
        advance(60 * SECOND).await;
        for _ in 0..3 {
            assert_eq!(limit.failed(&"alice"), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn suspicion_lasts_a_minute_from_the_last_failure_over_the_limit() {
        let limit = per_minute(60);
        for _ in 0..60 {
            assert_eq!(limit.failed(&"alice"), Ok(()));
            assert!(!limit.is_suspect(&"alice"));
        }
        assert_eq!(limit.failed(&"alice"), Err(SECOND));
        assert!(limit.is_suspect(&"alice"));
        advance(30 * SECOND).await;
        // The source is within the limit again, and still suspect.
        for _ in 0..30 {
            assert_eq!(limit.failed(&"alice"), Ok(()));
        }
        assert!(limit.is_suspect(&"alice"));
        assert!(limit.failed(&"alice").is_err());
        advance(60 * SECOND - Duration::from_millis(1)).await;
        assert!(limit.is_suspect(&"alice"));
        advance(Duration::from_millis(1)).await;
        assert!(!limit.is_suspect(&"alice"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_does_not_use_up_the_limit_of_another() {
        let limit = per_minute(1);
        // The hash key is another one in each run. Two of these may share a cell, but not all of them.
        let others: Vec<_> = (0..8).map(|other| format!("other {other}")).collect();
        for _ in 0..100 {
            let _ = limit.failed(&"mallory");
        }
        assert!(others.iter().any(|other| !limit.is_suspect(other) && limit.failed(other).is_ok()));
    }

    #[tokio::test]
    async fn a_flood_of_names_is_kept_in_the_same_memory() {
        let limit = per_minute(1);
        for name in 0..100_000_u32 {
            let _ = limit.failed(&name);
        }
        assert_eq!(limit.suspect_until.len(), CELLS);
        assert_eq!(limit.limiter.into_state_store().0.len(), CELLS);
    }
}
