//! What handlers take out of a request, with every way to fail turned into an [`ApiError`].

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use curfew_core::{Denial, ProvenToken, from_authorization};
use serde::de::DeserializeOwned;

use super::ApiError;
use crate::state::AppState;

/// The token that a call is authenticated with: accepted now, though perhaps logged out.
pub(super) struct Caller(pub(super) ProvenToken);

impl FromRequestParts<Arc<AppState>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, ApiError> {
        let value = single_authorization(&parts.headers)?;
        let text = from_authorization(value)?;
        Ok(Self(state.prove(text)?))
    }
}

/// The one Authorization header. With two, proxies and servers differ in which one counts, so none does.
fn single_authorization(headers: &HeaderMap) -> Result<&[u8], ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(ApiError::Denied(Denial::Missing)),
        (Some(value), None) => Ok(value.as_bytes()),
        (Some(_), Some(_)) => Err(ApiError::NotOneToken("More than one Authorization header was sent.")),
    }
}

/// The secret of an `Authorization: Bearer` header, if there is exactly one.
pub(super) fn bearer_secret(headers: &HeaderMap) -> Option<&[u8]> {
    let value = single_authorization(headers).ok()?;
    let (scheme, secret) = value.split_first_chunk::<7>()?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| secret.trim_ascii())
}

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let axum::Json(value) = axum::Json::from_request(request, state).await.map_err(refuse_json)?;
        Ok(Self(value))
    }
}

fn refuse_json(rejection: JsonRejection) -> ApiError {
    match rejection.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::UnsupportedMediaType,
        _ => ApiError::Malformed(rejection.body_text()),
    }
}

/// A path's single parameter.
pub(super) struct PathParameter(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathParameter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::Malformed(rejection.body_text())),
        }
    }
}

/// The query's parameters.
pub(super) struct QueryParameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::Malformed(rejection.body_text())),
        }
    }
}
