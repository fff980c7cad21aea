//! What is done around the handlers: bounds, secrets, counts, panics.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue, Response as HttpResponse, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use tower_http::catch_panic::ResponseForPanic;

use super::error::Code;
use super::extract::bearer_secret;
use super::{ApiError, OPEN_PATHS};
use crate::metrics::{LogoutLabels, Metrics, RequestLabels};
use crate::state::AppState;
use crate::store::command::Unavailable;

/// How much of a body is read, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimit {
    pub(super) bytes: usize,
    pub(super) time: Duration,
    pub(super) purpose: Purpose,
}

/// What an endpoint does, and so what it means when its answer is late.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// It only reads: nothing has changed.
    Read,
    /// It writes: that may have happened, or may still.
    Write,
}

impl Purpose {
    const fn late(self) -> ApiError {
        match self {
            Self::Read => ApiError::Read,
            Self::Write => ApiError::Write(Unavailable::Unconfirmed),
        }
    }
}

/// Reads the whole body before the handler starts, so that no handler waits for a slow client.
pub(super) async fn bound(State(limit): State<BodyLimit>, request: Request, next: Next) -> Result<Response, ApiError> {
    if announced_length(request.headers()).is_some_and(|length| length > limit.bytes) {
        return Err(ApiError::PayloadTooLarge(limit.bytes));
    }
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(limit.time, to_bytes(body, limit.bytes))
        .await
        .map_err(|_| ApiError::RequestTimeout)?
        .map_err(|error| unread(&error, limit))?;
    let request = Request::from_parts(parts, Body::from(body));
    // A handler that gives up by itself knows more; this is the bound where the configured time is shorter.
    let answered = tokio::time::timeout(limit.time, next.run(request)).await;
    answered.map_err(|_| limit.purpose.late())
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn unread(error: &axum::Error, limit: BodyLimit) -> ApiError {
    let too_large = std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>());
    if too_large {
        ApiError::PayloadTooLarge(limit.bytes)
    } else {
        ApiError::Malformed("The request's body broke off.".to_owned())
    }
}

/// Lets through who knows the internal secret, before anything of the body is read, and everybody to an open path.
pub(super) async fn require_internal_secret(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let is_open = request.extensions().get::<MatchedPath>().is_some_and(|path| OPEN_PATHS.contains(&path.as_str()));
    let offered = bearer_secret(request.headers()).unwrap_or_default();
    if !is_open && !state.internal_secret.matches(offered) {
        return Err(ApiError::InternalSecret);
    }
    Ok(next.run(request).await)
}

/// Takes the list of a path's methods from the answer to whoever may not know that there is such a path.
pub(super) async fn hide_methods(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().remove(ALLOW);
    }
    response
}

/// A logout endpoint whose calls are counted.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) endpoint: &'static str,
    pub(super) state: Arc<AppState>,
}

/// Counts how calls of a logout endpoint end, and notes refused ones for the log.
pub(super) async fn watch_logouts(State(watched): State<Watched>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let code = response.extensions().get::<Code>().map(|code| code.0);
    if let Some(code) = code {
        watched.state.failures.record(code);
    }
    let labels = LogoutLabels { endpoint: watched.endpoint, outcome: code.unwrap_or("ok") };
    watched.state.metrics.logouts.get_or_create(&labels).inc();
    response
}

/// Counts every answer by its route and its status' class.
pub(super) async fn count_requests(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let status = response.status();
    tracing::debug!(%method, route, status = status.as_u16(), "answered");
    let labels = RequestLabels { route, status: class(status) };
    metrics.requests.get_or_create(&labels).inc();
    response
}

const fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// No answer may be kept by a cache on the way: each is true for one token at one moment.
pub(super) async fn no_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Turns a handler's panic into a 500 and counts it. The panic's own message is on stderr already.
#[derive(Clone)]
pub(super) struct AnswerPanic(pub(super) Arc<Metrics>);

impl ResponseForPanic for AnswerPanic {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, _: Box<dyn Any + Send + 'static>) -> HttpResponse<Body> {
        self.0.panics.inc();
        ApiError::Internal.into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    async fn panics() {
        panic!("a handler's mistake");
    }

    #[tokio::test]
    async fn a_panic_costs_one_request_and_is_counted() {
        let metrics = Arc::new(Metrics::new());
        let router =
            Router::new().route("/", get(panics)).layer(CatchPanicLayer::custom(AnswerPanic(Arc::clone(&metrics))));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        assert_eq!(
            body,
            r#"{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"The request failed for a reason of the server's.","code":"internal_error"}"#
        );
        assert_eq!(metrics.panics.get(), 1);
    }
}
