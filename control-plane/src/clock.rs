//! The wall clock, handed to whoever needs it, so that tests can move time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment by the clocks of this process, in seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What the wall clock shows.
    pub now: i64,
    /// What the wall clock would show if nobody had set it since the start; nothing for a clock made by hand, which is
    /// believed.
    pub steady: Option<i64>,
}

/// Tells the time in whole seconds of Unix time.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> i64 + Send + Sync>,
    steady: Option<Arc<dyn Fn() -> i64 + Send + Sync>>,
}

impl Clock {
    /// The machine's wall clock.
    pub fn system() -> Self {
        let (start, started) = (wall(), Instant::now());
        let steady = move || start.saturating_add_unsigned(started.elapsed().as_secs());
        Self::new(wall).checked_by(steady)
    }

    /// A clock that shows what `read` returns.
    pub fn new(read: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self { wall: Arc::new(read), steady: None }
    }

    /// The same clock beside one that nobody sets.
    #[must_use]
    pub fn checked_by(self, steady: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self { steady: Some(Arc::new(steady)), ..self }
    }

    /// Seconds of Unix time.
    pub fn now(&self) -> i64 {
        (self.wall)()
    }

    /// The moment by all clocks there are.
    pub fn moment(&self) -> Moment {
        Moment { now: self.now(), steady: self.steady.as_ref().map(|read| read()) }
    }
}

/// The time since the machine was started, its sleep included (CLOCK_BOOTTIME): the local clock of the leases. A clock that
/// stood still while the machine slept would make leases look younger than they are.
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // It is never negative.
    Duration::try_from(time).unwrap_or_default()
}

fn wall() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
}
