//! What a mode of the filter promises about logged-out tokens.

use std::time::Duration;

/// A mode, and the bound it publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// `consistency` of the filter.
    pub consistency: &'static str,
    /// `max_staleness` of the filter, where the mode has one.
    pub max_staleness: Option<&'static str>,
    /// How long after the 200 a token may still be admitted.
    pub bound: Duration,
}

impl Promise {
    /// `bounded` with a second, so that stories are short.
    pub const BOUNDED: Self = Self { consistency: "bounded", max_staleness: Some("1s"), bound: Duration::from_secs(1) };
}
