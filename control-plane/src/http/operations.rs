//! What operators and their machines ask: is it alive, is it ready, what has it counted, what does it offer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::{ApiError, OPENAPI};
use crate::state::AppState;

/// Shorter than a prober's usual patience of a second or more.
const READY_TIMEOUT: Duration = Duration::from_millis(900);

/// 200 while the process answers at all: a restart would mend nothing that `readyz` complains about.
pub(super) async fn livez() -> axum::Json<Value> {
    axum::Json(json!({"status": "ok"}))
}

/// 200 if the database can be read and the writer lives. Redis is not needed for either, so it is only told about.
pub(super) async fn readyz(State(state): State<Arc<AppState>>) -> Result<axum::Json<Value>, ApiError> {
    if !state.store.writer().is_alive() {
        return Err(ApiError::NotReady("The writer has stopped."));
    }
    let head = tokio::time::timeout(READY_TIMEOUT, state.store.head())
        .await
        .map_err(|_| ApiError::NotReady("The database did not answer in time."))?
        .map_err(|error| state.read_failed(&error))?;
    state.metrics.feed_reaches(head.seq);
    Ok(axum::Json(match state.blacklist.is_up() {
        None => json!({"status": "ok"}),
        Some(true) => json!({"status": "ok", "redis": "ok"}),
        Some(false) => json!({"status": "ok", "redis": "degraded: checks ask the database; nothing is lost"}),
    }))
}

/// The metrics in OpenMetrics text.
pub(super) async fn metrics(State(state): State<Arc<AppState>>) -> Result<impl IntoResponse, ApiError> {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = state.measured().map_err(|_| ApiError::Internal)?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text))
}

/// The description of both listeners.
pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}
