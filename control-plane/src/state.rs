//! What the handlers share.

use std::sync::Arc;
use std::time::Duration;

use curfew_core::{Policy, ProvenToken, TokenError, verify_natively};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::failures::FailedLogouts;
use crate::http::ApiError;
use crate::metrics::{Metrics, RefusalLabels};
use crate::secret::{AppCredentials, Secret};
use crate::seldom::Seldom;
use crate::store::{ReadFailure, Store};

/// The shared parts of the control plane, made once at start.
pub struct AppState {
    /// Which tokens are accepted.
    pub policy: Policy,
    /// What is stored.
    pub store: Store,
    /// The wall clock.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What callers of `/internal/v1/...` must know.
    pub internal_secret: Secret,
    /// What callers of `lgt-all` must know.
    pub app: AppCredentials,
    /// Refused logouts, for the log.
    pub failures: FailedLogouts,
    /// Failed reads, for the log.
    pub read_failures: Seldom,
    /// How long a request's body may take to arrive, and how long its answer may take after that.
    pub request_timeout: Duration,
}

impl AppState {
    /// Takes a token's text to a token that is accepted now: everything but whether it was revoked.
    ///
    /// # Errors
    ///
    /// The first rule that the token breaks; it is counted.
    pub fn prove(&self, text: &[u8]) -> Result<ProvenToken, TokenError> {
        let proven = self.policy.prove(text, self.clock.now(), verify_natively);
        if let Err(error) = &proven {
            let reason = error.reason();
            self.metrics.tokens_refused.get_or_create(&RefusalLabels { reason }).inc();
        }
        proven
    }

    /// What a client is told of a failed read. The cause goes to the log, where an outage is a line in ten seconds.
    pub fn read_failed(&self, error: &ReadFailure) -> ApiError {
        // The pool waits and retries by itself; this line is the only trace of what went wrong.
        if let Some(failures) = self.read_failures.line(Instant::now()) {
            tracing::error!(?error, failures, "the database could not be read");
        }
        ApiError::Read
    }
}
