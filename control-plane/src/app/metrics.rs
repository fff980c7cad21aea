//! The one registry that shows what all rooms count.
//!
//! Each room owns its counters: name, help, unit and labels stand beside the code that counts. Labels hold stable codes and
//! routes, never anything that a client made up or that names a user.

use prometheus_client::registry::Registry;

use super::clock_doubt::ClockDoubt;
use super::clock_rate::ClockRate;
use crate::{abuse, http, keys, leases, redis_copy, store};

/// The counters of all rooms.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Requests and their answers.
    pub http: http::Counters,
    /// Limits and lanes.
    pub abuse: abuse::Counters,
    /// The writer, the log and the purge.
    pub store: store::Counters,
    /// The copy in Redis.
    pub redis: redis_copy::Counters,
    /// Polls, leases, and logouts that wait for them.
    pub leases: leases::Counters,
    /// Keys in force, and changes of them.
    pub keys: keys::Counters,
    /// How far the machine's clock is bent.
    pub clock_rate: ClockRate,
    /// How far the wall clock is from the time that the database knows.
    pub clock_doubt: ClockDoubt,
}

impl Metrics {
    /// A registry that shows them all, under the prefix `curfew_`.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("curfew");
        self.http.register(&mut registry);
        self.abuse.register(&mut registry);
        self.store.register(&mut registry);
        self.redis.register(&mut registry);
        self.leases.register(&mut registry);
        self.keys.register(&mut registry);
        self.clock_rate.register(&mut registry);
        self.clock_doubt.register(&mut registry);
        registry
    }
}
