//! The public endpoints: a token's owner logs it out, alone or with everything else that is theirs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use curfew_core::Denial;
use serde::Serialize;

use super::ApiError;
use super::extract::Caller;
use super::settled::{accepted, finished};
use super::state::AppState;
use crate::logout::Finished;
use crate::store::command::{LogoutOutcome, TokenRecord};

/// The answer to a logout; clients of the documented API compare the text.
#[derive(Serialize)]
pub(super) struct Done {
    pub(super) message: &'static str,
}

/// `POST /api/v2/logout`: the token in `Authorization` is dead when this returns 200.
pub(super) async fn logout(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    Caller(token): Caller,
) -> Result<Response, ApiError> {
    let committed = state.store.writer().logout(TokenRecord::from(&token)).await?;
    let finished = finished(&state, &headers, committed).await?;
    logged_out(finished, &headers, "Successfully Logged Out.")
}

/// `POST /api/v2/logout-all-device`: the token and every other one of its user are dead when this returns 200.
pub(super) async fn logout_all_device(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    Caller(token): Caller,
) -> Result<Response, ApiError> {
    let user = token.user.clone().ok_or(ApiError::UserIdMissing)?;
    let committed = state.store.writer().logout_all(TokenRecord::from(&token), user).await?;
    let finished = finished(&state, &headers, committed).await?;
    logged_out(finished, &headers, "Successfully Logged Out From All Device.")
}

fn logged_out(
    finished: Finished<LogoutOutcome>,
    asked: &HeaderMap,
    message: &'static str,
) -> Result<Response, ApiError> {
    let (outcome, mut response) = match finished {
        Finished::Confirmed(confirmed) => (confirmed.into_outcome(), Json(Done { message }).into_response()),
        Finished::Accepted(early) => {
            let (outcome, ticket) = early.into_parts();
            (outcome, accepted(&ticket))
        }
    };
    if outcome == LogoutOutcome::AlreadyRevoked {
        return Err(ApiError::Denied(Denial::Revoked));
    }
    if is_browser(asked) {
        response.headers_mut().insert(CLEAR_SITE_DATA, HeaderValue::from_static(r#""cookies", "storage""#));
    }
    Ok(response)
}

/// W3C Clear Site Data.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Browsers send one of these with every POST, and scripts cannot suppress them.
fn is_browser(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name == header::ORIGIN || name.as_str().starts_with("sec-fetch-"))
}
