//! What the operator is told of callers' requests that were answered well and still look like a mistake in the settings.
//!
//! Each line is written at most once in an interval, because callers decide how often there is a reason for it. No line
//! holds anything of a request.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use curfew_core::Differences;
use tokio::time::Instant;

use crate::log_throttle::LogThrottle;

/// The lines, each with what is kept so that it is not repeated.
#[derive(Debug, Default)]
pub struct Notices {
    unknown_user: LogThrottle,
    without_user: LogThrottle,
    /// One for each cause: a second filter with another mistake is told of too. There are 64 at most.
    disagreements: Mutex<BTreeMap<Differences, LogThrottle>>,
}

impl Notices {
    /// A user was logged out of whom no token is known.
    pub(super) fn unknown_user(&self, user_claim: &str) {
        if let Some(calls) = self.unknown_user.line(Instant::now()) {
            tracing::warn!(
                calls,
                user_claim,
                "lgt-all: no token of this user is known: is user_id what the tokens have in the user claim?"
            );
        }
    }

    /// A call has registered tokens that name no user.
    pub(super) fn without_user(&self, user_claim: &str) {
        if let Some(calls) = self.without_user.line(Instant::now()) {
            tracing::warn!(
                calls,
                user_claim,
                "tokens were registered that name no user: a logout of all devices does not reach them"
            );
        }
    }

    /// A question was refused, because these settings of the filter are not the control plane's.
    pub(super) fn disagreement(&self, differences: Differences) {
        let mut causes = self.disagreements.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(questions) = causes.entry(differences).or_default().line(Instant::now()) {
            let differs = match differences.is_empty() {
                true => "unknown: the filter has not said".to_owned(),
                false => differences.to_string(),
            };
            tracing::warn!(questions, differs, "a filter has other settings, and its questions are refused with 409");
        }
    }
}
