//! `POST /internal/v1/check`: is the token with these keys revoked? The filter's question.
//!
//! Redis may answer "revoked"; every other verdict comes from the database. One deadline holds for both together, and a slow
//! Redis takes little of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use curfew_core::TokenKeys;
use curfew_core::wire::{CheckAnswer, CheckRequest, CheckVerdict};
use tokio::time::timeout;

use super::disagreement::keyspace_unknown;
use crate::http::counters::CheckLabels;
use crate::http::extract::Json;
use crate::http::problem::ApiError;
use crate::http::state::AppState;
use crate::store::Checked;

/// How long a check waits for Redis before it asks the database as well: much longer than a Redis nearby takes, and a
/// small part of the time for a check.
const HEAD_START: Duration = Duration::from_millis(25);

pub(in crate::http) async fn check(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    Json(request): Json<CheckRequest>,
) -> Result<axum::Json<CheckAnswer>, ApiError> {
    let answer = answer(&state, &headers, &request).await;
    let verdict = match &answer {
        Ok(CheckAnswer { verdict: CheckVerdict::Active, .. }) => "active",
        Ok(CheckAnswer { verdict: CheckVerdict::Revoked, .. }) => "revoked",
        Err(error) => error.code(),
    };
    state.counters.checks.get_or_create(&CheckLabels { verdict }).inc();
    answer.map(axum::Json)
}

async fn answer(state: &AppState, headers: &HeaderMap, request: &CheckRequest) -> Result<CheckAnswer, ApiError> {
    // With an unknown keyspace, the keys are keys that no logout here would ever write: "active" would be a bypass.
    if !state.policy.knows(request.keyspace) {
        return Err(keyspace_unknown(state, headers));
    }
    let keys = TokenKeys { token: request.token, jti: request.jti, session: request.session, subject: request.subject };
    let asked = timeout(state.check_timeout, ask(state, keys, request.issued_at)).await;
    let checked = asked.unwrap_or_else(|_| Err(state.records.late()))?;
    Ok(CheckAnswer {
        epoch: checked.head.epoch.to_string(),
        seq: checked.head.seq,
        keys_seq: checked.keys_seq,
        verdict: checked.verdict,
        same_second: checked.same_second,
    })
}

/// Asks Redis; and the database as well, as soon as Redis has no answer or is slow.
async fn ask(state: &AppState, keys: TokenKeys, issued_at: Option<i64>) -> Result<Checked, ApiError> {
    let redis_copy = state.redis_copy.clone();
    let mut redis = Box::pin(async move { redis_copy.ask(&keys, issued_at).await });
    let mut database = pin!(ask_database(state, &keys, issued_at));
    match timeout(HEAD_START, &mut redis).await {
        Ok(Some(checked)) => return Ok(checked),
        Ok(None) => return database.await,
        Err(_) => {}
    }
    // The task goes on after the check has been answered, so that the copy in Redis finds out that Redis is too slow.
    let mut redis = tokio::spawn(redis);
    tokio::select! {
        answer = &mut database => match answer {
            Ok(checked) => Ok(checked),
            Err(error) => redis.await.ok().flatten().ok_or(error),
        },
        found = &mut redis => match found {
            Ok(Some(checked)) => Ok(checked),
            _ => database.await,
        },
    }
}

async fn ask_database(state: &AppState, keys: &TokenKeys, issued_at: Option<i64>) -> Result<Checked, ApiError> {
    let checked = state.records.check(keys, issued_at).await?;
    state.redis_copy.observe(checked.head);
    Ok(checked)
}
