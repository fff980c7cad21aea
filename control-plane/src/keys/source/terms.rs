//! How keys are fetched: limits of time, and what is allowed beyond the public internet over TLS.

use std::path::PathBuf;
use std::time::Duration;

/// The terms of fetching one issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTerms {
    /// Trust this authority's certificates (PEM) and no others; `None` stands for those of the system.
    pub ca_file: Option<PathBuf>,
    /// Connect to addresses of private networks and of this machine, whoever named them: the settings, a redirect, or a
    /// discovery document.
    pub allow_private_network: bool,
    /// Fetch keys without encryption. Anybody on the way can then put in a key of their own and sign tokens with it.
    pub allow_http: bool,
    /// How long one fetch may take, with discovery and redirects.
    pub timeout: Duration,
    /// The least time between two regular fetches, whatever the provider's caching headers say.
    pub min_interval: Duration,
    /// The most time between two regular fetches, whatever the provider's caching headers say.
    pub max_interval: Duration,
    /// How long the last good set is kept while no fetch succeeds; `None` keeps it for ever.
    pub keep_for: Option<Duration>,
}

impl Default for FetchTerms {
    fn default() -> Self {
        Self {
            ca_file: None,
            allow_private_network: false,
            allow_http: false,
            timeout: Duration::from_secs(5),
            min_interval: DEFAULT_MIN_INTERVAL,
            max_interval: DEFAULT_MAX_INTERVAL,
            keep_for: None,
        }
    }
}

pub(super) const DEFAULT_MIN_INTERVAL: Duration = Duration::from_secs(60);
pub(super) const DEFAULT_MAX_INTERVAL: Duration = Duration::from_secs(15 * 60);

impl FetchTerms {
    /// True if the last good set has been kept for as long as it may: `since_good` is the time since the last fetch that
    /// succeeded. The answer "not modified" is a success.
    pub fn is_over(&self, since_good: Duration) -> bool {
        self.keep_for.is_some_and(|keep_for| since_good >= keep_for)
    }
}
