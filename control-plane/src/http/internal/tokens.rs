//! `POST /internal/v1/tokens`: a login reports the tokens it has issued.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::extract::State;
use curfew_core::Unproven;
use curfew_core::wire::{RegisterAnswer, RegisterRequest, RegisterToken};

use crate::http::extract::Json;
use crate::http::problem::ApiError;
use crate::http::state::AppState;
use crate::store::command::{Registration, TokenRecord};

/// Tokens in one call.
pub const MAX_TOKENS: usize = 1000;

/// The most bytes of a User-Agent that are kept; those of browsers are shorter than half of this.
const MAX_USER_AGENT: usize = 512;

pub(in crate::http) async fn register(
    State(state): State<Arc<AppState>>,
    Json(request): Json<RegisterRequest>,
) -> Result<axum::Json<RegisterAnswer>, ApiError> {
    if !(1..=MAX_TOKENS).contains(&request.tokens.len()) {
        return Err(ApiError::Malformed(format!("tokens must hold 1 to {MAX_TOKENS} tokens.")));
    }
    let registrations = prove_by_newest(&state, request.tokens.into()).await?;
    let nobodys = registrations.iter().filter(|registration| registration.token.user.is_none()).count();
    let registered = state.records.register(registrations).await?;
    state.counters.tokens_registered.inc_by(registered.new);
    state.counters.tokens_registered_revoked.inc_by(registered.revoked);
    let without_user = NonZeroUsize::new(nobodys);
    if without_user.is_some() {
        state.counters.tokens_without_user.inc_by(u64::try_from(nobodys).unwrap_or(u64::MAX));
        state.notices.without_user(state.policy.user_claim());
    }
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(axum::Json(RegisterAnswer {
        registered: number(registered.new),
        known: number(registered.known),
        revoked: number(registered.revoked),
        without_user,
    }))
}

/// Checks all tokens, and accepts all or none: the caller corrects the token that the error names and sends all of them
/// again. Where a key is not known, newer keys of its issuer are looked for, once for each issuer.
async fn prove_by_newest(state: &Arc<AppState>, tokens: Arc<[RegisterToken]>) -> Result<Vec<Registration>, ApiError> {
    let mut looked = BTreeSet::new();
    loop {
        // A thousand signatures take longer than other requests should wait for this thread.
        let (proving, asked) = (Arc::clone(state), Arc::clone(&tokens));
        let proven = tokio::task::spawn_blocking(move || prove_all(&proving, &asked)).await;
        let (error, newer_keys) = match proven.map_err(|_| ApiError::Internal)? {
            Ok(registrations) => return Ok(registrations),
            Err(Refused { error, newer_keys }) => (error, newer_keys),
        };
        match newer_keys.filter(|issuer| looked.insert(*issuer)) {
            Some(issuer) => state.keys.demand(issuer).await,
            None => return Err(refused(state, error)),
        }
    }
}

/// The error, counted if it is about a token.
fn refused(state: &AppState, error: ApiError) -> ApiError {
    if let ApiError::RegisteredToken(_, error) = &error {
        state.count_refusal(*error);
    }
    error
}

/// Why a token is not accepted.
struct Refused {
    error: ApiError,
    /// The issuer whose newer keys could make a difference.
    newer_keys: Option<usize>,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { error, newer_keys: None }
    }
}

fn prove_all(state: &AppState, tokens: &[RegisterToken]) -> Result<Vec<Registration>, Refused> {
    tokens.iter().enumerate().map(|(index, token)| prove(state, index, token)).collect()
}

fn prove(state: &AppState, index: usize, reported: &RegisterToken) -> Result<Registration, Refused> {
    let proven = state.prove(reported.token.as_bytes());
    let token = proven.map_err(|Unproven { error, newer_keys, .. }| Refused {
        error: ApiError::RegisteredToken(index, error),
        newer_keys,
    })?;
    Ok(Registration {
        token: TokenRecord::from(&token),
        user_agent: reported.user_agent.as_deref().map(|name| user_agent(index, name)).transpose()?,
        ip: reported.ip.as_deref().map(|text| ip(index, text)).transpose()?,
    })
}

fn user_agent(index: usize, text: &str) -> Result<String, ApiError> {
    if text.len() > MAX_USER_AGENT || text.chars().any(char::is_control) {
        let problem = format!("tokens[{index}]: user_agent must be at most {MAX_USER_AGENT} bytes of plain text.");
        return Err(ApiError::Malformed(problem));
    }
    Ok(text.to_owned())
}

fn ip(index: usize, text: &str) -> Result<IpAddr, ApiError> {
    text.parse().map_err(|_| ApiError::Malformed(format!("tokens[{index}]: ip is not an IP address.")))
}
