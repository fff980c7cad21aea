//! A filter whose settings are not the control plane's: its questions are refused, and both sides say why.

use axum::http::HeaderMap;
use curfew_core::{AGREEMENT_HEADER, Agreement, Differences};

use crate::http::problem::ApiError;
use crate::http::state::AppState;

/// The refusal of a question whose keyspace is unknown here. It names the settings that differ, if the filter has sent
/// their hashes; older filters do not.
pub(super) fn keyspace_unknown(state: &AppState, headers: &HeaderMap) -> ApiError {
    let sent = headers.get(AGREEMENT_HEADER).and_then(|value| value.to_str().ok()).and_then(Agreement::parse);
    let differences = sent.map_or_else(Differences::default, |filter| state.policy.agreement().differences(&filter));
    state.notices.disagreement(differences);
    ApiError::KeyspaceUnknown(differences)
}
