//! Counters of requests and their answers.
//!
//! Labels hold stable codes and routes, never anything that a client made up or that names a user.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

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

/// Labels of `curfew_checks`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CheckLabels {
    /// `active`, `revoked`, `keyspace_unknown` or `unavailable`.
    pub verdict: &'static str,
}

/// The counts; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// HTTP requests answered.
    pub requests: Family<RequestLabels, Counter>,
    /// Calls of the logout endpoints.
    pub logouts: Family<LogoutLabels, Counter>,
    /// Tokens that were refused, by reason.
    pub tokens_refused: Family<RefusalLabels, Counter>,
    /// Checks answered.
    pub checks: Family<CheckLabels, Counter>,
    /// Tokens registered for the first time.
    pub tokens_registered: Counter,
    /// Registered tokens that were revoked already.
    pub tokens_registered_revoked: Counter,
    /// Handlers that panicked.
    pub panics: Counter,
}

impl Counters {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("http_requests", "Requests answered, by route and class of status", self.requests.clone());
        registry.register("logouts", "Calls of the logout endpoints, by endpoint and outcome", self.logouts.clone());
        registry.register("tokens_refused", "Tokens refused, by the rule they broke", self.tokens_refused.clone());
        registry.register("checks", "Checks asked by proxies, by verdict", self.checks.clone());
        registry.register("tokens_registered", "Tokens registered for the first time", self.tokens_registered.clone());
        registry.register(
            "tokens_registered_revoked",
            "Registered tokens that were revoked already",
            self.tokens_registered_revoked.clone(),
        );
        registry.register("panics", "Requests that ended in a panic", self.panics.clone());
    }
}
