//! Every metric of the control plane, defined once: name, help, unit and labels.
//!
//! Labels hold stable codes and routes, never anything that a client made up or that names a user.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::blacklist::Counters;
use crate::store::command::Purged;
use crate::strict;

/// Labels of `curfew_http_requests`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's pattern, or `none`.
    pub route: String,
    /// The status' class: `2xx`, `4xx` ...
    pub status: &'static str,
}

/// Labels of `curfew_logouts`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LogoutLabels {
    /// `logout`, `logout_all_device` or `lgt_all`.
    pub endpoint: &'static str,
    /// `ok`, or the code of the problem.
    pub outcome: &'static str,
}

/// Labels of `curfew_tokens_refused`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    /// The rule that the token broke.
    pub reason: &'static str,
}

/// Labels of `curfew_failed_logouts_limited`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabels {
    /// What had failed too often: `source`, `network` or `token`.
    pub by: &'static str,
}

/// Labels of `curfew_verifications`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerificationLabels {
    /// `ordinary` or `suspect`.
    pub lane: &'static str,
    /// `accepted`, `refused`, `full` where there was no place to wait, or `late` where the turn did not come in time.
    pub outcome: &'static str,
}

/// Labels of `curfew_verifications_waiting`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LaneLabels {
    /// `ordinary` or `suspect`.
    pub lane: &'static str,
}

/// Labels of `curfew_checks`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CheckLabels {
    /// `active`, `revoked`, `keyspace_unknown` or `unavailable`.
    pub verdict: &'static str,
}

/// Labels of `curfew_purged_rows`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PurgeLabels {
    table: &'static str,
}

/// The metrics and their registry.
pub struct Metrics {
    registry: Registry,
    /// HTTP requests answered.
    pub requests: Family<RequestLabels, Counter>,
    /// Calls of the logout endpoints.
    pub logouts: Family<LogoutLabels, Counter>,
    /// Tokens that were refused, by reason.
    pub tokens_refused: Family<RefusalLabels, Counter>,
    /// Failed logouts that were answered 429, by what had failed too often.
    pub logouts_limited: Family<LimitLabels, Counter>,
    /// Signatures of logouts that needed a thread of their own.
    pub verifications: Family<VerificationLabels, Counter>,
    /// Such signatures that wait or are being checked.
    pub verifications_waiting: Family<LaneLabels, Gauge>,
    /// Checks answered.
    pub checks: Family<CheckLabels, Counter>,
    /// Tokens registered for the first time.
    pub tokens_registered: Counter,
    /// Handlers that panicked.
    pub panics: Counter,
    /// Commands waiting for the writer.
    pub writer_queue: Gauge,
    /// Transactions that failed.
    pub writer_failures: Counter,
    batch_size: Histogram,
    commit_seconds: Histogram,
    feed_seq: Gauge,
    purged_rows: Family<PurgeLabels, Counter>,
    /// The blacklist in Redis.
    pub redis: Counters,
    /// Polls, leases and logouts that wait for them.
    pub strict: strict::Counters,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("curfew"),
            requests: Family::default(),
            logouts: Family::default(),
            tokens_refused: Family::default(),
            logouts_limited: Family::default(),
            verifications: Family::default(),
            verifications_waiting: Family::default(),
            checks: Family::default(),
            tokens_registered: Counter::default(),
            panics: Counter::default(),
            writer_queue: Gauge::default(),
            writer_failures: Counter::default(),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
            feed_seq: Gauge::default(),
            purged_rows: Family::default(),
            redis: Counters::default(),
            strict: strict::Counters::default(),
        };
        metrics.register_requests();
        metrics.register_store();
        metrics.redis.register(&mut metrics.registry);
        metrics.strict.register(&mut metrics.registry);
        metrics
    }

    fn register_requests(&mut self) {
        let registry = &mut self.registry;
        registry.register("http_requests", "Requests answered, by route and class of status", self.requests.clone());
        registry.register("logouts", "Calls of the logout endpoints, by endpoint and outcome", self.logouts.clone());
        registry.register("tokens_refused", "Tokens refused, by the rule they broke", self.tokens_refused.clone());
        registry.register(
            "failed_logouts_limited",
            "Failed logouts answered 429, by what had failed too often",
            self.logouts_limited.clone(),
        );
        registry.register(
            "verifications",
            "RSA, ECDSA and EdDSA signatures of logouts, by lane and outcome",
            self.verifications.clone(),
        );
        registry.register(
            "verifications_waiting",
            "Such signatures that wait or are being checked, by lane",
            self.verifications_waiting.clone(),
        );
        registry.register("checks", "Checks asked by proxies, by verdict", self.checks.clone());
        registry.register("tokens_registered", "Tokens registered for the first time", self.tokens_registered.clone());
        registry.register("panics", "Requests that ended in a panic", self.panics.clone());
    }

    fn register_store(&mut self) {
        let registry = &mut self.registry;
        registry.register("writer_queue", "Commands waiting for the writer", self.writer_queue.clone());
        registry.register("writer_failures", "Write transactions that failed", self.writer_failures.clone());
        registry.register("writer_batch_size", "Commands in one write transaction", self.batch_size.clone());
        registry.register_with_unit(
            "writer_commit",
            "Time of one write transaction, from its begin to its commit",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register("feed_seq", "Place of the newest revocation in the log", self.feed_seq.clone());
        registry.register("purged_rows", "Expired rows removed, by table", self.purged_rows.clone());
    }

    /// The writer took `commands` out of its queue.
    pub fn writer_took(&self, commands: usize) {
        self.writer_queue.dec_by(i64::try_from(commands).unwrap_or(i64::MAX));
    }

    /// A transaction with `commands` was committed and the log now ends at `seq`.
    pub fn committed(&self, commands: usize, took: Duration, seq: i64) {
        self.batch_size.observe(u32::try_from(commands).map_or(f64::MAX, f64::from));
        self.commit_seconds.observe(took.as_secs_f64());
        self.feed_seq.set(seq);
    }

    /// The log ends at `seq`.
    pub fn feed_reaches(&self, seq: i64) {
        self.feed_seq.set(seq);
    }

    /// A step of the purge removed rows.
    pub fn purged(&self, rows: Purged) {
        for (table, count) in [("user_token_logs", rows.tokens), ("revocations", rows.revocations)] {
            self.purged_rows.get_or_create(&PurgeLabels { table }).inc_by(count);
        }
    }

    /// The text that a scraper reads (OpenMetrics 1.0).
    ///
    /// # Errors
    ///
    /// A metric refused to be written, which would be a fault in this module.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
