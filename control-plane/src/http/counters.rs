//! Counters of requests and their answers.
//!
//! Labels hold stable codes and routes, never anything that a client made up or that names a user.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
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

/// Labels of `curfew_tokens_refused` and `curfew_internal_secret_refused`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    /// The rule that the token broke; for the secret `missing` or `wrong`.
    pub reason: &'static str,
}

/// Labels of `curfew_checks`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CheckLabels {
    /// `active`, `revoked`, `keyspace_unknown` or `unavailable`.
    pub verdict: &'static str,
}

/// Labels of `curfew_connections`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConnectionLabels {
    /// `public` or `internal`.
    pub listener: &'static str,
    /// `silent` (never sent a request), `idle` or `busy`.
    pub state: &'static str,
}

/// Labels of `curfew_connections_closed`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClosedLabels {
    /// `public` or `internal`.
    pub listener: &'static str,
    /// `crowded`, `late` or `share`.
    pub reason: &'static str,
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
    /// Tokens in registrations that name no user.
    pub tokens_without_user: Counter,
    /// Registered tokens that were revoked already.
    pub tokens_registered_revoked: Counter,
    /// Handlers that panicked.
    pub panics: Counter,
    /// Calls of the internal listener without the secret, or with another one.
    pub internal_secret_refused: Family<RefusalLabels, Counter>,
    /// Open connections.
    pub connections: Family<ConnectionLabels, Gauge>,
    /// Connections that were closed to keep room for others.
    pub connections_closed: Family<ClosedLabels, Counter>,
}

impl Counters {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("http_requests", "Requests answered, by route and class of status", self.requests.clone());
        registry.register("logouts", "Calls of the logout endpoints, by endpoint and outcome", self.logouts.clone());
        registry.register("tokens_refused", "Tokens refused, by the rule they broke", self.tokens_refused.clone());
        registry.register("checks", "Checks asked by proxies, by verdict", self.checks.clone());
        registry.register("tokens_registered", "Tokens registered for the first time", self.tokens_registered.clone());
        let nobodys = self.tokens_without_user.clone();
        registry.register("tokens_without_user", "Tokens in registrations that name no user", nobodys);
        registry.register(
            "tokens_registered_revoked",
            "Registered tokens that were revoked already",
            self.tokens_registered_revoked.clone(),
        );
        registry.register("panics", "Requests that ended in a panic", self.panics.clone());
        self.begin();
        let refused = "Calls of the internal listener without the secret, or with another one";
        registry.register("internal_secret_refused", refused, self.internal_secret_refused.clone());
        registry.register("connections", "Open connections, by listener and state", self.connections.clone());
        let closed = "Connections closed, or not taken, to keep room for others";
        registry.register("connections_closed", closed, self.connections_closed.clone());
    }

    /// Shows the series of alarms from the beginning: of a series that appears with its first count, an alert misses that
    /// count.
    fn begin(&self) {
        for reason in ["missing", "wrong"] {
            let _ = self.internal_secret_refused.get_or_create(&RefusalLabels { reason });
        }
        for listener in ["public", "internal"] {
            for reason in ["crowded", "late", "share"] {
                let _ = self.connections_closed.get_or_create(&ClosedLabels { listener, reason });
            }
        }
    }
}
