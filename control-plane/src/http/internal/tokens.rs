//! `POST /internal/v1/tokens`: a login reports the tokens it has issued.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::extract::State;
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
    // A thousand signatures take longer than other requests should wait for this thread.
    let proving = Arc::clone(&state);
    let proven = tokio::task::spawn_blocking(move || prove_all(&proving, &request.tokens)).await;
    let registrations = proven.map_err(|_| ApiError::Internal)??;
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
/// again.
fn prove_all(state: &AppState, tokens: &[RegisterToken]) -> Result<Vec<Registration>, ApiError> {
    tokens.iter().enumerate().map(|(index, token)| prove(state, index, token)).collect()
}

fn prove(state: &AppState, index: usize, reported: &RegisterToken) -> Result<Registration, ApiError> {
    let token = state.prove(reported.token.as_bytes()).map_err(|error| ApiError::RegisteredToken(index, error))?;
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
