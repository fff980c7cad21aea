//! `POST /internal/v1/keys`: the sets in force, for filters. `GET /internal/v1/keys/sets`, and
//! `POST /internal/v1/keys/refresh`, `remove`, `distrust` and `trust`: for operators.
//!
//! A key that is taken away revokes all that it signed. So the endpoints that change keys are entrances: their 200 says that no
//! worker proves tokens by the old keys any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use curfew_core::wire::KeysRequest;
use serde::{Deserialize, Serialize};

use crate::http::entrance::{Call, LoggedOut};
use crate::http::extract::Json;
use crate::http::problem::ApiError;
use crate::http::state::AppState;
use crate::keys::shelf::Hold;
use crate::keys::{KeyOfIssuer, Origin, RefreshFailure, SetReports};
use crate::store::command::Committed;
use crate::store::keys::{KeyRefusal, KeysChange};

/// The paths of operators.
pub(in crate::http) const SETS_PATH: &str = "/internal/v1/keys/sets";
pub(in crate::http) const REFRESH_PATH: &str = "/internal/v1/keys/refresh";
pub(in crate::http) const REMOVE_PATH: &str = "/internal/v1/keys/remove";
pub(in crate::http) const DISTRUST_PATH: &str = "/internal/v1/keys/distrust";
pub(in crate::http) const TRUST_PATH: &str = "/internal/v1/keys/trust";

/// The most issuers that one call may name.
const MOST_ISSUERS: usize = 256;

/// The issuer whose keys are fetched; it may be left out where there is only one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Refresh {
    issuer: Option<String>,
}

/// The answer to a change.
#[derive(Serialize)]
struct Changed {
    issuer: String,
    /// False if the keys in force are what they were.
    changed: bool,
    /// Of a distrust: false if no key of this name is or was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<bool>,
}

/// The sets of the issuers that a filter names.
pub(in crate::http) async fn keys(
    State(state): State<Arc<AppState>>,
    Json(request): Json<KeysRequest>,
) -> Result<Response, ApiError> {
    if request.refresh.as_ref().is_some_and(|refresh| !request.issuers.contains(refresh)) {
        return Err(ApiError::Malformed("refresh is not one of the issuers.".to_owned()));
    }
    if request.issuers.len() > MOST_ISSUERS {
        return Err(ApiError::Malformed(format!("issuers has more than {MOST_ISSUERS} names.")));
    }
    let text = state.keys.hand_out(&request).await.ok_or(ApiError::Read)?;
    Ok(([(CONTENT_TYPE, "application/json")], text.to_string()).into_response())
}

/// What is known of each issuer's keys.
pub(in crate::http) async fn sets(State(state): State<Arc<AppState>>) -> Result<axum::Json<SetReports>, ApiError> {
    state.keys.reports().await.map(axum::Json).map_err(|error| state.records.failed(&error))
}

/// The issuer's keys are what its source lists now when this returns 200.
pub(in crate::http) async fn refresh(
    call: Call,
    Json(Refresh { issuer }): Json<Refresh>,
) -> Result<LoggedOut, ApiError> {
    let place = place(call.state(), issuer.as_deref())?;
    let fetched = call.state().keys.fetch_for_operator(place).await;
    let committed = fetched.map_err(|failure| match failure {
        RefreshFailure::NotGiven { detail, .. } => ApiError::KeysNotFetched(detail),
        RefreshFailure::NotStored(unavailable) => unavailable.into(),
    })?;
    finish(&call, place, committed, None).await
}

/// No worker proves a token by the key when this returns 200, until its source has ceased to list it.
pub(in crate::http) async fn remove(call: Call, Json(key): Json<KeyOfIssuer>) -> Result<LoggedOut, ApiError> {
    hold(&call, key, Hold::Remove).await
}

/// The same for the key and all that ever carry its name, until it is trusted again.
pub(in crate::http) async fn distrust(call: Call, Json(key): Json<KeyOfIssuer>) -> Result<LoggedOut, ApiError> {
    hold(&call, key, Hold::Distrust).await
}

/// The key proves tokens again, if its source lists it.
pub(in crate::http) async fn trust(call: Call, Json(key): Json<KeyOfIssuer>) -> Result<LoggedOut, ApiError> {
    hold(&call, key, Hold::Trust).await
}

async fn hold(call: &Call, KeyOfIssuer { issuer, key }: KeyOfIssuer, what: Hold) -> Result<LoggedOut, ApiError> {
    let keys = &call.state().keys;
    let place = place(call.state(), issuer.as_deref())?;
    let name = keys.issuers().get(place).map(|issuer| issuer.name.clone()).ok_or(ApiError::IssuerUnknown)?;
    let (change, known) = keys.holding(place, what, key).into_parts();
    let committed = call.writer().change_keys(name, change).await?;
    keys.changed(place, committed.outcome()).await;
    let known = (what == Hold::Distrust).then(|| known.load(Ordering::SeqCst));
    finish(call, place, committed, known).await
}

/// The place of the issuer that is meant. One that signs with a secret has no keys that could be changed here.
fn place(state: &AppState, issuer: Option<&str>) -> Result<usize, ApiError> {
    let place = state.keys.place(issuer).map_err(|_| ApiError::IssuerUnknown)?;
    match state.keys.issuers().get(place).map(|issuer| &issuer.origin) {
        None => Err(ApiError::IssuerUnknown),
        Some(Origin::Secret) => Err(ApiError::KeysAreSecret),
        Some(_) => Ok(place),
    }
}

async fn finish(
    call: &Call,
    place: usize,
    committed: Committed<KeysChange>,
    known: Option<bool>,
) -> Result<LoggedOut, ApiError> {
    // There is nothing to wait for.
    if let Some(error) = refusal(committed.outcome()) {
        return Err(error);
    }
    let issuer = call.state().keys.issuers().get(place).map(|issuer| issuer.name.clone()).unwrap_or_default();
    let answer = |change| {
        let changed = matches!(change, KeysChange::Changed { .. });
        Ok(axum::Json(Changed { issuer, changed, known }))
    };
    call.finish(committed, answer).await
}

fn refusal(change: &KeysChange) -> Option<ApiError> {
    match change {
        KeysChange::Same | KeysChange::Changed { .. } => None,
        KeysChange::Overtaken => Some(ApiError::KeysNotFetched("Others asked the issuer at the same time.".to_owned())),
        KeysChange::NoRoom { bytes } => Some(ApiError::KeysHaveNoRoom(*bytes)),
        KeysChange::Refused(KeyRefusal::NotFetched) => {
            Some(ApiError::KeysNotFetched("The issuer has no keys yet.".to_owned()))
        }
        KeysChange::Refused(KeyRefusal::UnknownKey) => Some(ApiError::KeyUnknown),
        KeysChange::Refused(KeyRefusal::Unreadable) => Some(ApiError::Internal),
    }
}
