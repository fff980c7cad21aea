//! Counters of limits and lanes.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

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
    /// `accepted`, `refused`, `full` where there was no slot, or `late` where the turn did not come in time.
    pub outcome: &'static str,
}

/// Labels of `curfew_verifications_waiting`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LaneLabels {
    /// `ordinary` or `suspect`.
    pub lane: &'static str,
}

/// The counts; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Failed logouts that were answered 429, by what had failed too often.
    pub limited: Family<LimitLabels, Counter>,
    /// Signatures of logouts that needed a thread of their own.
    pub verifications: Family<VerificationLabels, Counter>,
    /// Such signatures that wait or are being checked.
    pub waiting: Family<LaneLabels, Gauge>,
}

impl Counters {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "failed_logouts_limited",
            "Failed logouts answered 429, by what had failed too often",
            self.limited.clone(),
        );
        registry.register(
            "verifications",
            "RSA, ECDSA and EdDSA signatures of logouts, by lane and outcome",
            self.verifications.clone(),
        );
        registry.register(
            "verifications_waiting",
            "Such signatures that wait or are being checked, by lane",
            self.waiting.clone(),
        );
    }
}
