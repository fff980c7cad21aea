//! The internal listener's secret.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::http::header::ALLOW;
use axum::middleware::Next;
use axum::response::Response;

use crate::http::connections::Visit;
use crate::http::extract::bearer_secret;
use crate::http::problem::ApiError;
use crate::secret::Secret;

/// The secret of callers of the internal listener, and the paths that need none.
#[derive(Clone)]
pub(in crate::http) struct InternalSecret {
    pub(in crate::http) secret: Secret,
    pub(in crate::http) open_paths: Arc<[&'static str]>,
}

/// Checks the internal secret before the body is read. Open paths need none.
pub(in crate::http) async fn require_internal_secret(
    State(internal): State<InternalSecret>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let path = request.extensions().get::<MatchedPath>();
    let is_open = path.is_some_and(|path| internal.open_paths.contains(&path.as_str()));
    let offered = bearer_secret(request.headers()).unwrap_or_default();
    if !is_open && !internal.secret.matches(offered) {
        return Err(ApiError::InternalSecret);
    }
    if let Some(visit) = request.extensions().get::<Visit>().filter(|_| !is_open) {
        visit.trust();
    }
    Ok(next.run(request).await)
}

/// Removes the list of a path's methods from an answer 401. A caller without a credential must not learn which paths
/// exist.
pub(in crate::http) async fn hide_methods(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().remove(ALLOW);
    }
    response
}
