//! One call of an entrance.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use axum::response::IntoResponse;

use super::LoggedOut;
use crate::abuse::attempts::Attempt;
use crate::http::problem::ApiError;
use crate::http::state::AppState;
use crate::logout::Wait;
use crate::store::command::Committed;
use crate::store::writer::Writer;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// One call of an entrance. It gives access to the commands that revoke, and turns what they committed into the answer.
/// Only [`super::Entrance::handled_by`] makes one.
pub struct Call {
    state: Arc<AppState>,
    attempt: Arc<Attempt>,
    headers: HeaderMap,
}

impl Call {
    pub(super) fn of(state: Arc<AppState>, attempt: Arc<Attempt>, headers: &HeaderMap) -> Self {
        Self { state, attempt, headers: headers.clone() }
    }

    /// The state that handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    pub(super) const fn shared_state(&self) -> &Arc<AppState> {
        &self.state
    }

    /// The request's headers.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The commands that revoke.
    pub fn writer(&self) -> &Writer {
        &self.state.entrances.writer
    }

    /// Waits until no worker admits what was revoked any more, and returns the answer to the caller. If the caller
    /// prefers it (RFC 7240, `respond-async`), the answer comes without that wait. `answer` turns the outcome into the
    /// answer, or into an error.
    ///
    /// # Errors
    ///
    /// It is not known whether workers still admit what was revoked; or the error of `answer`.
    pub async fn finish<T, A: IntoResponse>(
        &self,
        committed: Committed<T>,
        answer: impl FnOnce(T) -> Result<A, ApiError>,
    ) -> Result<LoggedOut, ApiError> {
        // The command has been carried out. If the caller hangs up from here on, its attempt has not failed.
        self.attempt.succeed();
        let wait = if prefers_async(&self.headers) { Wait::UntilDurable } else { Wait::UntilConfirmed };
        LoggedOut::of(self.state.entrances.logouts.finish(committed, wait).await?, answer)
    }
}

/// True if one of the preferences is `respond-async`, which takes no value.
fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    preferences.any(|preference| {
        let name = preference.split(';').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("respond-async")
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_preference_is_found_among_others() {
        for (values, expected) in [
            (vec![], false),
            (vec!["respond-async"], true),
            (vec!["Respond-Async; x=1"], true),
            (vec!["wait=10, respond-async"], true),
            (vec!["handling=lenient", "respond-async , wait=1"], true),
            (vec!["return=respond-async"], false),
            (vec!["respond-asynchronously"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            assert_eq!(prefers_async(&headers), expected, "{values:?}");
        }
    }
}
