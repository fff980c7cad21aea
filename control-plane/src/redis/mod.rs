//! Redis: where it is, a connection and the few commands that are sent over it, the form of an entry, and the channel
//! between control planes. The room `redis_copy` decides what is copied there, and when.

mod channel;
mod connection;
mod entry;
mod failure;
mod target;

use std::time::Duration;

pub use channel::{Channel, ChannelFailure, Speaker};
pub(crate) use connection::{Connection, connect};
pub use entry::EntryRules;
pub(crate) use entry::judge;
pub use failure::Misconfigured;
pub(crate) use failure::{explain, misconfigured};
pub use target::Target;

/// How long a connection may take to be made, TLS and log-in included.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// The operator's settings for Redis.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where Redis is.
    pub target: Target,
    /// The certificate authority (PEM) that signed for Redis, instead of those that the system trusts.
    pub authority: Option<Vec<u8>>,
    /// How entries are named and how long they live.
    pub rules: EntryRules,
}

impl Settings {
    /// The same settings, for tokens whose issuers' clocks may be off by this many seconds.
    #[must_use]
    pub fn with_clock_skew(mut self, clock_skew: i64) -> Self {
        self.rules.clock_skew = clock_skew;
        self
    }
}
