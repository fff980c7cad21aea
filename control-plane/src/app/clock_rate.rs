//! Watches how far this machine's monotonic clock is bent.
//!
//! A time daemon that corrects the wall clock by slewing bends the monotonic clock as well. The leases allow for a bend of
//! [`LeaseTimes::drift_ppm`]. Linux also has a clock that nobody bends (`CLOCK_MONOTONIC_RAW`), so a control plane can see
//! whether its machine is within the bound. Only the machines of control planes are watched so: a filter sees one monotonic
//! clock and cannot tell.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::leases::protocol::LeaseTimes;
use crate::log_throttle::LogThrottle;

/// How long the two clocks are compared for one measurement.
const WINDOW: Duration = Duration::from_secs(5);

/// The longest time that reading both clocks may take. In a window of five seconds it makes an error of 200 ppm.
const AT_ONCE: Duration = Duration::from_millis(1);

/// What the watch shows.
#[derive(Debug, Clone, Default)]
pub struct ClockRate {
    /// By how much the monotonic clock is faster than the one that nobody bends.
    ppm: Gauge,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    bent: Duration,
    raw: Duration,
}

impl Clocks {
    /// Reads both clocks; `None` if something came between.
    fn read() -> Option<Self> {
        let read = |id| Duration::try_from(clock_gettime(id)).unwrap_or_default();
        let before = read(ClockId::MonotonicRaw);
        let bent = read(ClockId::Monotonic);
        let raw = read(ClockId::MonotonicRaw);
        (raw.saturating_sub(before) <= AT_ONCE).then_some(Self { bent, raw })
    }

    /// By how many millionths the monotonic clock has run faster since `earlier`; `None` if no time has passed.
    fn ppm_since(self, earlier: Self) -> Option<i64> {
        let bent = i128::try_from(self.bent.checked_sub(earlier.bent)?.as_nanos()).ok()?;
        let raw = i128::try_from(self.raw.checked_sub(earlier.raw)?.as_nanos()).ok()?;
        let ppm = bent.checked_sub(raw)?.checked_mul(1_000_000)?.checked_div(raw)?;
        i64::try_from(ppm).ok()
    }
}

/// True if the leases do not allow for a clock that is bent so far.
fn is_too_far(ppm: i64) -> bool {
    ppm.unsigned_abs() > u64::from(LeaseTimes::default().drift_ppm)
}

impl ClockRate {
    /// Adds the gauge to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "clock_rate_ppm",
            "By how many millionths the machine's monotonic clock runs faster than the clock that no time daemon bends",
            self.ppm.clone(),
        );
    }

    /// Measures until it is told to stop.
    pub async fn watch(&self, stop: CancellationToken) {
        let throttle = LogThrottle::default();
        let mut earlier = Clocks::read();
        loop {
            tokio::select! {
                () = tokio::time::sleep(WINDOW) => {}
                () = stop.cancelled() => return,
            }
            let now = Clocks::read();
            if let (Some(earlier), Some(now)) = (earlier, now)
                && let Some(ppm) = now.ppm_since(earlier)
            {
                self.show(ppm, &throttle);
            }
            earlier = now;
        }
    }

    fn show(&self, ppm: i64, throttle: &LogThrottle) {
        self.ppm.set(ppm);
        if is_too_far(ppm)
            && let Some(failures) = throttle.line(Instant::now())
        {
            let most = LeaseTimes::default().drift_ppm;
            warn!(
                ppm,
                most,
                failures,
                "this machine's monotonic clock is bent further than leases allow for: a logged-out token may be admitted \
                 for some tenths of a second longer"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn clocks(bent: u64, raw: u64) -> Clocks {
        Clocks { bent: Duration::from_millis(bent), raw: Duration::from_millis(raw) }
    }

    #[test]
    fn a_bend_is_told_in_millionths_both_ways() {
        let earlier = clocks(1_000, 400);
        assert_eq!(clocks(6_000, 5_400).ppm_since(earlier), Some(0));
        assert_eq!(clocks(6_500, 5_400).ppm_since(earlier), Some(100_000));
        assert_eq!(clocks(5_500, 5_400).ppm_since(earlier), Some(-100_000));
        assert_eq!(clocks(1_000, 400).ppm_since(earlier), None, "no time has passed");
        assert_eq!(clocks(900, 300).ppm_since(earlier), None);
    }

    #[test]
    fn the_warning_comes_beyond_what_leases_allow_for() {
        assert!(!is_too_far(100_000) && !is_too_far(-100_000) && !is_too_far(83_333));
        assert!(is_too_far(100_001) && is_too_far(-100_001) && is_too_far(i64::MIN));
    }

    #[tokio::test(start_paused = true)]
    async fn the_clocks_of_a_machine_can_be_compared() {
        let mut read = (0..1000).filter_map(|_| Clocks::read());
        assert!(read.next().is_some());
        let rate = ClockRate::default();
        rate.show(-7, &LogThrottle::default());
        assert_eq!(rate.ppm.get(), -7);
    }
}
