//! `GET /api/v2/logout/status/{id}`: the progress of a logout that was answered early. Any control plane can answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::timeout;

use crate::http::extract::PathParameter;
use crate::http::problem::ApiError;
use crate::http::state::AppState;

/// How long the caller waits for a logout that is about to be in force: this control plane may have to read the rows of the
/// others first.
const SOON: Duration = Duration::from_millis(100);

/// The progress of a logout.
#[derive(Serialize)]
struct Progress {
    /// True if no worker admits the token any more.
    complete: bool,
    /// The workers with a lease from the control plane that answers.
    workers: Workers,
}

#[derive(Serialize)]
struct Workers {
    applied: usize,
    of: usize,
}

pub(in crate::http) async fn status(
    State(state): State<Arc<AppState>>,
    PathParameter(ticket): PathParameter,
) -> Result<Response, ApiError> {
    let mut pending = state.entrances.redeem(&ticket).ok_or(ApiError::NotFound)?;
    // A timeout is not a failure: the answer says that the logout is not complete.
    let _ = timeout(SOON, pending.confirmed()).await;
    let (applied, of) = state.leases.applied(&pending);
    let complete = pending.is_confirmed();
    let mut response = Json(Progress { complete, workers: Workers { applied, of } }).into_response();
    if !complete {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}
