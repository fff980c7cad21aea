//! `POST /internal/v1/explain`: why a token is accepted or not, and which revocations are stored under its keys.

use std::sync::Arc;

use axum::extract::State;
use curfew_core::wire::CheckVerdict;
use curfew_core::{ProvenToken, TokenError, Unproven};
use serde::Deserialize;
use tokio::time::timeout;

use crate::explain::{Broken, Explanation, Kept, Read};
use crate::http::extract::Json;
use crate::http::problem::ApiError;
use crate::http::state::AppState;

/// The path of an explanation.
pub(in crate::http) const EXPLAIN_PATH: &str = "/internal/v1/explain";

/// The token to explain. No `Debug`: it holds a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Question {
    token: String,
}

/// Checks the token, by newer keys if those that are known do not serve. A refusal is nobody's failed attempt.
async fn prove(state: &AppState, text: &[u8]) -> Result<ProvenToken, TokenError> {
    let mut proven = state.prove(text);
    if let Err(Unproven { newer_keys: Some(issuer), .. }) = proven {
        state.keys.demand(issuer).await;
        proven = state.prove(text);
    }
    proven.map_err(|unproven| unproven.error)
}

/// Explains a token. It changes nothing, and it is no admission.
pub(in crate::http) async fn explain(
    State(state): State<Arc<AppState>>,
    Json(Question { token }): Json<Question>,
) -> Result<axum::Json<Explanation>, ApiError> {
    let text = token.trim().as_bytes();
    let proven = prove(&state, text).await;
    let refusal = proven.as_ref().err().map(Broken::from);
    let read = match proven {
        Ok(token) => Some(Read::by_proof(token, &state.keys.current())),
        Err(_) => Read::without_proof(text, &state.policy),
    };
    let Some(Read { keys, times, told }) = read else {
        return Ok(axum::Json(Explanation { accepted: false, revoked: None, refusal, token: None, stored: None }));
    };
    let asked = timeout(state.check_timeout, state.records.explain(&keys, times.cutoff_time)).await;
    let explained = asked.unwrap_or_else(|_| Err(state.records.late()))?;
    let (accepted, revoked) = (refusal.is_none(), explained.verdict == CheckVerdict::Revoked);
    let stored = Some(Kept::of(explained, state.leases.list()));
    Ok(axum::Json(Explanation { accepted, revoked: Some(revoked), refusal, token: Some(told), stored }))
}
