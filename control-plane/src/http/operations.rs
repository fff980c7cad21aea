//! What operators and their machines ask: is it alive, is it ready, what has it counted, what does it offer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::state::AppState;
use super::{ApiError, OPENAPI};

/// 200 while the process answers at all: a restart would mend nothing that `readyz` complains about.
pub(super) async fn livez() -> axum::Json<Value> {
    axum::Json(json!({"status": "ok"}))
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
