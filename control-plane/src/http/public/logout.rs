//! A token's owner logs out: this token, its session, all other sessions, or all tokens of the user.

use axum::Json;
use curfew_core::{Denial, ProvenToken};

use crate::http::authenticate::Caller;
use crate::http::entrance::{Call, LoggedOut};
use crate::http::problem::ApiError;
use crate::http::public::scope::{Owner, Scope};
use crate::http::wording::Done;
use crate::store::command::{Committed, LogoutOutcome, TokenRecord};

/// `POST /api/v2/logout`: the token in `Authorization` is logged out when this returns 200, or what the scope says.
pub(in crate::http) async fn logout(call: Call, owner: Owner) -> Result<LoggedOut, ApiError> {
    let Owner { token, asked } = owner;
    let (named, scope) = Scope::of(asked, call.state().default_scope(&token.issuer), &token)?;
    let committed = call.writer().logout_scope(TokenRecord::from(&token), scope).await?;
    let answer = finish(&call, committed, Done::of(named), &token).await?;
    Ok(if named == Scope::Others { answer.but_the_caller_stays() } else { answer })
}

/// `POST /api/v2/logout-all-device`: the token and all other tokens of its user are logged out when this returns 200.
pub(in crate::http) async fn logout_all_device(call: Call, Caller(token): Caller) -> Result<LoggedOut, ApiError> {
    let user = token.user.clone().ok_or(ApiError::UserIdMissing)?;
    let committed = call.writer().logout_all(TokenRecord::from(&token), user).await?;
    finish(&call, committed, Done::LOGGED_OUT_EVERYWHERE, &token).await
}

/// Waits, and makes the answer. A token that was revoked before is an error.
async fn finish(
    call: &Call,
    committed: Committed<LogoutOutcome>,
    done: Done,
    token: &ProvenToken,
) -> Result<LoggedOut, ApiError> {
    let answer = |outcome| match outcome {
        LogoutOutcome::LoggedOut => Ok(Json(done)),
        LogoutOutcome::AlreadyRevoked => Err(ApiError::Denied(Denial::Revoked)),
        LogoutOutcome::OfSameSecond => {
            Err(ApiError::RevokedUnregistered { is_dated: token.times.cutoff_time.is_some() })
        }
    };
    call.finish(committed, answer).await
}
