//! The metrics of the writer, the log and the purge.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::command::Purged;

/// Labels of `curfew_purged_rows`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PurgeLabels {
    table: &'static str,
}

/// The counts; clones share them.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Commands that wait for the writer.
    pub queue: Gauge,
    /// Transactions that failed.
    pub failures: Counter,
    batch_size: Histogram,
    commit_seconds: Histogram,
    feed_seq: Gauge,
    purged_rows: Family<PurgeLabels, Counter>,
    database_up: Gauge,
    database_answer: Gauge<f64, AtomicU64>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            queue: Gauge::default(),
            failures: Counter::default(),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
            feed_seq: Gauge::default(),
            purged_rows: Family::default(),
            database_up: Gauge::default(),
            database_answer: Gauge::default(),
        }
    }
}

impl Counters {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("writer_queue", "Commands waiting for the writer", self.queue.clone());
        registry.register("writer_failures", "Write transactions that failed", self.failures.clone());
        registry.register("writer_batch_size", "Commands in one write transaction", self.batch_size.clone());
        registry.register_with_unit(
            "writer_commit",
            "Time of one write transaction, from its begin to its commit",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register("feed_seq", "Place of the newest revocation in the log", self.feed_seq.clone());
        registry.register(
            "database_up",
            "Whether the database answers, looked at each second",
            self.database_up.clone(),
        );
        registry.register_with_unit(
            "database_answer",
            "How long the database took to answer the latest look",
            Unit::Seconds,
            self.database_answer.clone(),
        );
        registry.register("purged_rows", "Expired rows removed, by table", self.purged_rows.clone());
    }

    /// Notes that the log ends at `seq`.
    pub fn feed_reaches(&self, seq: u64) {
        self.feed_seq.set(i64::try_from(seq).unwrap_or(i64::MAX));
    }

    /// Notes a look at the database: how long it took to answer; `None` if it did not.
    pub(super) fn database_looked(&self, answered: Option<Duration>) {
        self.database_up.set(answered.is_some().into());
        if let Some(took) = answered {
            self.database_answer.set(took.as_secs_f64());
        }
    }

    /// Counts commands that the writer took out of its queue.
    pub(super) fn took(&self, commands: usize) {
        self.queue.dec_by(i64::try_from(commands).unwrap_or(i64::MAX));
    }

    /// Counts a committed transaction with this number of commands. After it the log ends at `seq`.
    pub(super) fn committed(&self, commands: usize, took: Duration, seq: u64) {
        self.batch_size.observe(u32::try_from(commands).map_or(f64::MAX, f64::from));
        self.commit_seconds.observe(took.as_secs_f64());
        self.feed_reaches(seq);
    }

    /// Counts the rows that a step of the purge removed.
    pub(super) fn purged(&self, rows: Purged) {
        for (table, count) in [("user_token_logs", rows.tokens), ("revocations", rows.revocations)] {
            self.purged_rows.get_or_create(&PurgeLabels { table }).inc_by(count);
        }
    }
}
