//! `POST /internal/v1/explain`: why a token is accepted or not, and which revocations are stored under its keys.

use std::sync::Arc;

use axum::extract::State;
use curfew_core::wire::CheckVerdict;
use curfew_core::{ProvenToken, Times, TokenError, TokenKeys, UnprovenToken};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::http::extract::Json;
use crate::http::problem::ApiError;
use crate::http::state::AppState;
use crate::leases::Gateway;
use crate::store::{Explained, Found, Registered};

/// The path of an explanation.
pub const EXPLAIN_PATH: &str = "/internal/v1/explain";

/// The token to explain. No `Debug`: it holds a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Question {
    token: String,
}

/// The answer of `POST /internal/v1/explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Whether the token is accepted, apart from any logout.
    pub accepted: bool,
    /// Whether the token is accepted and a revocation covers it. Absent if its claims cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<bool>,
    /// The rule that the token breaks; absent if it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Broken>,
    /// What the token says. Without `key` nothing has proven it: anybody could have made the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Told>,
    /// What is stored about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Kept>,
}

/// The rule that a token breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The stable code of the 401.
    pub code: String,
    /// The rule, as in `curfew_tokens_refused`.
    pub reason: String,
    /// A sentence.
    pub detail: String,
}

/// What a token says. Times are seconds of Unix time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The issuer namespace; empty for an issuer without a name.
    pub issuer: String,
    /// The user claim.
    pub user: Option<String>,
    /// The session claim.
    pub session: Option<String>,
    /// `iat`.
    pub issued_at: Option<i64>,
    /// What cutoffs are compared with.
    pub cutoff_time: Option<i64>,
    /// `exp`.
    pub expires_at: i64,
    /// The key that has proven the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
}

/// A key of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its algorithm.
    pub algorithm: String,
    /// Its `kid`, if it has one.
    pub kid: Option<String>,
}

/// What is stored about a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The history of the log.
    pub epoch: String,
    /// The log's head when this was read.
    pub seq: u64,
    /// The revocations under the token's keys, in the order of the log.
    pub revocations: Vec<Found>,
    /// The token's row, if it is known.
    pub registration: Option<Registered>,
    /// The workers that poll this control plane.
    pub workers: Vec<Holder>,
}

/// A worker, and whether it refuses the token by its own copy of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The worker.
    #[serde(flatten)]
    pub worker: Gateway,
    /// True if it holds all revocations above, as far as this control plane knows.
    pub holds: bool,
}

/// A token as far as it could be read.
struct Read {
    keys: TokenKeys,
    times: Times,
    told: Told,
}

/// Explains a token. It changes nothing, and it is no admission.
pub(in crate::http) async fn explain(
    State(state): State<Arc<AppState>>,
    Json(Question { token }): Json<Question>,
) -> Result<axum::Json<Explanation>, ApiError> {
    let text = token.trim().as_bytes();
    let proven = state.prove_uncounted(text);
    let refusal = proven.as_ref().err().map(broken);
    let read = match proven {
        Ok(token) => Some(by_proof(&state, token)),
        Err(_) => state.policy.read_unproven(text).ok().map(without_proof),
    };
    let Some(Read { keys, times, told }) = read else {
        return Ok(axum::Json(Explanation { accepted: false, revoked: None, refusal, token: None, stored: None }));
    };
    let asked = timeout(state.check_timeout, state.records.explain(&keys, times.cutoff_time)).await;
    let explained = asked.unwrap_or_else(|_| Err(state.records.late()))?;
    let (accepted, revoked) = (refusal.is_none(), explained.verdict == CheckVerdict::Revoked);
    let stored = Some(kept(&state, explained));
    Ok(axum::Json(Explanation { accepted, revoked: Some(revoked), refusal, token: Some(told), stored }))
}

fn broken(error: &TokenError) -> Broken {
    let (code, reason) = (error.denial().code().to_owned(), error.reason().to_owned());
    Broken { code, reason, detail: error.to_string() }
}

fn by_proof(state: &AppState, token: ProvenToken) -> Read {
    let keys = state.keys.current();
    let key = keys
        .find(token.key)
        .map(|key| Key { algorithm: key.algorithm().as_str().to_owned(), kid: key.kid().map(str::to_owned) });
    let ProvenToken { keys, times, issuer, user, session_id, .. } = token;
    let told = told(issuer, user, session_id, &times);
    Read { keys, times, told: Told { key, ..told } }
}

fn without_proof(token: UnprovenToken) -> Read {
    let UnprovenToken { keys, times, issuer, user, session_id } = token;
    let told = told(issuer, user, session_id, &times);
    Read { keys, times, told }
}

fn told(issuer: String, user: Option<String>, session: Option<String>, times: &Times) -> Told {
    let (issued_at, cutoff_time, expires_at) = (times.issued_at, times.cutoff_time, times.expires_at);
    Told { issuer, user, session, issued_at, cutoff_time, expires_at, key: None }
}

fn kept(state: &AppState, explained: Explained) -> Kept {
    let Explained { position, revocations, registration, .. } = explained;
    let newest = revocations.iter().map(|found| found.seq).max().unwrap_or(0);
    // A worker of another history shows no lag.
    let holds = |worker: &Gateway| worker.lag.is_some() && worker.applied >= newest;
    let workers = state.leases.list().workers.into_iter();
    let workers = workers.map(|worker| Holder { holds: holds(&worker), worker }).collect();
    Kept { epoch: position.epoch.to_string(), seq: position.seq, revocations, registration, workers }
}
