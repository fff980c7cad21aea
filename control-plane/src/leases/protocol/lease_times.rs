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

/// The drift that is allowed for: 10 %.
///
/// A machine's monotonic clock is not free-running quartz: a time daemon that corrects the wall clock bends it too. chrony
/// slews by up to 83,333 ppm unless `maxslewrate` says less (chrony.conf, `maxslewrate`). A daemon that uses the kernel's
/// phase-locked loop, such as systemd-timesyncd, slews by an offset divided by its time constant: some 53,000 ppm for
/// 0.4 s, above which timesyncd steps the wall clock (adjtimex(2), `ADJ_OFFSET`). The kernel itself bends the clock by 10 %
/// at most (`adjtimex`, `tick` from 900,000 to 1,100,000 / `USER_HZ`), plus 500 ppm of frequency. Quartz adds some 100 ppm.
///
/// If a clock bends further than this, a worker whose clock is slow admits by a lease that a logout took for over: a
/// logged-out token passes for as much longer. The control plane warns of such a clock
/// on its own machine (`app/clock_rate.rs`).
const DRIFT_PPM: u32 = 100_000;

/// How long a lease runs. With [`DRIFT_PPM`], a logout outlasts it in 1.7 s * 1.1 / 0.9 = 2.078 s.
const LEASE: Duration = Duration::from_millis(1700);

/// How long a poll is held back: less than a third of a lease. Then a worker renews its lease without a gap, even if its
/// clock is 10 % fast and that of the control plane 10 % slow: the 550 ms last 672 ms by the worker's clock, and
/// `fresh_ms` says 450 ms, so 1478 ms of the new lease are left when it arrives, in which two more polls may fail.
const HOLD: Duration = Duration::from_millis(550);

const MILLION: u128 = 1_000_000;

impl Default for LeaseTimes {
    fn default() -> Self {
        Self { lease: LEASE, hold: HOLD, drift_ppm: DRIFT_PPM }
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

    /// `fresh_ms` of an answer: how long after `arrived` the reading began. `None` if it began before: such a reading
    /// grants no lease.
    ///
    /// The worker's "sent + fresh" must not be after `began`, although the worker's clock may be slower than this one.
    /// So the value is made shorter by the drift. If this clock stood still in between, because the machine slept or its
    /// hypervisor paused it, the value is too small and the lease too short, which does no harm. For a reading that began
    /// before the poll arrived it would be the other way round: its age would look smaller than it is.
    pub fn fresh_ms(&self, arrived: Duration, began: Duration) -> Option<i64> {
        let (slow, fast) = self.rates();
        let shrunk = began.checked_sub(arrived)?.as_nanos().saturating_mul(slow) / fast;
        Some(i64::try_from(shrunk / MILLION).unwrap_or(0))
    }

    /// How long a control plane may grant leases after the write of its row began, by its own clock. It writes the row three
    /// times in that time.
    pub fn row_life(&self) -> Duration {
        self.lease
    }

    /// How long another control plane must see a row unchanged to take its owner for dead. Nothing that is promised depends
    /// on this length: an owner that is alive all the same can grant nothing once its row is replaced.
    pub fn patience(&self) -> Duration {
        self.outlast(self.row_life())
    }

    /// For how long after a control plane has died logouts may still wait for it: until its row is replaced, and then until
    /// its leases are over. No logout waits for longer than [`Self::lease_over`].
    pub fn silence(&self) -> Duration {
        self.patience().saturating_add(self.lease_over())
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
        assert_eq!(LeaseTimes::default().lease_over(), Duration::from_nanos(2_077_777_778));
    }

    /// The longest time that a length takes by a clock of one speed, if it is measured by one of another speed.
    fn stretched(length: Duration, drift_ppm: u32) -> Duration {
        LeaseTimes { drift_ppm, ..LeaseTimes::default() }.outlast(length)
    }

    #[test]
    fn a_worker_renews_its_lease_without_a_gap_however_the_clocks_are_bent() {
        let times = LeaseTimes::default();
        assert!(times.hold * 3 <= times.lease);
        // The worker's clock is fast and the control plane's slow. What a poll without news takes by the worker's clock,
        // and what is left of its lease at its end:
        let held = stretched(times.hold, times.drift_ppm);
        let fresh = Duration::from_millis(times.fresh_ms(Duration::ZERO, times.hold).unwrap().unsigned_abs());
        let left = times.lease + fresh - held;
        assert_eq!((held.as_millis(), fresh.as_millis(), left.as_millis()), (672, 450, 1477));
        assert!(left > held * 2, "one poll may be lost, and the next one still comes in time");
    }

    #[test]
    fn control_planes_with_the_earlier_lengths_may_run_beside_these() {
        // They granted leases of 2 s, and allowed for 1000 ppm.
        let earlier = LeaseTimes { lease: ms(2000), hold: ms(600), drift_ppm: 1000 };
        let times = LeaseTimes::default();
        assert!(times.lease_over() >= stretched(earlier.lease, 19_000), "a wait here outlasts a lease from there");
        assert!(earlier.lease_over() >= stretched(times.lease, 80_000), "a wait there outlasts a lease from here");
        assert!(earlier.silence() >= stretched(times.row_life() + times.lease, 80_000));
    }

    #[test]
    fn the_longest_admission_fits_into_the_retention() {
        let times = LeaseTimes::default();
        let slow = u64::from(1_000_000 - times.drift_ppm);
        let longest = times.lease * 1_000_000 / u32::try_from(slow).unwrap();
        let kept = Duration::from_secs(crate::log::retention::LEASE_SECONDS.unsigned_abs());
        assert!(longest <= kept, "{longest:?} by a slow clock");
    }

    #[test]
    fn freshness_is_rounded_so_that_the_lease_gets_shorter() {
        let times = LeaseTimes { drift_ppm: 200_000, ..LeaseTimes::default() };
        assert_eq!(times.fresh_ms(ms(100), ms(103)), Some(2));
        assert_eq!(times.fresh_ms(ms(100), ms(101)), Some(0));
        assert_eq!(times.fresh_ms(ms(100), ms(100)), Some(0));
        assert_eq!(times.fresh_ms(ms(100), Duration::from_micros(99_999)), None);
        assert_eq!(times.fresh_ms(Duration::ZERO, Duration::MAX), Some(0), "too long for the answer: a shorter lease");
    }
}
