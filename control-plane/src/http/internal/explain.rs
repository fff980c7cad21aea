//! `POST /internal/v1/explain`: why a token is accepted or not, which revocations are stored under its keys, and what a filter
//! would answer to a request with it.

mod asked;
mod rehearse;
mod remarks;

use std::sync::Arc;

use axum::extract::State;
use curfew_core::wire::CheckVerdict;
use curfew_core::{ProvenToken, TokenError, Unproven};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::explain::{Broken, Explanation, HeldBack, Kept, Read, Told, WithoutKeys};
use crate::http::extract::Json;
use crate::http::problem::ApiError;
use crate::http::state::AppState;
use asked::{Asked, Place, Sent};

/// The path of an explanation.
pub(in crate::http) const EXPLAIN_PATH: &str = "/internal/v1/explain";

/// The token to explain. No `Debug`: it holds a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Question {
    /// It may be left out where the request that the filter would get has none.
    token: Option<String>,
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
    let token = token.as_deref().map(str::trim);
    let mut explanation = match (token, &asked) {
        (Some(token), _) => explained(&state, token).await?,
        (None, Some(Asked { place: Place::Nowhere, .. })) => Explanation::unread(None),
        (None, _) => {
            let detail = "token is missing. It may be left out if request.source is none.";
            return Err(ApiError::Malformed(detail.to_owned()));
        }
    };
    if let Some(asked) = asked {
        explanation.filter = Some(rehearse::rehearse(&state, token.unwrap_or_default(), asked).await?);
    }
    Ok(axum::Json(explanation))
}

async fn explained(state: &Arc<AppState>, text: &str) -> Result<Explanation, ApiError> {
    let proven = prove(state, text).await?;
    let refusal = proven.as_ref().err().map(Broken::from);
    let (read, place) = match proven {
        Ok(token) => {
            let place = token.key.issuer();
            (Some(Read::by_proof(token, &state.keys.current())), Some(place))
        }
        Err(_) => (Read::without_proof(text.as_bytes(), &state.policy), None),
    };
    let Some(Read { keys, times, mut told }) = read else { return Ok(Explanation::unread(refusal)) };
    let asked = timeout(state.check_timeout, state.records.explain(&keys, times.cutoff_time)).await;
    let explained = asked.unwrap_or_else(|_| Err(state.records.late()))?;
    let (held_back, without_keys) = match place {
        Some(place) => {
            name_set(state, &mut told, place).await?;
            (None, None)
        }
        None => (held_back(state, text, &told.issuer).await?, without_keys(state, &told.issuer).await?),
    };
    let (accepted, revoked) = (refusal.is_none(), Some(explained.verdict == CheckVerdict::Revoked));
    let stored = Some(Kept::of(explained, state.leases.list(), state.leases.others()));
    let token = Some(told);
    Ok(Explanation { accepted, revoked, refusal, token, stored, held_back, without_keys, filter: None })
}

/// Checks signatures on a thread of their own: the threads that serve requests must not wait for them.
async fn aside<T: Send + 'static>(
    state: &Arc<AppState>,
    text: &str,
    check: impl FnOnce(&AppState, &[u8]) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let (state, text) = (Arc::clone(state), text.to_owned());
    let checked = tokio::task::spawn_blocking(move || check(&state, text.as_bytes())).await;
    checked.map_err(|_| ApiError::Internal)
}

/// Checks the token, by newer keys if those that are known do not serve. A refusal is nobody's failed attempt.
async fn prove(state: &Arc<AppState>, text: &str) -> Result<Result<ProvenToken, TokenError>, ApiError> {
    let mut proven = aside(state, text, AppState::prove).await?;
    if let Err(Unproven { newer_keys: Some(issuer), .. }) = proven {
        state.keys.demand(issuer).await;
        proven = aside(state, text, AppState::prove).await?;
    }
    Ok(proven.map_err(|unproven| unproven.error))
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
async fn held_back(state: &Arc<AppState>, text: &str, issuer: &str) -> Result<Option<HeldBack>, ApiError> {
    let stored = state.keys.stored_of(issuer).await.map_err(|error| state.records.failed(&error))?;
    let Some(stored) = stored else { return Ok(None) };
    let now = state.clock.moment().now;
    let key = aside(state, text, move |state, text| state.keys.out_of_force(&stored, text, &state.policy, now)).await?;
    Ok(key.and_then(|key| {
        let (word, since) = key.standing.told();
        let (state, since) = (word.to_owned(), since?);
        Some(HeldBack { kid: key.kid, thumbprint: key.thumbprint, state, since, signed: key.signed })
    }))
}

/// Says so if no keys of the issuer are known.
async fn without_keys(state: &AppState, issuer: &str) -> Result<Option<WithoutKeys>, ApiError> {
    let reports = state.keys.reports().await.map_err(|error| state.records.failed(&error))?;
    let set = state.keys.named(issuer).and_then(|place| reports.sets.into_iter().nth(place));
    Ok(set.filter(|set| !set.secret && set.keys.is_none()).map(|set| {
        let (error_code, error) = set.fetch.map(|fetch| (fetch.error_code, fetch.error)).unwrap_or_default();
        WithoutKeys { source: set.source, error_code, error }
    }))
}
