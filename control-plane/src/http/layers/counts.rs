//! What holds for every answer: it is counted, and no cache keeps it.

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::counters::{Counters, RequestLabels};

/// Counts every answer by its route and the class of its status.
pub(in crate::http) async fn count_requests(
    State(counters): State<Counters>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    // Both spellings of a path are one route.
    let route = route.trim_end_matches('/').to_owned();
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

/// Keeps answers out of the caches on the way: each is true for one token at one moment.
pub(in crate::http) async fn no_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
