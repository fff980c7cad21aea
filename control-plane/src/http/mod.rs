//! The HTTP side: two routers, thin handlers, one error type.
//!
//! Every answer is `Cache-Control: no-store`, every error is `application/problem+json` with a stable code, whatever
//! went wrong: an unknown path, a body too large, a panic.

mod check;
mod connection;
mod counters;
mod extract;
mod feed;
mod layers;
mod lgt_all;
mod logout;
mod operations;
mod problem;
mod ready;
pub mod server;
mod sessions;
mod settled;
mod state;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use tower_http::catch_panic::CatchPanicLayer;

pub use connection::{Peer, Streams};
pub use counters::{CheckLabels, Counters, LogoutLabels, RefusalLabels, RequestLabels};
use layers::{AnswerPanic, BodyLimit, Purpose, Watched};
pub use problem::ApiError;
pub use state::AppState;
pub use tokens::MAX_TOKENS;

/// Where tokens are registered at their issue.
pub const TOKENS_PATH: &str = "/internal/v1/tokens";

/// The document that describes both listeners.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Bytes of body that an endpoint takes unless it says otherwise.
const SMALL_BODY: usize = 16 * 1024;

/// Bytes of body for a registration: a thousand tokens of 8 KiB with their devices.
const TOKENS_BODY: usize = 10 * 1024 * 1024;

/// What clients reach through Envoy.
pub fn public_router(state: Arc<AppState>) -> Router {
    let time = state.logout_timeout();
    let bodiless = |routes: Routes| routes.layer(from_fn_with_state(time, layers::without_body));
    let logout = bodiless(post(logout::logout));
    let logout_all = bodiless(post(logout::logout_all_device));
    let proxies = Some(state.trusted_proxies);
    let routes = Router::new()
        .route("/api/v2/logout", watched(&state, "logout", proxies, logout))
        .route("/api/v2/logout-all-device", watched(&state, "logout_all_device", proxies, logout_all))
        .route("/api/v2/logout/status/{id}", bodiless(get(settled::status)));
    finish(with_fallbacks(routes), state)
}

/// What the filter, services and operators reach.
pub fn internal_router(state: Arc<AppState>) -> Router {
    let limit = BodyLimit {
        bytes: SMALL_BODY,
        time: state.request_timeout,
        purpose: Purpose::Write,
        answer: state.logout_timeout(),
    };
    let lgt_all = post(lgt_all::lgt_all).layer(from_fn_with_state(limit, layers::bound));
    let answer = state.request_timeout.saturating_add(state.leases.longest_hold());
    let limit = BodyLimit { bytes: SMALL_BODY, time: state.request_timeout, purpose: Purpose::Read, answer };
    let feed = post(feed::feed).layer(from_fn_with_state(limit, layers::bound));
    let routes = Router::new()
        .route(curfew_core::wire::CHECK_PATH, bounded(&state, SMALL_BODY, Purpose::Read, post(check::check)))
        .route(curfew_core::wire::FEED_PATH, feed)
        .route("/internal/v1/gateways", bounded(&state, SMALL_BODY, Purpose::Read, get(feed::gateways)))
        .route(TOKENS_PATH, bounded(&state, TOKENS_BODY, Purpose::Write, post(tokens::register)))
        .route("/internal/v1/users/{id}/sessions", bounded(&state, SMALL_BODY, Purpose::Read, get(sessions::list)))
        // Backends call it themselves: what they write about proxies means nothing here.
        .route("/api/v2/lgt-all", watched(&state, "lgt_all", None, lgt_all))
        .route("/livez", get(operations::livez))
        .route("/readyz", get(ready::readyz))
        .route("/metrics", get(operations::metrics))
        .route("/openapi.json", get(operations::openapi));
    let secret = from_fn_with_state(Arc::clone(&state), layers::require_internal_secret);
    // Around the answers to unknown paths and methods too: without the secret, what is not there looks like what is.
    let router = finish(with_fallbacks(routes).layer(secret), state);
    // axum adds `Allow` outside of all layers, so this one is around the whole.
    Router::new().fallback_service(router).layer(from_fn(layers::hide_methods))
}

/// The internal paths that are answered without the secret. `lgt-all` has credentials of its own; the others are for
/// probes and scrapers, which have none, and tell nothing about anybody.
const OPEN_PATHS: [&str; 5] = ["/api/v2/lgt-all", "/livez", "/readyz", "/metrics", "/openapi.json"];

fn with_fallbacks(routes: Router<Arc<AppState>>) -> Router<Arc<AppState>> {
    routes.fallback(async || ApiError::NotFound).method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
}

type Routes = MethodRouter<Arc<AppState>>;

/// Reads the body before the handler runs, within a size and a time, and bounds the time for the answer.
fn bounded(state: &AppState, bytes: usize, purpose: Purpose, routes: Routes) -> Routes {
    let limit = BodyLimit { bytes, time: state.request_timeout, purpose, answer: state.request_timeout };
    routes.layer(from_fn_with_state(limit, layers::bound))
}

/// Counts how calls of a logout endpoint end, and limits how often they fail.
fn watched(state: &Arc<AppState>, endpoint: &'static str, proxies: Option<usize>, routes: Routes) -> Routes {
    let watched = Watched { endpoint, proxies, state: Arc::clone(state) };
    routes.layer(from_fn_with_state(watched, layers::watch_logouts))
}

/// What holds for every answer of a listener, those to unknown paths included.
fn finish(routes: Router<Arc<AppState>>, state: Arc<AppState>) -> Router {
    let counters = state.counters.clone();
    routes
        // The bodies are bounded by `bounded`; axum's own limit of 2 MB would cut a large registration short.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(AnswerPanic(counters.clone())))
        .layer(from_fn_with_state(counters, layers::count_requests))
        .layer(from_fn(layers::no_store))
        .with_state(state)
}
