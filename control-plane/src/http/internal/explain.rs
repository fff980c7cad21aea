//! `POST /internal/v1/explain`: why a token is accepted or not, which revocations are stored under its keys, and what a filter
//! would answer to a request with it.

mod asked;
mod rehearse;

use std::sync::Arc;

use axum::extract::State;
use curfew_core::wire::CheckVerdict;
use curfew_core::{ProvenToken, TokenError, Unproven};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::explain::{Broken, Explanation, HeldBack, Kept, Read, Told};
use crate::http::extract::Json;
use crate::http::problem::ApiError;
use crate::http::state::AppState;
use asked::{Asked, Sent};

/// The path of an explanation.
pub(in crate::http) const EXPLAIN_PATH: &str = "/internal/v1/explain";

/// The token to explain. No `Debug`: it holds a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Question {
    token: String,
    /// A filter's configuration, as an object or as its text.
    filter: Option<Value>,
    /// The request that the filter would get.
    request: Option<Sent>,
}

/// Explains a token. It changes nothing, and it is no admission.
pub(in crate::http) async fn explain(
    State(state): State<Arc<AppState>>,
    Json(Question { token, filter, request }): Json<Question>,
) -> Result<axum::Json<Explanation>, ApiError> {
    let asked = Asked::read(filter, request)?;
    let token = token.trim();
    let mut explanation = explained(&state, token.as_bytes()).await?;
    if let Some(asked) = asked {
        explanation.filter = Some(rehearse::rehearse(&state, token, asked).await?);
    }
    Ok(axum::Json(explanation))
}

async fn explained(state: &AppState, text: &[u8]) -> Result<Explanation, ApiError> {
    let proven = prove(state, text).await;
    let refusal = proven.as_ref().err().map(Broken::from);
    let (read, place) = match proven {
        Ok(token) => {
            let place = token.key.issuer();
            (Some(Read::by_proof(token, &state.keys.current())), Some(place))
        }
        Err(_) => (Read::without_proof(text, &state.policy), None),
    };
    let Some(Read { keys, times, mut told }) = read else { return Ok(Explanation::unread(refusal)) };
    let asked = timeout(state.check_timeout, state.records.explain(&keys, times.cutoff_time)).await;
    let explained = asked.unwrap_or_else(|_| Err(state.records.late()))?;
    let held_back = match place {
        Some(place) => {
            name_set(state, &mut told, place).await?;
            None
        }
        None => held_back(state, text, &told.issuer).await?,
    };
    let (accepted, revoked) = (refusal.is_none(), Some(explained.verdict == CheckVerdict::Revoked));
    let stored = Some(Kept::of(explained, state.leases.list(), state.leases.others()));
    Ok(Explanation { accepted, revoked, refusal, token: Some(told), stored, held_back, filter: None })
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

/// Says which set has the key that has proven the token: that of the issuer at this place.
async fn name_set(state: &AppState, told: &mut Told, place: usize) -> Result<(), ApiError> {
    let reports = state.keys.reports().await.map_err(|error| state.records.failed(&error))?;
    if let (Some(key), Some(set)) = (&mut told.key, reports.sets.into_iter().nth(place)) {
        (key.source, key.changed_at) = (Some(set.source), set.changed_at);
    }
    Ok(())
}

/// The key that is out of force, if that is why the token is not accepted.
async fn held_back(state: &AppState, text: &[u8], issuer: &str) -> Result<Option<HeldBack>, ApiError> {
    let now = state.clock.moment().now;
    let key = state.keys.out_of_force(text, issuer, &state.policy, now).await;
    let key = key.map_err(|error| state.records.failed(&error))?;
    Ok(key.and_then(|key| {
        let (word, since) = key.standing.told();
        let (state, since) = (word.to_owned(), since?);
        Some(HeldBack { kid: key.kid, thumbprint: key.thumbprint, state, since, signed: key.signed })
    }))
}
