//! The lengths of time from which all others follow.

use std::time::Duration;

/// How long leases run, how long polls are held back, and how far clocks may drift. They are the same in every control plane of
/// a mesh: a logout at one control plane waits, by its own times, for leases that others have granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseTimes {
    /// How long a worker may decide by its own copy, counted from the beginning of the reading of the log.
    pub lease: Duration,
    /// How long a poll is held back at most while there is no news. At most a third of `lease`, or leases run out.
    pub hold: Duration,
    /// How far a clock may run from true time, in parts per million; less than a million.
    pub drift_ppm: u32,
}

/// The drift that is allowed for: 0.1 %. Quartz and slewing stay within half of that (NTP slews by 0.05 %).
const DRIFT_PPM: u32 = 1000;

const MILLION: u128 = 1_000_000;

impl Default for LeaseTimes {
    fn default() -> Self {
        Self { lease: Duration::from_secs(2), hold: Duration::from_millis(600), drift_ppm: DRIFT_PPM }
    }
}

impl LeaseTimes {
    /// How long to wait by this clock, which may be fast, until `length` has certainly passed by another clock, which
    /// may be slow: `length (1 + rho) / (1 - rho)`, rounded up.
    pub fn outlast(&self, length: Duration) -> Duration {
        let (slow, fast) = self.rates();
        nanos(length.as_nanos().saturating_mul(fast).div_ceil(slow))
    }

    /// How long after the beginning of a reading all leases from it are certainly over, whichever control plane granted them.
    pub fn lease_over(&self) -> Duration {
        self.outlast(self.lease)
    }

    /// `fresh_ms` of an answer: how long after `arrived` the reading began.
    ///
    /// The worker's "sent + fresh" must not be after `began`, although the worker's clock may be slower than this one.
    /// So a positive value is made shorter by the drift. A negative value needs no such care: even with slow clocks,
    /// the lease then ends within [`Self::lease_over`] of `began`.
    pub fn fresh_ms(&self, arrived: Duration, began: Duration) -> i64 {
        let (slow, fast) = self.rates();
        if let Some(later) = began.checked_sub(arrived) {
            let shrunk = later.as_nanos().saturating_mul(slow) / fast;
            return i64::try_from(shrunk / MILLION).unwrap_or(0);
        }
        let earlier = arrived.saturating_sub(began).as_nanos().div_ceil(MILLION);
        i64::try_from(earlier).map_or(i64::MIN, |milliseconds| -milliseconds)
    }

    /// How long a control plane may grant leases after the write of its row began. It writes the row three times in that time.
    pub fn row_life(&self) -> Duration {
        self.lease
    }

    /// How long another control plane must see a row unchanged to know that no lease of its owner is left. The owner may have
    /// granted one at the end of the row's life.
    pub fn silence(&self) -> Duration {
        self.outlast(self.row_life().saturating_add(self.lease))
    }

    fn rates(&self) -> (u128, u128) {
        let drift = u128::from(self.drift_ppm).min(MILLION - 1);
        (MILLION - drift, MILLION + drift)
    }
}

fn nanos(count: u128) -> Duration {
    u64::try_from(count).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_wait_on_a_fast_clock_outlasts_a_lease_on_a_slow_one() {
        let times = LeaseTimes { lease: ms(3000), hold: ms(1000), drift_ppm: 200_000 };
        assert_eq!(times.lease_over(), ms(4500));
        assert_eq!(times.silence(), ms(9000));
        assert_eq!(LeaseTimes::default().lease_over(), Duration::from_nanos(2_004_004_005));
    }

    #[test]
    fn freshness_is_rounded_so_that_the_lease_gets_shorter() {
        let times = LeaseTimes { drift_ppm: 200_000, ..LeaseTimes::default() };
        assert_eq!(times.fresh_ms(ms(100), ms(103)), 2);
        assert_eq!(times.fresh_ms(ms(100), ms(101)), 0);
        assert_eq!(times.fresh_ms(ms(100), Duration::from_micros(99_999)), -1);
        assert_eq!(times.fresh_ms(ms(100), ms(70)), -30);
        assert_eq!(times.fresh_ms(Duration::MAX, Duration::ZERO), i64::MIN);
    }
}
