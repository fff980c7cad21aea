//! Authenticates a caller by the token in `Authorization`. A flood of forged tokens costs other callers nothing.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use curfew_core::{ProvenToken, Unproven, from_authorization, verify_natively};

use super::extract::single_authorization;
use super::problem::ApiError;
use super::state::{AppState, by_either_clock};
use crate::abuse::VerificationLabels;
use crate::abuse::attempts::{Attempt, TokenId};
use crate::abuse::lanes::LaneFailure;
use crate::store::command::Unavailable;

/// The token that authenticates a call of an entrance. It is accepted now, but may be logged out.
pub struct Caller(pub ProvenToken);

impl FromRequestParts<Arc<AppState>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, ApiError> {
        // Each entrance adds an attempt to the request.
        let attempt = parts.extensions.get::<Arc<Attempt>>().ok_or(ApiError::Internal)?;
        let text = from_authorization(single_authorization(&parts.headers)?)?;
        attempt.shows(TokenId::of(text));
        Ok(Self(prove_by_newest(state, attempt, text).await?))
    }
}

/// Checks a token. If its key is not known, newer keys are looked for once, and it is checked once more by what was found.
async fn prove_by_newest(state: &Arc<AppState>, attempt: &Attempt, text: &[u8]) -> Result<ProvenToken, ApiError> {
    let known = state.keys.current().generation();
    let mut proven = prove_in_turn(state, attempt, text).await?;
    if let Err(Unproven { newer_keys: Some(issuer), .. }) = proven {
        state.keys.demand(issuer).await;
        if state.keys.current().generation() != known {
            proven = prove_in_turn(state, attempt, text).await?;
        }
    }
    if let Err(Unproven { newer_keys: Some(issuer), .. }) = proven
        && !state.keys.are_known(issuer)
    {
        // A filter says the same then. Clients take 401 for "there is nothing to log out".
        return Err(ApiError::KeysNotFetched(
            "The keys of the token's issuer are not known yet. Try again.".to_owned(),
        ));
    }
    Ok(state.counted(proven.map_err(|unproven| unproven.error))?)
}

/// Checks a token for a caller that cannot be made to slow down. Cheap checks run here; an expensive signature waits
/// for its turn in a lane.
///
/// # Errors
///
/// The lane was full, or the token's turn did not come within half the time for a request. Then nothing is known about the
/// token.
async fn prove_in_turn(
    state: &Arc<AppState>,
    attempt: &Attempt,
    text: &[u8],
) -> Result<Result<ProvenToken, Unproven>, ApiError> {
    let (mut is_costly, keys) = (false, state.keys.current());
    let proven = by_either_clock(state.clock.moment(), |now| {
        state.policy.prove_with(text, now, &keys, |check| {
            // Only algorithms with a shared secret have a minimum length for it. Checking a MAC is as cheap as all the
            // checks before it.
            is_costly |= check.key.algorithm().minimum_secret().is_none();
            !is_costly && verify_natively(check)
        })
    });
    if !is_costly {
        return Ok(proven);
    }
    let (lane, outcome) = verify_in_lane(state, attempt, text).await;
    let label = match &outcome {
        Ok(Ok(_)) => "accepted",
        Ok(Err(_)) | Err(LaneFailure::Panicked) => "refused",
        Err(LaneFailure::Full) => "full",
        Err(LaneFailure::Late) => "late",
    };
    state.abuse_counters.verifications.get_or_create(&VerificationLabels { lane, outcome: label }).inc();
    match outcome {
        Ok(proven) => Ok(proven),
        Err(LaneFailure::Full | LaneFailure::Late) => Err(ApiError::Write(Unavailable::NotWritten)),
        Err(LaneFailure::Panicked) => Err(ApiError::Internal),
    }
}

type InLane = Result<Result<ProvenToken, Unproven>, LaneFailure>;

/// Returns the lane's name and the outcome of the check.
async fn verify_in_lane(state: &Arc<AppState>, attempt: &Attempt, text: &[u8]) -> (&'static str, InLane) {
    let is_suspect = state.attempts.is_suspect(&attempt.source);
    match state.lanes.admit(&attempt.source, is_suspect) {
        Err(full) => ("suspect", Err(full)),
        Ok(slot) => {
            let (proving, text) = (Arc::clone(state), text.to_vec());
            let work = move || proving.prove(&text);
            (slot.lane, slot.run(state.request_timeout / 2, || attempt.begin(), work).await)
        }
    }
}
