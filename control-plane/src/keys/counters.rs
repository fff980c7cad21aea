//! The metrics of keys.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// An issuer by its place in the settings, from 0: scrapers need no secret, and are told no names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct IssuerLabel {
    /// The place.
    pub issuer: usize,
}

/// Why a fetch failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabel {
    /// The place of the issuer.
    pub issuer: usize,
    /// A stable code.
    pub code: &'static str,
}

/// `curfew_keys_...`
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// The keys that this process proves tokens with, one for each algorithm that a key serves.
    pub in_force: Family<IssuerLabel, Gauge>,
    /// When a source last gave its list, whichever control plane asked, in seconds of Unix time.
    pub listed: Family<IssuerLabel, Gauge>,
    /// Changes of the keys in force that this process made.
    pub changes: Family<IssuerLabel, Counter>,
    /// Lists that did not come in force, because there was no room.
    pub no_room: Family<IssuerLabel, Counter>,
    /// Answers of a source that were good.
    pub fetches: Family<IssuerLabel, Counter>,
    /// Answers of a source that were not, or that did not come.
    pub fetch_failures: Family<FailureLabel, Counter>,
    /// Tokens whose key nobody knew, for which the issuer was asked.
    pub demands: Family<IssuerLabel, Counter>,
}

impl Counters {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("keys_in_force", "Keys that tokens are proven with", self.in_force.clone());
        let listed = self.listed.clone();
        registry.register_with_unit(
            "keys_listed_timestamp",
            "When the source last gave its keys",
            Unit::Seconds,
            listed,
        );
        registry.register("keys_changes", "Changes of the keys in force", self.changes.clone());
        registry.register(
            "keys_no_room",
            "Lists of keys that did not come in force for their size",
            self.no_room.clone(),
        );
        registry.register("keys_fetches", "Good answers of a source of keys", self.fetches.clone());
        registry.register("keys_fetch_failures", "Fetches of keys that failed", self.fetch_failures.clone());
        registry.register("keys_demands", "Questions to an issuer for a key that a token named", self.demands.clone());
    }
}
