//! The only path of an entrance from a request to its answer.
//!
//! An entrance's handler authenticates the caller and hands a command to the writer. The writer returns a
//! [`Committed`], which the handler passes to [`Call::finish`]. That waits for this very commit and makes the answer, a
//! [`LoggedOut`]. There is no other way to make a [`LoggedOut`], and no other way from an endpoint to the commands that
//! revoke. The only other answer of an entrance is an error.
//!
//! ```
//! use curfew_control_plane::http::{ApiError, Call, Caller, Entrance, EntranceService, LoggedOut};
//!
//! async fn logout(call: Call, Caller(token): Caller) -> Result<LoggedOut, ApiError> {
//!     let committed = call.writer().logout((&token).into()).await?;
//!     call.finish(committed, |_| Ok("logged out")).await
//! }
//!
//! fn serve(entrance: Entrance) -> EntranceService {
//!     entrance.handled_by(logout)
//! }
//! ```
//!
//! So a handler that leaves the barrier out does not compile, whatever it answers instead:
//!
//! ```compile_fail,E0271
//! use curfew_control_plane::http::{ApiError, Call, Caller, Entrance, EntranceService};
//!
//! async fn logout(call: Call, Caller(token): Caller) -> Result<&'static str, ApiError> {
//!     let _committed = call.writer().logout((&token).into()).await?;
//!     Ok("logged out")
//! }
//!
//! fn serve(entrance: Entrance) -> EntranceService {
//!     entrance.handled_by(logout)
//! }
//! ```
//!
//! Neither does a handler that makes the answer itself:
//!
//! ```compile_fail,E0451
//! use curfew_control_plane::http::{ApiError, Call, Caller, LoggedOut};
//!
//! async fn logout(call: Call, Caller(token): Caller) -> Result<LoggedOut, ApiError> {
//!     let _committed = call.writer().logout((&token).into()).await?;
//!     Ok(LoggedOut { response: Default::default() })
//! }
//! ```
//!
//! Neither does a handler that ignores the caller's preference for an early answer: it has no part in that choice, and
//! no other way to wait.
//!
//! ```compile_fail,E0616
//! use curfew_control_plane::http::{ApiError, Call, Caller};
//!
//! async fn logout(call: Call, Caller(token): Caller) -> Result<(), ApiError> {
//!     let committed = call.writer().logout((&token).into()).await?;
//!     call.state.entrances.logouts.confirm(committed).await?;
//!     Ok(())
//! }
//! ```

mod call;
mod commands;
mod logged_out;
mod watch;

use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};

use super::layers::Bounds;
use super::problem::ApiError;
use super::state::AppState;
use watch::Watch;

pub use call::Call;
pub use commands::Entrances;
pub use logged_out::LoggedOut;

/// An entrance of the route table, without its handler yet.
#[derive(Debug)]
pub struct Entrance {
    /// Its label in the metrics.
    pub(super) name: &'static str,
    pub(super) method: MethodFilter,
    pub(super) bounds: Bounds,
    /// The number of trusted proxies in front of it; `None` where callers connect directly.
    pub(super) proxies: Option<usize>,
}

/// An entrance with its handler; only [`Entrance::handled_by`] makes one.
pub struct EntranceService(MethodRouter<Arc<AppState>>);

/// W3C Clear Site Data.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

impl Entrance {
    /// Serves it by a handler that is given the call and what it extracts from the request.
    pub fn handled_by<M, A, H, F>(self, handler: H) -> EntranceService
    where
        A: FromRequest<Arc<AppState>, M, Rejection = ApiError> + Send + 'static,
        H: Fn(Call, A) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<LoggedOut, ApiError>> + Send + 'static,
    {
        let (method, entrance) = (self.method, Arc::new(self));
        EntranceService(on(method, async move |State(state): State<Arc<AppState>>, request: Request| {
            entrance.answer(state, request, handler).await
        }))
    }

    /// Answers a call, and counts how it ends. The handler's return type tells how, so that no handler can forget to
    /// count.
    async fn answer<M, A, H, F>(&self, state: Arc<AppState>, mut request: Request, handler: H) -> Response
    where
        A: FromRequest<Arc<AppState>, M, Rejection = ApiError>,
        H: Fn(Call, A) -> F,
        F: Future<Output = Result<LoggedOut, ApiError>>,
    {
        let watch = Watch::begin(self, &state, &mut request);
        let call = Call::of(Arc::clone(&state), Arc::clone(watch.attempt()), request.headers());
        let clear = self.proxies.and(state.clear_site_data.value()).filter(|_| is_browser(request.headers())).cloned();
        let outcome = watch.end(self.outcome(call, request, handler).await);
        let is_over = outcome.as_ref().map_or_else(ApiError::says_revoked, |answer| !answer.caller_stays());
        let mut response = outcome.into_response();
        // A token that was logged out before has left the same things behind.
        response.headers_mut().extend(clear.filter(|_| is_over).map(|clear| (CLEAR_SITE_DATA, clear)));
        response
    }

    async fn outcome<M, A, H, F>(&self, call: Call, request: Request, handler: H) -> Result<LoggedOut, ApiError>
    where
        A: FromRequest<Arc<AppState>, M, Rejection = ApiError>,
        H: Fn(Call, A) -> F,
        F: Future<Output = Result<LoggedOut, ApiError>>,
    {
        let request = self.bounds.take_body(request).await?;
        let answered = self.bounds.in_time(async {
            let extracted = A::from_request(request, call.shared_state()).await?;
            handler(call, extracted).await
        });
        answered.await?
    }
}

/// Browsers send one of these with every POST, and scripts cannot suppress them.
fn is_browser(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name == ORIGIN || name.as_str().starts_with("sec-fetch-"))
}

impl From<EntranceService> for MethodRouter<Arc<AppState>> {
    fn from(service: EntranceService) -> Self {
        service.0
    }
}
