//! How much of a body is read, and how long a request may take.

use std::time::Duration;

use axum::body::{self, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use crate::http::problem::ApiError;
use crate::http::route::Body;
use crate::store::command::Unavailable;

/// How long a body may go on arriving if the endpoint does not read it.
const UNREAD_BODY: Duration = Duration::from_secs(1);

/// The bounds of one route.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Bounds {
    pub(in crate::http) body: Body,
    /// How long the body may take to arrive.
    pub(in crate::http) read_within: Duration,
    /// How long the answer may take after that; a probe has no limit.
    pub(in crate::http) answer_within: Option<Duration>,
    /// True if the endpoint writes: a late answer leaves open whether it has written.
    pub(in crate::http) writes: bool,
}

impl Bounds {
    /// The request with its body as far as the handler needs it, so that no handler waits for a slow client.
    ///
    /// # Errors
    ///
    /// The body is too large, too late, or not of the type that the endpoint takes.
    pub(in crate::http) async fn take_body(self, request: Request) -> Result<Request, ApiError> {
        let Some(media_type) = self.body.media_type() else { return Ok(without_body(request)) };
        if matches!(self.body, Body::OptionalJson { .. }) && !is_of_type(request.headers(), media_type) {
            return Ok(without_body(request));
        }
        let most = self.body.most();
        if announced_length(request.headers()).is_some_and(|length| length > most) {
            return Err(ApiError::PayloadTooLarge(most));
        }
        let (parts, body) = request.into_parts();
        let read = timeout(self.read_within, to_bytes(body, most)).await.map_err(|_| ApiError::RequestTimeout)?;
        let body = read.map_err(|error| unread(&error, most))?;
        if !is_of_type(&parts.headers, media_type) {
            return Err(ApiError::UnsupportedMediaType(media_type));
        }
        Ok(Request::from_parts(parts, body::Body::from(body)))
    }

    /// The answer, if it comes in time. A handler that gives up by itself knows the reason; this bound holds where the
    /// configured time is shorter.
    ///
    /// # Errors
    ///
    /// The answer is late.
    pub(in crate::http) async fn in_time<T>(self, answer: impl Future<Output = T>) -> Result<T, ApiError> {
        let Some(within) = self.answer_within else { return Ok(answer.await) };
        let late = if self.writes { ApiError::Write(Unavailable::Unconfirmed) } else { ApiError::Read };
        timeout(within, answer).await.map_err(|_| late)
    }
}

/// Keeps a request to an endpoint within its bounds.
pub(in crate::http) async fn bound(
    State(bounds): State<Bounds>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let request = bounds.take_body(request).await?;
    bounds.in_time(next.run(request)).await
}

/// The request without its body. Otherwise a caller that is slow to send a useless body would hold a place here and in
/// every proxy on the way.
fn without_body(request: Request) -> Request {
    let (parts, body) = request.into_parts();
    if !body.is_end_stream() {
        tokio::spawn(discard(body));
    }
    Request::from_parts(parts, body::Body::empty())
}

/// Reads and discards a small body that arrives soon; gives up any other. If a body were dropped while it arrives, the
/// connection would close before the caller has the answer.
async fn discard(body: body::Body) {
    let _ = timeout(UNREAD_BODY, to_bytes(body, Body::Unread.most())).await;
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn unread(error: &axum::Error, most: usize) -> ApiError {
    let too_large = std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>());
    if too_large {
        ApiError::PayloadTooLarge(most)
    } else {
        ApiError::Malformed("The request's body broke off.".to_owned())
    }
}

/// Whether the body is announced as this type or as one made of it, such as `application/problem+json` (RFC 6839 section
/// 3.1), with any parameters.
fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let announced = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let parts = |text: &str| text.split_once('/').map(|(kind, subtype)| (kind.to_owned(), subtype.to_owned()));
    let (Some((kind, subtype)), Some((wanted_kind, wanted))) = (parts(&announced), parts(media_type)) else {
        return false;
    };
    kind == wanted_kind && (subtype == wanted || subtype.ends_with(&format!("+{wanted}")))
}
