//! The clocks. The wall clock is passed to the parts that need it, so that tests can move time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment by the clocks of this process, in seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What the wall clock shows.
    pub now: i64,
    /// What the wall clock would show if it had not been set since the start; `None` for a clock of a test, which is
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

    /// The same clock, together with one that cannot be set.
    #[must_use]
    pub fn checked_by(self, steady: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self { steady: Some(Arc::new(steady)), ..self }
    }

    /// Seconds of Unix time.
    pub fn now(&self) -> i64 {
        (self.wall)()
    }

    /// The moment by both clocks.
    pub fn moment(&self) -> Moment {
        Moment { now: self.now(), steady: self.steady.as_ref().map(|read| read()) }
    }
}

/// The clock by which leases are counted: it never goes back, and no two of its readings are compared with another
/// machine's. Tests bend it, and let it run without waiting.
#[derive(Clone)]
pub struct LocalClock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl LocalClock {
    /// The machine's own: [`since_boot`].
    pub fn system() -> Self {
        Self::new(since_boot)
    }

    /// A clock that shows what `read` returns.
    pub fn new(read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time.
    pub fn now(&self) -> Duration {
        (self.0)()
    }

    /// Sleeps until this clock shows the time, more or less: a timer runs at a speed of its own.
    pub async fn sleep_until(&self, at: Duration) {
        tokio::time::sleep(at.saturating_sub(self.now())).await;
    }
}

/// The time since the machine was started, including the time that it slept (`CLOCK_BOOTTIME`). This is the local clock of
/// the leases. A clock that stops while the machine sleeps would make leases look younger than they are.
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // The conversion fails for a negative time alone, and this clock shows none.
    Duration::try_from(time).unwrap_or_default()
}

/// Sleeps until [`since_boot`] shows this time.
pub async fn sleep_until(at: Duration) {
    tokio::time::sleep(at.saturating_sub(since_boot())).await;
}

fn wall() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
}
