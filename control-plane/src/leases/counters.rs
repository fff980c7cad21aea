//! Counters of polls, of leases, and of logouts that wait for leases.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::peers::company::Others;

/// Labels of a count by outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// How it ended.
    pub outcome: &'static str,
}

/// Labels of `curfew_control_planes`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StateLabels {
    /// `alive`, `confirmed` or `lost`.
    state: &'static str,
}

/// The counts; clones share them.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Answers to polls.
    pub polls: Family<OutcomeLabels, Counter>,
    /// Polls that are held back now.
    pub held: Gauge,
    /// How many polls may be held back at a time.
    pub most_held: Gauge,
    /// Workers with a lease from here.
    pub workers: Gauge,
    /// The longest time since a worker with a lease from here has polled, in milliseconds.
    pub slowest: Gauge,
    /// Messages of other control planes that could not be read.
    pub unreadable: Counter,
    others: Family<StateLabels, Gauge>,
    confirmed: Family<OutcomeLabels, Counter>,
    propagation: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            polls: Family::default(),
            held: Gauge::default(),
            most_held: Gauge::default(),
            workers: Gauge::default(),
            slowest: Gauge::default(),
            unreadable: Counter::default(),
            others: Family::default(),
            confirmed: Family::default(),
            // 0.5 ms to 5.6 s.
            propagation: Histogram::new(exponential_buckets(0.000_5, 1.5, 24)),
        }
    }
}

impl Counters {
    /// Adds the counts to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("feed_requests", "Polls of proxies answered, by outcome", self.polls.clone());
        registry.register("feed_held", "Polls that are held back until there is news", self.held.clone());
        registry.register("feed_held_limit", "Polls that may be held back at a time", self.most_held.clone());
        registry.register("workers", "Workers of proxies with a lease from this control plane", self.workers.clone());
        registry.register(
            "workers_slowest_poll_milliseconds",
            "The longest time since a worker with a lease has polled",
            self.slowest.clone(),
        );
        let others = "Other control planes that grant leases, by state; each counts for every state that it is in";
        registry.register("control_planes", others, self.others.clone());
        registry.register(
            "gossip_unreadable",
            "Messages in Redis that are of no control plane with this internal secret",
            self.unreadable.clone(),
        );
        registry.register(
            "logouts_settled",
            "Commits that logouts waited for, by why they could be answered",
            self.confirmed.clone(),
        );
        registry.register_with_unit(
            "propagation",
            "Time from a commit to the moment when no worker admits by an older state, where workers had leases",
            Unit::Seconds,
            self.propagation.clone(),
        );
    }

    /// Shows how many other control planes there are.
    pub(super) fn show_others(&self, others: Others) {
        for (state, count) in [("alive", others.alive), ("confirmed", others.confirmed), ("lost", others.lost)] {
            self.others.get_or_create(&StateLabels { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts a poll that was answered.
    pub(super) fn polled(&self, outcome: &'static str) {
        self.polls.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts a commit that will never be confirmed: another history has begun, which may lack it.
    pub(super) fn superseded(&self) {
        self.confirmed.get_or_create(&OutcomeLabels { outcome: "superseded" }).inc();
    }

    /// Counts a commit that was confirmed, with the time since its first caller began to wait.
    pub(super) fn confirmed(&self, outcome: &'static str, after: Duration) {
        self.confirmed.get_or_create(&OutcomeLabels { outcome }).inc();
        if outcome != "nobody" {
            self.propagation.observe(after.as_secs_f64());
        }
    }
}
