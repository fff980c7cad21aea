//! `POST /internal/v1/check`: is the token with these keys revoked? The filter's question.
//!
//! Redis may answer "revoked". Everything else is the database's to say.

use std::sync::Arc;

use axum::extract::State;
use curfew_core::TokenKeys;
use curfew_core::wire::{CheckAnswer, CheckRequest, CheckVerdict};

use super::ApiError;
use super::extract::Json;
use crate::metrics::CheckLabels;
use crate::state::AppState;
use crate::store::Checked;

pub(super) async fn check(
    State(state): State<Arc<AppState>>,
    Json(request): Json<CheckRequest>,
) -> Result<axum::Json<CheckAnswer>, ApiError> {
    let answer = answer(&state, &request).await;
    let verdict = match &answer {
        Ok(CheckAnswer { verdict: CheckVerdict::Active, .. }) => "active",
        Ok(CheckAnswer { verdict: CheckVerdict::Revoked, .. }) => "revoked",
        Err(error) => error.code(),
    };
    state.metrics.checks.get_or_create(&CheckLabels { verdict }).inc();
    answer.map(axum::Json)
}

async fn answer(state: &AppState, request: &CheckRequest) -> Result<CheckAnswer, ApiError> {
    // Keys of a rule that is unknown here are keys that no logout here would ever write: "active" would be a bypass.
    if !state.policy.knows(request.keyspace) {
        return Err(ApiError::KeyspaceUnknown);
    }
    let keys = TokenKeys { token: request.token, jti: request.jti, session: request.session, subject: request.subject };
    let checked = match state.blacklist.ask(&keys, request.issued_at).await {
        Some(checked) => checked,
        None => ask_database(state, &keys, request.issued_at).await?,
    };
    Ok(CheckAnswer {
        epoch: checked.head.epoch.to_string(),
        seq: checked.head.seq.unsigned_abs(),
        verdict: checked.verdict,
    })
}

async fn ask_database(state: &AppState, keys: &TokenKeys, issued_at: Option<i64>) -> Result<Checked, ApiError> {
    let checked = state.store.check(keys, issued_at).await.map_err(|error| state.read_failed(&error))?;
    state.blacklist.observe(checked.head);
    Ok(checked)
}
