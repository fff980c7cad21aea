//! The internal listener's secret.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::http::header::ALLOW;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::warn;

use crate::abuse::source::Source;
use crate::http::connection::Peer;
use crate::http::connections::Visit;
use crate::http::counters::{Counters, RefusalLabels};
use crate::http::extract::bearer_secret;
use crate::http::problem::ApiError;
use crate::log_throttle::LogThrottle;
use crate::secret::Secret;

/// The secret of callers of the internal listener, and the paths that need none.
#[derive(Clone)]
pub(in crate::http) struct InternalSecret {
    pub(in crate::http) secret: Secret,
    pub(in crate::http) open_paths: Arc<[&'static str]>,
    pub(in crate::http) counters: Counters,
    pub(in crate::http) lines: Arc<LogThrottle>,
}

/// Checks the internal secret before the body is read. Open paths need none.
pub(in crate::http) async fn require_internal_secret(
    State(internal): State<InternalSecret>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let path = request.extensions().get::<MatchedPath>();
    let is_open = path.is_some_and(|path| internal.open_paths.contains(&path.as_str()));
    let offered = bearer_secret(request.headers());
    if !is_open && !internal.secret.matches(offered.unwrap_or_default()) {
        internal.refused(offered.map_or("missing", |_| "wrong"), request.extensions().get(), Instant::now());
        return Err(ApiError::InternalSecret);
    }
    if let Some(visit) = request.extensions().get::<Visit>().filter(|_| !is_open) {
        visit.trust();
    }
    Ok(next.run(request).await)
}

impl InternalSecret {
    /// Counts a call without the secret. A guess, a scanner, or a filter with an old secret looks like this, so operators are
    /// told where it comes from.
    fn refused(&self, reason: &'static str, peer: Option<&Peer>, now: Instant) {
        self.counters.internal_secret_refused.get_or_create(&RefusalLabels { reason }).inc();
        if let Some(calls) = self.lines.line(now) {
            let address = peer.map(|peer| tracing::field::display(Source::of_peer(peer.0)));
            warn!(calls, reason, address, "calls without the internal secret were refused");
        }
    }
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
