//! True time, which nobody in a world sees, and the clocks, which run as fast as they please within what is allowed.

use std::time::Duration;

use curfew_filter::now::Now;

/// True time since the world began.
pub(crate) type Moment = Duration;

/// What true wall clocks show when the world begins, in seconds of Unix time.
const UNIX: u64 = 1_700_000_000;

const MILLION: u128 = 1_000_000;

/// The clocks of one machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// What the monotonic clock shows at the beginning; it means nothing.
    started: Duration,
    /// Parts per million of true speed.
    rate: u32,
    /// How far the wall clock is ahead of one that is two seconds behind.
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

    /// When the monotonic clock shows this, or now if it has passed.
    pub(crate) fn when(&self, shown: Duration) -> Moment {
        nanos((shown.saturating_sub(self.started).as_nanos() * MILLION).div_ceil(u128::from(self.rate)))
    }

    pub(crate) fn now(&self, at: Moment) -> Now {
        Now { monotonic: self.monotonic(at), unix: unix((at + self.wall).saturating_sub(Self::TRUE_WALL)) }
    }
}

/// Seconds of Unix time at a moment, by a true clock.
pub(crate) fn unix(at: Moment) -> i64 {
    i64::try_from(UNIX + at.as_secs()).unwrap_or(i64::MAX)
}

fn nanos(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}
