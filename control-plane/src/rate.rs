//! How often somebody may fail, in a memory that does not grow.
//!
//! Whoever it is about is hashed into one of a fixed number of cells, and each cell is limited by GCRA. Two who share a
//! cell share its allowance; the hash has a key made at start, so nobody can aim for another's cell. What a collision
//! can do is bounded by what the limit is used for: see [`crate::attempts`].

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

/// Cells of a limit: 256 KiB. A flood from this many sources at once puts everybody into a full cell, which makes
/// refusals less telling and nothing else.
const CELLS: usize = 1 << 14;

/// The same, in the type of a hash.
const CELLS_IN_HASH: u64 = 1 << 14;

/// A limit on failures of many, each by its own count; or none.
pub struct FailureLimit {
    limiter: Option<RateLimiter<usize, Cells, TokioClock>>,
    /// By cell: until when the next failure is one too many, in milliseconds since the start.
    reached_until: Box<[AtomicU64]>,
    hasher: RandomState,
    start: Instant,
}

impl FailureLimit {
    /// At most `failures` in a minute, all at once or one by one; 0 sets no limit.
    pub fn per_minute(failures: u32) -> Self {
        let quota = NonZeroU32::new(failures).map(Quota::per_minute);
        let limiter = quota.map(|quota| RateLimiter::new(quota, Cells(zeros(CELLS)), TokioClock));
        let reached_until = zeros(if limiter.is_some() { CELLS } else { 0 });
        Self { limiter, reached_until, hasher: RandomState::new(), start: TokioClock.now() }
    }

    /// Counts one failure of `who`.
    ///
    /// # Errors
    ///
    /// There have been too many; the time until one more will not be.
    pub fn failed(&self, who: &impl Hash) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let cell = self.cell(who);
        limiter.check_key(&cell).map_err(|refused| {
            let now = TokioClock.now();
            let wait = refused.wait_time_from(now);
            if let Some(until) = self.reached_until.get(cell) {
                until.store(self.milliseconds(now + wait), Ordering::Relaxed);
            }
            wait
        })
    }

    /// Whether `who` has lately failed too often. Counts nothing.
    pub fn is_reached(&self, who: &impl Hash) -> bool {
        let until = self.reached_until.get(self.cell(who));
        until.is_some_and(|until| until.load(Ordering::Relaxed) > self.milliseconds(TokioClock.now()))
    }

    fn cell(&self, who: &impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(who) % CELLS_IN_HASH).unwrap_or_default()
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

fn zeros(count: usize) -> Box<[AtomicU64]> {
    std::iter::repeat_with(AtomicU64::default).take(count).collect()
}

/// GCRA's state of each cell: when it is empty again, in nanoseconds since the limiter's start; 0 for a fresh one.
struct Cells(Box<[AtomicU64]>);

impl StateStore for Cells {
    type Key = usize;

    fn measure_and_replace<T, F, E>(&self, cell: &usize, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let known = |state: u64| (state != 0).then(|| Nanos::from(state));
        // Every key comes from `cell`, so there is one.
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

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn so_many_in_a_minute_and_then_one_every_so_often() {
        let limit = FailureLimit::per_minute(3);
        for _ in 0..3 {
            assert!(!limit.is_reached(&"alice"));
            assert_eq!(limit.failed(&"alice"), Ok(()));
        }
        assert_eq!(limit.failed(&"alice"), Err(20 * SECOND));
        assert!(limit.is_reached(&"alice"));
        advance(19 * SECOND).await;
        assert_eq!(limit.failed(&"alice"), Err(SECOND));
        advance(SECOND).await;
        assert!(!limit.is_reached(&"alice"));
        assert_eq!(limit.failed(&"alice"), Ok(()));
        assert_eq!(limit.failed(&"alice"), Err(20 * SECOND));
        advance(60 * SECOND).await;
        for _ in 0..3 {
            assert_eq!(limit.failed(&"alice"), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_fails_does_not_use_up_what_another_has() {
        let limit = FailureLimit::per_minute(1);
        // With another hash key for each run, two of these may share a cell, though not all of them.
        let others: Vec<_> = (0..8).map(|other| format!("other {other}")).collect();
        for _ in 0..100 {
            let _ = limit.failed(&"mallory");
        }
        assert!(others.iter().any(|other| !limit.is_reached(other) && limit.failed(other).is_ok()));
    }

    #[tokio::test]
    async fn nought_is_no_limit() {
        let limit = FailureLimit::per_minute(0);
        for _ in 0..10_000 {
            assert_eq!(limit.failed(&"alice"), Ok(()));
        }
        assert!(!limit.is_reached(&"alice"));
        assert_eq!(limit.reached_until.len(), 0);
    }

    #[tokio::test]
    async fn a_flood_of_names_is_kept_in_the_same_memory() {
        let limit = FailureLimit::per_minute(1);
        for name in 0..100_000_u32 {
            let _ = limit.failed(&name);
        }
        assert_eq!(limit.reached_until.len(), CELLS);
        assert_eq!(limit.limiter.unwrap().into_state_store().0.len(), CELLS);
    }
}
