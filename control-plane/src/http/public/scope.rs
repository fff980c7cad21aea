//! How much `POST /api/v2/logout` logs out: as the caller asks, or as the issuer's default says.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts as _, Request};
use curfew_core::ProvenToken;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::DefaultScope;
use crate::http::authenticate::Caller;
use crate::http::extract::{OptionalJson, QueryParameters};
use crate::http::problem::ApiError;
use crate::http::state::AppState;
use crate::store::command::LogoutScope;

/// The names that callers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Scope {
    /// This token.
    Token,
    /// This token's session.
    Session,
    /// All sessions of the user but this token's.
    Others,
    /// All tokens of the user, as at `logout-all-device`.
    Global,
}

/// A caller that logs out with its token, and the scope that it asks for.
pub(in crate::http) struct Owner {
    pub(super) token: ProvenToken,
    pub(super) asked: Option<Scope>,
}

impl FromRequest<Arc<AppState>> for Owner {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let Caller(token) = Caller::from_request_parts(&mut parts, state).await?;
        let query = QueryParameters::<Vec<(String, String)>>::from_request_parts(&mut parts, state).await?.0;
        let body = OptionalJson::<Members>::from_request(Request::from_parts(parts, body), state).await?.0;
        let query = query.into_iter().map(|(name, value)| (name, Value::String(value)));
        Ok(Self { token, asked: asked(query.chain(body))? })
    }
}

type Members = serde_json::Map<String, Value>;

/// The scope that a query and a body ask for. Their other members are not for this endpoint. A misspelt scope is refused: the
/// logout would be another one than the caller wants.
fn asked(members: impl Iterator<Item = (String, Value)>) -> Result<Option<Scope>, ApiError> {
    let mut scopes = members.filter(|(name, value)| name.eq_ignore_ascii_case("scope") && !value.is_null());
    let Some((name, value)) = scopes.next() else { return Ok(None) };
    let scope = serde_json::from_value(value).ok().filter(|_| name == "scope");
    if scope.is_none() || scopes.any(|(name, value)| name != "scope" || serde_json::from_value(value).ok() != scope) {
        let detail = "scope is one of token, session, others and global, and the query and the body must not differ.";
        return Err(ApiError::Malformed(detail.to_owned()));
    }
    Ok(scope)
}

impl Scope {
    /// What is to be logged out with this token, and the scope that this is.
    ///
    /// # Errors
    ///
    /// The token does not name the user, or the session that was asked for by name.
    pub(super) fn of(
        asked: Option<Self>,
        default: DefaultScope,
        token: &ProvenToken,
    ) -> Result<(Self, LogoutScope), ApiError> {
        let user = || token.user.clone().ok_or(ApiError::UserIdMissing);
        let session = token.session_id.clone();
        let scope = match (asked, default, session) {
            (Some(Self::Others), ..) => LogoutScope::Others(user()?),
            (Some(Self::Global), ..) => LogoutScope::Global(user()?),
            (Some(Self::Session), _, None) => return Err(ApiError::SessionMissing),
            (Some(Self::Session), _, Some(session)) | (None, DefaultScope::Session, Some(session)) => {
                LogoutScope::Session(session)
            }
            // A token without a session is a session of its own.
            (Some(Self::Token), ..) | (None, ..) => LogoutScope::Token,
        };
        let named = match scope {
            LogoutScope::Token => Self::Token,
            LogoutScope::Session(_) => Self::Session,
            LogoutScope::Others(_) => Self::Others,
            LogoutScope::Global(_) => Self::Global,
        };
        Ok((named, scope))
    }
}
