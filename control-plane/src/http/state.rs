//! What the handlers share.

use std::sync::Arc;
use std::time::Duration;

use curfew_core::{Policy, ProvenToken, TokenError, verify_natively};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::ApiError;
use super::counters::{Counters, RefusalLabels};
use crate::abuse::attempts::{Attempt, FailedAttempts};
use crate::abuse::lanes::{NotChecked, Verification};
use crate::abuse::summary::FailedLogouts;
use crate::abuse::{self, LaneLabels, VerificationLabels};
use crate::clock::Clock;
use crate::keys::Keys;
use crate::leases::Leases;
use crate::log_throttle::LogThrottle;
use crate::logout::Logouts;
use crate::redis_copy::RedisCopy;
use crate::secret::{AppCredentials, Secret};
use crate::store::command::Unavailable;
use crate::store::{self, ReadFailure, Store};

/// The shared parts of the control plane, made once at start.
pub struct AppState {
    /// Which tokens are accepted.
    pub policy: Policy,
    /// The keys that tokens are verified with.
    pub keys: Keys,
    /// What is stored.
    pub store: Store,
    /// The leases of workers.
    pub leases: Arc<Leases>,
    /// The way from a commit to an answer.
    pub logouts: Logouts,
    /// The copy of the revocations in Redis.
    pub redis_copy: RedisCopy,
    /// The wall clock.
    pub clock: Clock,
    /// What is counted of requests.
    pub counters: Counters,
    /// What is counted of limits and lanes.
    pub abuse_counters: abuse::Counters,
    /// What is counted of the store.
    pub store_counters: store::Counters,
    /// Shows all that is counted.
    pub registry: Registry,
    /// What callers of `/internal/v1/...` must know.
    pub internal_secret: Secret,
    /// What callers of `lgt-all` must know.
    pub app: AppCredentials,
    /// Refused logouts, for the log.
    pub failures: FailedLogouts,
    /// How often logouts may fail before they are told 429.
    pub attempts: FailedAttempts,
    /// How many proxies of our own stand before the public listener and write `X-Forwarded-For`.
    pub trusted_proxies: usize,
    /// Where the signatures of logouts are checked.
    pub verification: Verification,
    /// Failed reads, for the log.
    pub read_failures: LogThrottle,
    /// How long a check may take, Redis and the database together.
    pub check_timeout: Duration,
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
        self.counted(self.policy.prove(text, self.clock.now(), &self.keys.current(), verify_natively))
    }

    /// [`Self::prove`] for whoever cannot be made to slow down: what is cheap is done here, and a signature that is not
    /// waits for its turn in a lane.
    ///
    /// # Errors
    ///
    /// The first rule that the token breaks; or there was no place in the lane, or no turn within half the time for a
    /// request, and nothing is known about the token.
    pub async fn prove_in_turn(self: &Arc<Self>, attempt: &Attempt, text: &[u8]) -> Result<ProvenToken, ApiError> {
        let mut costly = false;
        let proven = self.policy.prove(text, self.clock.now(), &self.keys.current(), |check| {
            // Only algorithms with a shared secret have a shortest one, and a MAC is as cheap as all that came before.
            costly |= check.key.algorithm().minimum_secret().is_none();
            !costly && verify_natively(check)
        });
        if !costly {
            return Ok(self.counted(proven)?);
        }
        let is_suspect = self.attempts.is_suspect(&attempt.source);
        let (lane, proven) = match self.verification.place(&attempt.source, is_suspect) {
            Err(full) => ("suspect", Err(full)),
            Ok(place) => {
                let (state, text) = (Arc::clone(self), text.to_vec());
                (place.lane, place.run(self.request_timeout / 2, || attempt.begin(), move || state.prove(&text)).await)
            }
        };
        let outcome = match &proven {
            Ok(Ok(_)) => "accepted",
            Ok(Err(_)) | Err(NotChecked::Panicked) => "refused",
            Err(NotChecked::Full) => "full",
            Err(NotChecked::Late) => "late",
        };
        self.abuse_counters.verifications.get_or_create(&VerificationLabels { lane, outcome }).inc();
        match proven {
            Ok(proven) => Ok(proven?),
            Err(NotChecked::Full | NotChecked::Late) => Err(ApiError::Write(Unavailable::NotWritten)),
            Err(NotChecked::Panicked) => Err(ApiError::Internal),
        }
    }

    fn counted(&self, proven: Result<ProvenToken, TokenError>) -> Result<ProvenToken, TokenError> {
        if let Err(error) = &proven {
            let reason = error.reason();
            self.counters.tokens_refused.get_or_create(&RefusalLabels { reason }).inc();
        }
        proven
    }

    /// How long a logout may take to be answered: the time of any request, and the time that a lease may take to end.
    pub fn logout_timeout(&self) -> Duration {
        self.request_timeout.saturating_add(self.leases.longest_wait())
    }

    /// The metrics' text, with what is only known at the moment of asking.
    ///
    /// # Errors
    ///
    /// A metric refused to be written, which would be a fault of this program's.
    pub fn measured(&self) -> Result<String, std::fmt::Error> {
        for lane in self.verification.lanes() {
            self.abuse_counters.waiting.get_or_create(&LaneLabels { lane: lane.name }).set(lane.waiting());
        }
        self.leases.measure();
        let mut written = String::new();
        text::encode(&mut written, &self.registry)?;
        Ok(written)
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
