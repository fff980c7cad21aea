//! The one way to serve an endpoint that revokes nothing: within its bounds.

use std::sync::Arc;

use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::layers::{Bounds, bound};
use super::state::AppState;

/// An endpoint of the route table, without its handler yet.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) method: MethodFilter,
    pub(super) bounds: Bounds,
}

/// An endpoint with its handler; only [`Endpoint::handled_by`] makes one.
pub struct EndpointService(MethodRouter<Arc<AppState>>);

impl Endpoint {
    /// Serves it by an axum handler.
    pub fn handled_by<H: Handler<T, Arc<AppState>>, T: 'static>(self, handler: H) -> EndpointService {
        EndpointService(on(self.method, handler).layer(from_fn_with_state(self.bounds, bound)))
    }
}

impl From<EndpointService> for MethodRouter<Arc<AppState>> {
    fn from(service: EndpointService) -> Self {
        service.0
    }
}
