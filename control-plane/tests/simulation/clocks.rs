//! True time, which no process of a world sees, and the clocks, whose speeds differ within the allowed drift.

use std::time::Duration;

use curfew_filter::now::Now;

/// True time since the world began.
pub(crate) type Moment = Duration;

/// The true wall clock when the world begins, in seconds of Unix time.
const UNIX: u64 = 1_700_000_000;

const MILLION: u128 = 1_000_000;

/// The clocks of one machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// The monotonic clock at the beginning: an arbitrary value.
    started: Duration,
    /// Its speed, in parts per million of true speed.
    rate: u32,
    /// The wall clock's lead over a clock that is two seconds behind.
    pub(crate) wall: Duration,
}

impl Clocks {
    pub(crate) fn new(started: Duration, rate: u32, wall: Duration) -> Self {
        Self { started, rate, wall }
    }

    /// A machine's clocks with a true wall clock.
    pub(crate) const TRUE_WALL: Duration = Duration::from_secs(2);

    pub(crate) fn monotonic(&self, at: Moment) -> Duration {
        self.started + nanos(at.as_nanos() * u128::from(self.rate) / MILLION)
    }

    /// The moment when the monotonic clock reaches this time, or now if it has passed.
    pub(crate) fn when(&self, shown: Duration) -> Moment {
        nanos((shown.saturating_sub(self.started).as_nanos() * MILLION).div_ceil(u128::from(self.rate)))
    }

    pub(crate) fn now(&self, at: Moment) -> Now {
        Now { monotonic: self.monotonic(at), unix: unix((at + self.wall).saturating_sub(Self::TRUE_WALL)) }
    }
}

/// Seconds of Unix time at a moment, on a true clock.
pub(crate) fn unix(at: Moment) -> i64 {
    i64::try_from(UNIX + at.as_secs()).unwrap_or(i64::MAX)
}

fn nanos(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}
