//! True time, which no process of a world sees, and the clocks. Their speeds differ within the allowed drift, and they stand
//! still while a hypervisor pauses their machine.

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
    /// The latest pause of the machine: its beginning and its end.
    pause: (Moment, Moment),
    /// For how long the machine was paused before that.
    paused_before: Duration,
    /// When the wall clock is set right after the latest pause.
    wall_right_at: Moment,
}

impl Clocks {
    pub(crate) fn new(started: Duration, rate: u32, wall: Duration) -> Self {
        let (pause, paused_before, wall_right_at) = ((Moment::ZERO, Moment::ZERO), Duration::ZERO, Moment::ZERO);
        Self { started, rate, wall, pause, paused_before, wall_right_at }
    }

    /// Stops both clocks until the moment `until`. The wall clock is behind afterwards, and is set right `later`.
    pub(crate) fn stop(&mut self, at: Moment, until: Moment, later: Duration) {
        if at >= self.pause.1 {
            self.paused_before += self.pause.1 - self.pause.0;
            self.pause = (at, until);
            self.wall_right_at = until + later;
        }
    }

    /// True if the machine is or was paused, and not for `length` since, which is true time.
    pub(crate) fn was_stopped(&self, at: Moment, length: Duration) -> bool {
        self.pause.1 > Moment::ZERO && at <= self.pause.1 + length
    }

    /// When the latest pause ends or has ended.
    pub(crate) fn resumed(&self) -> Moment {
        self.pause.1
    }

    /// For how long the machine was paused in all.
    pub(crate) fn paused(&self) -> Duration {
        self.paused_before + (self.pause.1 - self.pause.0)
    }

    /// The true time for which the clocks have run.
    fn run(&self, at: Moment) -> Duration {
        let (from, until) = self.pause;
        let paused = if at < from { Duration::ZERO } else { at.min(until) - from };
        at - self.paused_before - paused
    }

    /// A machine's clocks with a true wall clock.
    pub(crate) const TRUE_WALL: Duration = Duration::from_secs(2);

    pub(crate) fn monotonic(&self, at: Moment) -> Duration {
        self.started + nanos(self.run(at).as_nanos() * u128::from(self.rate) / MILLION)
    }

    /// The moment when the monotonic clock reaches this time if the machine is not paused any more, or a moment that has
    /// passed.
    pub(crate) fn when(&self, shown: Duration) -> Moment {
        let run = nanos((shown.saturating_sub(self.started).as_nanos() * MILLION).div_ceil(u128::from(self.rate)));
        run + self.paused()
    }

    pub(crate) fn now(&self, at: Moment) -> Now {
        let behind =
            if at < self.wall_right_at { at.min(self.pause.1).saturating_sub(self.pause.0) } else { Duration::ZERO };
        Now { monotonic: self.monotonic(at), unix: unix((at + self.wall).saturating_sub(Self::TRUE_WALL + behind)) }
    }
}

/// Seconds of Unix time at a moment, on a true clock.
pub(crate) fn unix(at: Moment) -> i64 {
    i64::try_from(UNIX + at.as_secs()).unwrap_or(i64::MAX)
}

fn nanos(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}
