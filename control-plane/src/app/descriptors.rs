//! How many connections each listener may hold, from the file descriptors that the process may open.
//!
//! Both listeners use the same descriptors. Without a share for each, a flood on the public listener would take all of them,
//! and the filter could not connect to the internal one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// Descriptors kept for the database, the listeners and the runtime.
const SPARE: u64 = 128;

/// The most connections of a listener, however many descriptors there are.
const MOST: u64 = 4096;

/// The most open connections of each listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections of the public listener.
    pub public: u32,
    /// Connections of the internal listener.
    pub internal: u32,
}

impl ConnectionLimits {
    /// The limits for this process. Raises its limit on descriptors as far as is allowed.
    pub fn of_process() -> Self {
        let descriptors = raise_descriptors();
        let limits = Self::within(descriptors);
        info!(descriptors, public = limits.public, internal = limits.internal, "connections that may be open");
        limits
    }

    /// A quarter of the descriptors for the public listener and half for the internal one. Together they never take
    /// all.
    pub fn within(descriptors: u64) -> Self {
        let left = descriptors.saturating_sub(SPARE);
        // A listener needs one connection at least.
        let share = |part: u64| u32::try_from((left / part).clamp(1, MOST)).unwrap_or(1);
        Self { public: share(4), internal: share(2) }
    }
}

/// Raises the soft limit to the hard one, and returns the limit that holds then.
fn raise_descriptors() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!(%error, "the limit on open files could not be raised");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listeners_never_share_a_descriptor() {
        for (descriptors, public, internal) in
            [(0, 1, 1), (128, 1, 1), (200, 18, 36), (1024, 224, 448), (20_000, 4096, 4096), (u64::MAX, 4096, 4096)]
        {
            assert_eq!(ConnectionLimits::within(descriptors), ConnectionLimits { public, internal }, "{descriptors}");
        }
    }
}
