//! The answer that says "logged out".

use axum::Json;
use axum::http::header::LOCATION;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::http::problem::ApiError;
use crate::http::routes::STATUS_PATH;
use crate::logout::Finished;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The success answer of an entrance. Only a [`Finished`] makes one: no worker admits what was revoked any more, or the
/// caller has preferred an answer as soon as the revocation is durable.
#[derive(Debug)]
pub struct LoggedOut {
    response: Response,
    /// The caller's own session goes on.
    caller_stays: bool,
}

impl LoggedOut {
    /// `answer` judges the outcome in both cases: for a token that was revoked before, the early answer is an error,
    /// too.
    pub(super) fn of<T, A: IntoResponse>(
        finished: Finished<T>,
        answer: impl FnOnce(T) -> Result<A, ApiError>,
    ) -> Result<Self, ApiError> {
        let response = match finished {
            Finished::Confirmed(confirmed) => answer(confirmed.into_outcome())?.into_response(),
            Finished::Accepted(accepted) => {
                let (outcome, ticket) = accepted.into_parts();
                answer(outcome)?;
                early(&ticket)
            }
        };
        Ok(Self { response, caller_stays: false })
    }

    /// The same answer to a caller that has logged others out, and not itself.
    #[must_use]
    pub(in crate::http) fn but_the_caller_stays(self) -> Self {
        Self { caller_stays: true, ..self }
    }

    /// True if the caller's own session goes on, and what its browser holds is still needed.
    pub(super) const fn caller_stays(&self) -> bool {
        self.caller_stays
    }
}

impl IntoResponse for LoggedOut {
    fn into_response(self) -> Response {
        self.response
    }
}

/// The early answer. It names the path where the caller can ask for the logout's progress.
fn early(ticket: &str) -> Response {
    let status = STATUS_PATH.replace("{id}", ticket);
    let body = Json(json!({"message": "Logout Accepted.", "status": status}));
    let mut response = (StatusCode::ACCEPTED, body).into_response();
    if let Ok(status) = HeaderValue::from_str(&status) {
        response.headers_mut().insert(LOCATION, status);
    }
    response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    response
}
