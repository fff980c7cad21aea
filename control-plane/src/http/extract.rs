//! What handlers take out of a request, with every way to fail turned into an [`ApiError`].
//!
//! No such error quotes the request: a text in the wrong place may be a token or a key, and callers log the answers that they
//! get.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use curfew_core::{Denial, read_document};
use serde::de::DeserializeOwned;

use super::problem::ApiError;

/// The only Authorization header. Proxies and servers differ in which of two counts, so two are refused.
pub(super) fn single_authorization(headers: &HeaderMap) -> Result<&[u8], ApiError> {
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

/// A JSON object as the body; the route's row says that it is one and how large it may be. A body with a member twice
/// is refused, because it leaves open which of two users to log out.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = Bytes::from_request(request, state).await.map_err(|_| malformed("The body broke off."))?;
        read_body(&body).map(Self)
    }
}

/// What a JSON object in the body says, if there is a body and its media type is JSON; the route's row says how large it may
/// be. Without one, the default. Many frameworks send `[]` or `null` for "no data", which is no body here.
pub(super) struct OptionalJson<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = Bytes::from_request(request, state).await.map_err(|_| malformed("The body broke off."))?;
        let is_absent = [&b""[..], b"null", b"[]", b"\"\""].contains(&body.trim_ascii());
        Ok(Self(if is_absent { T::default() } else { read_body(&body)? }))
    }
}

fn read_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let document = read_document(body).map_err(|problem| ApiError::Malformed(format!("The body {problem}.")))?;
    if !document.is_object() {
        return Err(malformed("The body is not a JSON object."));
    }
    serde_json::from_value(document).map_err(|_| misfit::<T>(body))
}

/// The error for a document that is not what the endpoint takes. It names the place in the text. A parsed value has no
/// places, so the text is read once more.
fn misfit<T: DeserializeOwned>(body: &[u8]) -> ApiError {
    let place = serde_json::from_slice::<T>(body).err();
    let place = place.map(|error| format!(" (line {}, column {})", error.line(), error.column()));
    ApiError::Malformed(format!("The body is not what this endpoint takes{}.", place.unwrap_or_default()))
}

fn malformed(detail: &str) -> ApiError {
    ApiError::Malformed(detail.to_owned())
}

/// A path's single parameter.
pub(super) struct PathParameter(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathParameter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(malformed("The path's parameter is not percent-encoded UTF-8.")),
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
            Err(_) => Err(malformed("The query is not what this endpoint takes.")),
        }
    }
}
