//! `GET /internal/v1/users/{id}/sessions`: which tokens of a user are known and unexpired.

use std::sync::Arc;

use axum::extract::State;
use curfew_core::is_identifier;
use serde::Deserialize;

use crate::http::extract::{PathParameter, QueryParameters};
use crate::http::problem::ApiError;
use crate::http::state::AppState;
use crate::store::sessions::{SessionList, SessionQuery};

const DEFAULT_LIMIT: i64 = 100;
const MAX_LIMIT: i64 = 1000;

/// The query's parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Parameters {
    issuer: Option<String>,
    limit: Option<i64>,
}

pub(in crate::http) async fn list(
    State(state): State<Arc<AppState>>,
    PathParameter(user): PathParameter,
    QueryParameters(Parameters { issuer, limit }): QueryParameters<Parameters>,
) -> Result<axum::Json<SessionList>, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::Malformed(format!("limit must be 1 to {MAX_LIMIT}.")));
    }
    if !is_identifier(&user) {
        return Err(ApiError::Malformed("A user id has 1 to 256 bytes and no control characters.".to_owned()));
    }
    if issuer.as_ref().is_some_and(|issuer| issuer.chars().any(char::is_control)) {
        return Err(ApiError::Malformed("An issuer has no control characters.".to_owned()));
    }
    let query = SessionQuery { user, issuer, limit };
    let sessions = state.records.sessions(&query, state.clock.now()).await?;
    Ok(axum::Json(SessionList { user_id: query.user, sessions }))
}
