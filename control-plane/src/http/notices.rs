//! What the operator is told of callers' requests that were answered well and still look like a mistake in the settings.
//!
//! Each line is written at most once in an interval, because callers decide how often there is a reason for it. No line
//! holds anything of a request.

use tokio::time::Instant;

use crate::log_throttle::LogThrottle;

/// The lines, each with what is kept so that it is not repeated.
#[derive(Debug, Default)]
pub struct Notices {
    unknown_user: LogThrottle,
    without_user: LogThrottle,
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
}
