//! The metrics of keys.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// An issuer by its name in the settings; "" for the one without a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct IssuerLabel {
    /// The name.
    pub issuer: String,
}

/// Why a fetch failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabel {
    /// The issuer.
    pub issuer: String,
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
        let registry = registry.sub_registry_with_prefix("keys");
        registry.register("in_force", "Keys that tokens are proven with", self.in_force.clone());
        registry.register("listed_timestamp_seconds", "When the source last gave its keys", self.listed.clone());
        registry.register("changes", "Changes of the keys in force", self.changes.clone());
        registry.register("no_room", "Lists of keys that did not come in force for their size", self.no_room.clone());
        registry.register("fetches", "Good answers of a source of keys", self.fetches.clone());
        registry.register("fetch_failures", "Fetches of keys that failed", self.fetch_failures.clone());
        registry.register("demands", "Questions to an issuer for a key that a token named", self.demands.clone());
    }
}
