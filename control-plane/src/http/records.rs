//! The stored records, for endpoints that revoke nothing: reads, and the registration of tokens.
//!
//! The commands that revoke are not in here. Only an entrance has those ([`super::Entrances`]).

use std::io::ErrorKind;

use curfew_core::TokenKeys;
use tokio::time::Instant;

use super::problem::ApiError;
use crate::log::LogPosition;
use crate::log_throttle::LogThrottle;
use crate::store::command::{Registered, Registration};
use crate::store::sessions::{Session, SessionQuery};
use crate::store::{Checked, Explained, ReadFailure, Store};

/// A store without its commands that revoke.
pub struct Records {
    store: Store,
    /// Failed reads, for the log.
    failures: LogThrottle,
}

impl Records {
    /// The records of this store.
    pub fn of(store: Store) -> Self {
        Self { store, failures: LogThrottle::default() }
    }

    /// Whether the token with these keys is revoked.
    pub(super) async fn check(&self, keys: &TokenKeys, issued_at: Option<i64>) -> Result<Checked, ApiError> {
        self.store.check(keys, issued_at).await.map_err(|error| self.failed(&error))
    }

    /// What is stored about the token with these keys.
    pub(super) async fn explain(&self, keys: &TokenKeys, cutoff_time: Option<i64>) -> Result<Explained, ApiError> {
        self.store.explain(keys, cutoff_time).await.map_err(|error| self.failed(&error))
    }

    /// A user's sessions that are unexpired at `now`.
    pub(super) async fn sessions(&self, query: &SessionQuery, now: i64) -> Result<Vec<Session>, ApiError> {
        self.store.sessions(query, now).await.map_err(|error| self.failed(&error))
    }

    /// The log's head.
    pub(super) async fn head(&self) -> Result<LogPosition, ApiError> {
        self.store.head().await.map_err(|error| self.failed(&error))
    }

    /// Whether commands are carried out, as far as the last attempt shows.
    pub(super) fn is_writable(&self) -> bool {
        self.store.is_writable()
    }

    /// Records tokens at their issue, all or none.
    pub(super) async fn register(&self, tokens: Vec<Registration>) -> Result<Registered, ApiError> {
        Ok(self.store.writer().register(tokens).await?)
    }

    /// The error for a read that took too long.
    pub(super) fn late(&self) -> ApiError {
        self.failed(&std::io::Error::from(ErrorKind::TimedOut).into())
    }

    /// The error for a failed read. The cause goes to the control plane's log.
    pub(super) fn failed(&self, error: &ReadFailure) -> ApiError {
        if !self.store.explains(error)
            && let Some(failures) = self.failures.line(Instant::now())
        {
            tracing::error!(error = error.cause(), failures, "the database could not be read");
        }
        ApiError::Read
    }
}
