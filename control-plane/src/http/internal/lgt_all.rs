//! `POST /api/v2/lgt-all`: an application logs a user out of everything.

use curfew_core::{claim_text, is_identifier};
use serde_json::{Map, Value};

use crate::http::entrance::{Call, LoggedOut};
use crate::http::extract::Json;
use crate::http::problem::ApiError;
use crate::http::state::AppState;
use crate::http::wording::DoneForUser;
use crate::log::Cause;
use crate::store::command::Subject;

/// The spellings under which existing callers send each member.
const USER_ID: [&str; 3] = ["user_id", "USER_ID", "userId"];
const APP_ID: [&str; 3] = ["app_id", "APP_ID", "appId"];
const APP_KEY: [&str; 3] = ["app_key", "APP_KEY", "appKey"];

/// All tokens of the user are logged out when this returns 200. An unknown user gets a 200 as well: a token that was never
/// registered is logged out by the cutoff alone. The answer says whether a token of the user is known, because a user
/// id that no token has in its user claim logs nobody out. Only the application's credentials open this call.
pub(in crate::http) async fn lgt_all(call: Call, Json(body): Json<Map<String, Value>>) -> Result<LoggedOut, ApiError> {
    authenticate(call.state(), &body)?;
    let user = user_id(&body)?;
    let issuers = issuers(call.state(), &body)?;
    let subjects = issuers.into_iter().map(|issuer| Subject { issuer, user: user.clone() }).collect();
    let committed = call.writer().revoke_user(subjects, Cause::LgtAll).await?;
    if !committed.outcome().known {
        call.state().notices.unknown_user(call.state().policy.user_claim());
    }
    call.finish(committed, |reached| Ok(axum::Json(DoneForUser::of(reached)))).await
}

fn authenticate(state: &AppState, body: &Map<String, Value>) -> Result<(), ApiError> {
    let id = member(body, &APP_ID)?.and_then(Value::as_str).unwrap_or_default();
    let key = member(body, &APP_KEY)?.and_then(Value::as_str).unwrap_or_default();
    if state.app.match_both(id.as_bytes(), key.as_bytes()) { Ok(()) } else { Err(ApiError::AppCredentials) }
}

/// The user, read by the rules of a token's user claim: a text, or an integer that stands for its decimal text.
fn user_id(body: &Map<String, Value>) -> Result<String, ApiError> {
    let text = match member(body, &USER_ID)? {
        None | Some(Value::Null) => return Err(ApiError::UserIdMissing),
        Some(Value::String(text)) if text.is_empty() => return Err(ApiError::UserIdMissing),
        Some(value @ (Value::String(_) | Value::Number(_))) => claim_text(value),
        Some(_) => None,
    };
    text.filter(|user| is_identifier(user)).ok_or_else(|| {
        malformed("user_id must be a string of 1 to 256 bytes without control characters, or an integer.")
    })
}

/// The issuer that the body names, or all issuers: the caller knows the user, but may not know the issuer of the
/// tokens.
fn issuers(state: &AppState, body: &Map<String, Value>) -> Result<Vec<String>, ApiError> {
    let Some(named) = body.get("issuer") else {
        return Ok(state.policy.issuers().map(str::to_owned).collect());
    };
    let known = named.as_str().filter(|named| state.policy.issuers().any(|issuer| issuer == *named));
    match known {
        Some(issuer) => Ok(vec![issuer.to_owned()]),
        None => Err(malformed("issuer is not one of the configured issuers.")),
    }
}

/// The member under any of its spellings. A body with two of them leaves open which one is meant, and is refused.
fn member<'b>(body: &'b Map<String, Value>, spellings: &[&str]) -> Result<Option<&'b Value>, ApiError> {
    let mut found = spellings.iter().filter_map(|name| body.get(*name));
    match (found.next(), found.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(malformed("A member is given in two spellings.")),
    }
}

fn malformed(detail: &str) -> ApiError {
    ApiError::Malformed(detail.to_owned())
}
