//! How a logout that is committed is answered: when no proxy admits the token any more, or at once where the caller prefers
//! that (RFC 7240, `respond-async`), with a place to ask how far it is.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use super::ApiError;
use super::extract::PathParameter;
use super::state::AppState;
use crate::logout::{Finished, Wait};
use crate::store::command::Committed;

/// Where to ask; on the public listener.
const STATUS: &str = "/api/v2/logout/status/";

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long who asks is made to wait for a logout that is about to be in force: another control plane may have to read the
/// rows first.
const SOON: Duration = Duration::from_millis(100);

/// What the answer may be built from: in force, or durable where the caller prefers an answer at once.
///
/// # Errors
///
/// It is not known whether proxies still admit it.
pub(super) async fn finished<T>(
    state: &AppState,
    asked: &HeaderMap,
    committed: Committed<T>,
) -> Result<Finished<T>, ApiError> {
    let wait = if prefers_async(asked) { Wait::UntilDurable } else { Wait::UntilConfirmed };
    Ok(state.logouts.finish(committed, wait).await?)
}

/// Whether one of the preferences is `respond-async`; it has no value.
fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    preferences.any(|preference| {
        let name = preference.split(';').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("respond-async")
    })
}

pub(super) fn accepted(ticket: &str) -> Response {
    let place = format!("{STATUS}{ticket}");
    let body = Json(json!({"message": "Logout Accepted.", "status": place}));
    let mut response = (StatusCode::ACCEPTED, body).into_response();
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(LOCATION, place);
    }
    response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    response
}

/// How far a logout is.
#[derive(Serialize)]
struct Progress {
    /// No proxy admits the token any more.
    complete: bool,
    /// The workers with a lease from the control plane that answers.
    workers: Workers,
}

#[derive(Serialize)]
struct Workers {
    applied: usize,
    of: usize,
}

/// `GET /api/v2/logout/status/{id}`, at any control plane.
pub(super) async fn status(
    State(state): State<Arc<AppState>>,
    PathParameter(ticket): PathParameter,
) -> Result<Response, ApiError> {
    let mut pending = state.logouts.redeem(&ticket).ok_or(ApiError::NotFound)?;
    // Late is no failure: the answer says so.
    let _ = timeout(SOON, pending.confirmed()).await;
    let (applied, of) = state.leases.applied(&pending);
    let complete = pending.is_confirmed();
    let mut response = Json(Progress { complete, workers: Workers { applied, of } }).into_response();
    if !complete {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
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
