//! The metrics of the copy in Redis.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// `curfew_redis_...`; all zero if no Redis is configured.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// 1 while Redis is in use, 0 while it is left alone after a failure.
    pub up: Gauge,
    /// Checks that Redis answered.
    pub hits: Counter,
    /// Checks that had to ask the database after Redis.
    pub misses: Counter,
    /// Values that Curfew did not write.
    pub unreadable: Counter,
    /// Questions, writes and connections that failed or took too long.
    pub failures: Counter,
    /// Entries written.
    pub written: Counter,
    /// Copies of the whole log that were begun.
    pub refills: Counter,
    /// Revocations in the log that have not been copied yet.
    pub pending: Gauge,
}

impl Counters {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("redis");
        registry.register("up", "1 while Redis is asked, 0 while it is left alone", self.up.clone());
        registry.register("hits", "Checks that Redis answered", self.hits.clone());
        registry.register("misses", "Checks that had to ask the database after Redis", self.misses.clone());
        registry.register("unreadable", "Values in Redis that are not of our making", self.unreadable.clone());
        registry.register("failures", "Failures of Redis, time-outs included", self.failures.clone());
        registry.register("entries_written", "Entries written to Redis", self.written.clone());
        registry.register("refills", "Copies of all revocations to Redis that were begun", self.refills.clone());
        registry.register("entries_pending", "Revocations not yet copied to Redis", self.pending.clone());
    }
}
