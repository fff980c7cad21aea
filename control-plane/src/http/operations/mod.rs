//! What operators and their machines ask: is the process alive, is it ready, what has it counted, which endpoints has it?

mod ready;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::http::state::AppState;

use crate::http::problem::ApiError;
pub(in crate::http) use ready::readyz;

/// The document that describes both listeners.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// 200 while the process answers at all: a restart would not cure anything that `readyz` reports.
pub(in crate::http) async fn livez() -> axum::Json<Value> {
    axum::Json(json!({"status": "ok"}))
}

/// The metrics in OpenMetrics text.
pub(in crate::http) async fn metrics(State(state): State<Arc<AppState>>) -> Result<impl IntoResponse, ApiError> {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = state.measured().map_err(|_| ApiError::Internal)?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text))
}

/// The description of both listeners.
pub(in crate::http) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}
