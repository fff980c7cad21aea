//! The two routers, made from the route table.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::MethodRouter;
use tower_http::catch_panic::CatchPanicLayer;

use super::endpoint::Endpoint;
use super::entrance::Entrance;
use super::layers::{
    AnswerPanic, Bounds, InternalSecret, count_requests, hide_methods, no_store, require_internal_secret,
};
use super::problem::ApiError;
use super::route::{Access, Listener, Purpose};
use super::routes::{Kind, ROUTES, Route};
use super::state::AppState;

/// What clients reach through Envoy.
pub fn public_router(state: Arc<AppState>) -> Router {
    finish(routes(Listener::Public, &state), state)
}

/// What the filter, services and operators reach.
pub fn internal_router(state: Arc<AppState>) -> Router {
    let secret = InternalSecret {
        secret: state.internal_secret.clone(),
        open_paths: open_paths().into(),
        counters: state.counters.clone(),
        lines: Arc::default(),
    };
    let secret = from_fn_with_state(secret, require_internal_secret);
    // The layer is also around the answers to unknown paths and methods: without the secret, a path that does not exist
    // looks like one that does.
    let router = finish(routes(Listener::Internal, &state).layer(secret), state);
    // axum adds `Allow` outside of all layers, so this one is around the whole.
    Router::new().fallback_service(router).layer(from_fn(hide_methods))
}

/// The table's routes of one listener, and an answer for everything else.
fn routes(listener: Listener, state: &AppState) -> Router<Arc<AppState>> {
    let routes = ROUTES.iter().filter(|route| route.listener == listener);
    routes
        .fold(Router::new(), |router, route| add(router, route, state))
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
}

#[expect(clippy::disallowed_methods, reason = "this serves the table")]
fn add(router: Router<Arc<AppState>>, route: &Route, state: &AppState) -> Router<Arc<AppState>> {
    let router = router.route(route.path, route.service(state));
    match route.with_slash() {
        Some(path) => router.route(&path, route.service(state)),
        None => router,
    }
}

/// The paths of the internal listener that need no secret. A path with two methods is as closed as the stricter one.
fn open_paths() -> Vec<&'static str> {
    let internal = || ROUTES.iter().filter(|route| route.listener == Listener::Internal);
    let closed = |path: &str| internal().any(|route| route.path == path && route.access == Access::InternalSecret);
    internal().map(|route| route.path).filter(|path| !closed(path)).collect()
}

impl Route {
    /// The bounds on what a caller can hold. The kind of the endpoint decides how long a body and an answer may take.
    fn bounds(&self, state: &AppState) -> Bounds {
        let time = state.request_timeout;
        let (answer_within, writes) = match self.kind {
            // A logout also waits for leases.
            Kind::Entrance(..) => (Some(time.saturating_add(state.leases.longest_wait())), true),
            Kind::Endpoint(Purpose::LongPoll, _) => (Some(time.saturating_add(state.leases.longest_hold())), false),
            Kind::Endpoint(Purpose::Read, _) => (Some(time), false),
            Kind::Endpoint(Purpose::Write, _) => (Some(time), true),
            Kind::Endpoint(Purpose::Probe, _) => (None, false),
        };
        Bounds { body: self.body, read_within: time, answer_within, writes }
    }

    fn service(&self, state: &AppState) -> MethodRouter<Arc<AppState>> {
        let (method, bounds) = (self.method.into(), self.bounds(state));
        match self.kind {
            Kind::Entrance(name, serve) => {
                // Backends call the internal listener directly, so `X-Forwarded-For` means nothing there.
                let proxies = (self.listener == Listener::Public).then_some(state.trusted_proxies);
                serve(Entrance { name, method, bounds, proxies }).into()
            }
            Kind::Endpoint(_, serve) => serve(Endpoint { method, bounds }).into(),
        }
    }
}

/// Adds the layers for every answer of a listener, including the answers to unknown paths.
fn finish(routes: Router<Arc<AppState>>, state: Arc<AppState>) -> Router {
    let counters = state.counters.clone();
    routes
        // Each route bounds its body; axum's own limit of 2 MB would cut a large registration short.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(AnswerPanic(counters.clone())))
        .layer(from_fn_with_state(counters, count_requests))
        .layer(from_fn(no_store))
        .with_state(state)
}
