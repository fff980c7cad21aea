//! The clocks of machines: they begin anywhere, and run at different speeds within the drift that is allowed for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use curfew_control_plane::clock::LocalClock;
use curfew_filter::now::Now;

use crate::world::World;

const MILLION: u128 = 1_000_000;

/// The clock of one machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// What it shows at the beginning.
    pub(crate) started: Duration,
    /// Its speed, in parts per million of true speed.
    pub(crate) rate: u32,
}

impl Clocks {
    pub(crate) fn shows(self, at: Duration) -> Duration {
        self.started + nanos(at.as_nanos() * u128::from(self.rate) / MILLION)
    }

    /// How long the clock takes for this length.
    pub(crate) fn takes(self, length: Duration) -> Duration {
        nanos((length.as_nanos() * MILLION).div_ceil(u128::from(self.rate)))
    }

    pub(crate) fn now(self, at: Duration) -> Now {
        Now { monotonic: self.shows(at), unix: i64::try_from(1_700_000_000 + at.as_secs()).unwrap() }
    }

    /// The clock for a control plane. It moves by a nanosecond whenever it is read, as time does.
    pub(crate) fn local(self, world: &Arc<World>) -> LocalClock {
        let (world, read) = (Arc::downgrade(world), AtomicU64::new(0));
        LocalClock::new(move || {
            let at = world.upgrade().map_or(Duration::ZERO, |world| world.now());
            self.shows(at) + Duration::from_nanos(read.fetch_add(1, Ordering::Relaxed))
        })
    }
}

fn nanos(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap())
}
