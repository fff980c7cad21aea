//! Counts the calls of entrances, and limits their failures.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Once};

use axum::extract::Request;
use axum::http::StatusCode;
use curfew_core::{Denial, TokenError};
use tracing::warn;

use super::{Entrance, LoggedOut};
use crate::abuse::LimitLabels;
use crate::abuse::attempts::{Attempt, TooMany};
use crate::abuse::source::Source;
use crate::http::connection::Peer;
use crate::http::counters::LogoutLabels;
use crate::http::problem::ApiError;
use crate::http::state::AppState;

/// A call under way. It counts as a failed attempt if it is dropped before its end, after the check of its signature
/// has begun: a caller that hangs up then has cost as much as one that fails.
pub(super) struct Watch<'a> {
    entrance: &'a Entrance,
    state: Arc<AppState>,
    attempt: Arc<Attempt>,
    ended: bool,
}

impl<'a> Watch<'a> {
    /// Begins the call, and adds the attempt to the request for the extractor that authenticates the caller.
    pub(super) fn begin(entrance: &'a Entrance, state: &Arc<AppState>, request: &mut Request) -> Self {
        let attempt = Arc::new(Attempt::from(entrance.source(request)));
        request.extensions_mut().insert(Arc::clone(&attempt));
        Self { entrance, state: Arc::clone(state), attempt, ended: false }
    }

    pub(super) const fn attempt(&self) -> &Arc<Attempt> {
        &self.attempt
    }

    /// Counts how the call has ended, notes a refusal for the log, and replaces it by 429 if too many attempts have failed.
    pub(super) fn end(mut self, outcome: Result<LoggedOut, ApiError>) -> Result<LoggedOut, ApiError> {
        self.ended = true;
        let error = match outcome {
            Ok(logged_out) => {
                self.count("ok");
                return Ok(logged_out);
            }
            Err(error) => error,
        };
        let limited = if is_failed_attempt(&error) { self.limit(&error) } else { None };
        // If a 429 replaces the error, the error's code becomes the reason in the log.
        let reason = error.reason().or(limited.is_some().then_some(error.code()));
        let told = limited.unwrap_or(error);
        self.state.failures.record(told.code(), reason);
        self.count(told.code());
        Err(told)
    }

    fn count(&self, outcome: &'static str) {
        let labels = LogoutLabels { endpoint: self.entrance.name, outcome };
        self.state.counters.logouts.get_or_create(&labels).inc();
    }

    /// Counts a failed attempt; returns the error for its caller if there have been too many.
    fn limit(&self, error: &ApiError) -> Option<ApiError> {
        let token = self.attempt.token().filter(|_| is_about_a_token(error));
        let TooMany { by, retry_after } = self.state.attempts.failed(&self.attempt.source, token).err()?;
        self.state.abuse_counters.limited.get_or_create(&LimitLabels { by }).inc();
        // Rounded up, so that a caller that waits that long has waited long enough.
        Some(ApiError::TooManyFailures(retry_after.as_secs().saturating_add(1)))
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.ended && self.attempt.counts_unanswered() {
            // There is no caller left to be told.
            let _ = self.state.attempts.failed(&self.attempt.source, None);
        }
    }
}

/// True if the request carried a credential and it was refused, or carried none. A good token or a right application's
/// key without a user is not a failed attempt.
fn is_failed_attempt(error: &ApiError) -> bool {
    error.status() == StatusCode::UNAUTHORIZED && !matches!(error, ApiError::UserIdMissing)
}

/// True if the error is about a token that got as far as its signature.
fn is_about_a_token(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::Token(TokenError::Signature)
            | ApiError::Denied(Denial::Revoked)
            | ApiError::RevokedUnregistered { .. }
    )
}

impl Entrance {
    fn source(&self, request: &Request) -> Source {
        let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
        if self.proxies == Some(0) && request.headers().contains_key("x-forwarded-for") {
            warn_of_forwarded_requests();
        }
        Source::of(peer, request.headers(), self.proxies.unwrap_or(0))
    }
}

/// Warns once of a missing setting: without it, all clients behind a proxy are one source.
fn warn_of_forwarded_requests() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        warn!(
            "logouts arrive with X-Forwarded-For, but CURFEW_TRUSTED_PROXIES is 0: the failures of all clients behind a \
             proxy count as its own"
        );
    });
}
