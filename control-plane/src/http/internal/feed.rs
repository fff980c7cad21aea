//! `POST /internal/v1/feed`: a worker's poll. `GET /internal/v1/gateways`: which workers poll.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use curfew_core::wire::{FeedAnswer, FeedRequest};

use super::disagreement::keyspace_unknown;
use crate::http::connection::Peer;
use crate::http::extract::Json;
use crate::http::problem::ApiError;
use crate::http::state::AppState;
use crate::leases::{Caller, GatewayList, PollFailure};

/// How the filter's User-Agent begins.
const FILTER: &str = "curfew-filter/";

/// The most bytes of a version that are shown.
const LONGEST_VERSION: usize = 32;

/// Answers as soon as there is news for the worker, or when the worker does not want to wait any longer.
pub(in crate::http) async fn feed(
    State(state): State<Arc<AppState>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Json(request): Json<FeedRequest>,
) -> Result<axum::Json<FeedAnswer>, ApiError> {
    if !request.keyspaces.iter().all(|keyspace| state.policy.knows(*keyspace)) {
        return Err(keyspace_unknown(&state, &headers));
    }
    if i64::try_from(request.applied).is_err() {
        return Err(ApiError::Malformed("applied is no position in any log.".to_owned()));
    }
    if request.epoch.is_none() && request.applied > 0 {
        return Err(ApiError::Malformed("applied means nothing without an epoch.".to_owned()));
    }
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(Peer(address))| address);
    let caller = Caller { address, version: version(&headers) };
    state.leases.poll(&request, caller).await.map(axum::Json).map_err(|failure| match failure {
        PollFailure::Full(most) => ApiError::PollsFull(most),
        PollFailure::Unread => ApiError::Read,
    })
}

/// The filter's version, from `user-agent: curfew-filter/VERSION`.
fn version(headers: &HeaderMap) -> Option<String> {
    let version = headers.get(USER_AGENT)?.to_str().ok()?.strip_prefix(FILTER)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
    (version.len() <= LONGEST_VERSION && !version.is_empty() && version.bytes().all(plain)).then(|| version.to_owned())
}

/// The workers that have polled this control plane of late.
pub(in crate::http) async fn gateways(State(state): State<Arc<AppState>>) -> axum::Json<GatewayList> {
    axum::Json(state.leases.list())
}
