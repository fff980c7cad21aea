//! The time as the modules that decide are given it: they read no clock themselves.

use std::time::Duration;

/// The two clocks, read once for each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Now {
    /// The time since some moment in the past; it never goes back. Leases and staleness are measured on it.
    pub monotonic: Duration,
    /// Seconds of Unix time. `exp`, `nbf` and `iat` are compared with it.
    pub unix: i64,
}
