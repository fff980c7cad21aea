//! What is done around the handlers: bounds, secrets, counts, panics.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue, Response as HttpResponse, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use curfew_core::{Denial, TokenError, from_authorization};
use http_body_util::LengthLimitError;
use tower_http::catch_panic::ResponseForPanic;
use tracing::warn;

use super::connection::Peer;
use super::counters::{Counters, LogoutLabels, RequestLabels};
use super::extract::bearer_secret;
use super::problem::Refusal;
use super::state::AppState;
use super::{ApiError, OPEN_PATHS};
use crate::abuse::LimitLabels;
use crate::abuse::attempts::{Attempt, TokenId, TooMany};
use crate::abuse::source::Source;
use crate::store::command::Unavailable;

/// How much of a body is read, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimit {
    pub(super) bytes: usize,
    /// For the body.
    pub(super) time: Duration,
    pub(super) purpose: Purpose,
    /// For the answer after it.
    pub(super) answer: Duration,
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
    let answered = tokio::time::timeout(limit.answer, next.run(request)).await;
    answered.map_err(|_| limit.purpose.late())
}

/// How long what a logout was sent as a body may go on arriving once it is of no use.
const UNUSED_BODY: Duration = Duration::from_secs(1);

/// Starts the handler without the body: a logout is in its headers, and whoever has yet to send the rest would
/// otherwise hold a place here and in every proxy on the way without showing anything.
pub(super) async fn without_body(
    State(time): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    if !body.is_end_stream() {
        tokio::spawn(discard(body));
    }
    let answered = tokio::time::timeout(time, next.run(Request::from_parts(parts, Body::empty()))).await;
    answered.map_err(|_| Purpose::Write.late())
}

/// Reads a small body that comes soon and forgets it; gives up any other. Dropped at once, a body that is still on its
/// way would close the connection under the answer.
async fn discard(body: Body) {
    let _ = tokio::time::timeout(UNUSED_BODY, to_bytes(body, super::SMALL_BODY)).await;
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
    /// How many proxies of our own stand before this endpoint; none where callers come by themselves.
    pub(super) proxies: Option<usize>,
    pub(super) state: Arc<AppState>,
}

/// Counts how calls of a logout endpoint end, notes refused ones for the log, and tells those 429 that fail too often.
pub(super) async fn watch_logouts(State(watched): State<Watched>, mut request: Request, next: Next) -> Response {
    let attempt = Arc::new(Attempt::from(watched.source(&request)));
    request.extensions_mut().insert(Arc::clone(&attempt));
    let shown = request.headers().get(AUTHORIZATION).cloned();
    let mut unanswered = Unanswered { state: &watched.state, attempt: Some(&attempt) };
    let response = next.run(request).await;
    unanswered.attempt = None;
    let Some(refusal) = response.extensions().get::<Refusal>().copied() else {
        watched.count("ok");
        return response;
    };
    let limited = is_failed_attempt(&response, refusal).then(|| watched.limit(&attempt, shown.as_ref(), refusal));
    let limited = limited.flatten();
    let code = limited.as_ref().map_or(refusal.code, ApiError::code);
    // What became of it, and why it failed in the first place.
    let reason = refusal.reason.or(limited.is_some().then_some(refusal.code));
    watched.state.failures.record(code, reason);
    watched.count(code);
    limited.map_or(response, IntoResponse::into_response)
}

/// An attempt whose answer is waited for. Whoever goes away while a signature is checked has cost as much as one who
/// fails, and would otherwise never be counted.
struct Unanswered<'a> {
    state: &'a AppState,
    attempt: Option<&'a Attempt>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt.filter(|attempt| attempt.has_begun()) {
            // Nobody is there to be told.
            let _ = self.state.attempts.failed(&attempt.source, None);
        }
    }
}

/// Whether somebody has shown something that does not entitle to a logout. Not who has shown a good token, or an
/// application's key, and named no user.
fn is_failed_attempt(response: &Response, refusal: Refusal) -> bool {
    response.status() == StatusCode::UNAUTHORIZED && refusal.code != ApiError::UserIdMissing.code()
}

/// Whether it was a token that got as far as its signature.
fn is_about_a_token(refusal: Refusal) -> bool {
    refusal.reason == Some(TokenError::Signature.reason()) || refusal.code == Denial::Revoked.code()
}

impl Watched {
    fn source(&self, request: &Request) -> Source {
        let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
        if self.proxies == Some(0) && request.headers().contains_key("x-forwarded-for") {
            warn_of_forwarded_requests();
        }
        Source::of(peer, request.headers(), self.proxies.unwrap_or(0))
    }

    /// Counts a failed attempt; what to tell it if there have been too many.
    fn limit(&self, attempt: &Attempt, shown: Option<&HeaderValue>, refusal: Refusal) -> Option<ApiError> {
        let shown = shown.filter(|_| is_about_a_token(refusal));
        let token = shown.and_then(|shown| from_authorization(shown.as_bytes()).ok()).map(TokenId::of);
        let TooMany { by, retry_after } = self.state.attempts.failed(&attempt.source, token.as_ref()).err()?;
        self.state.abuse_counters.limited.get_or_create(&LimitLabels { by }).inc();
        // Rounded up, so that whoever waits that long has waited long enough.
        Some(ApiError::TooManyFailures(retry_after.as_secs().saturating_add(1)))
    }

    fn count(&self, outcome: &'static str) {
        self.state.counters.logouts.get_or_create(&LogoutLabels { endpoint: self.endpoint, outcome }).inc();
    }
}

/// Says once that the setting is missing without which all clients are one.
fn warn_of_forwarded_requests() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        warn!(
            "logouts arrive with X-Forwarded-For, but CURFEW_TRUSTED_PROXIES is 0: the failures of all clients behind a \
             proxy count as its own"
        );
    });
}

/// Counts every answer by its route and its status' class.
pub(super) async fn count_requests(State(counters): State<Counters>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let status = response.status();
    tracing::debug!(%method, route, status = status.as_u16(), "answered");
    let labels = RequestLabels { route, status: class(status) };
    counters.requests.get_or_create(&labels).inc();
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
pub(super) struct AnswerPanic(pub(super) Counters);

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
        let counters = Counters::default();
        let router =
            Router::new().route("/", get(panics)).layer(CatchPanicLayer::custom(AnswerPanic(counters.clone())));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        assert_eq!(
            body,
            r#"{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"The request failed for a reason of the server's.","code":"internal_error"}"#
        );
        assert_eq!(counters.panics.get(), 1);
    }
}
