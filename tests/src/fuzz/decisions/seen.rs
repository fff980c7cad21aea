//! A request and a callout as they can be seen from outside, in one form for both sides.

use curfew_filter::gate::Refusal;
use serde_json::Value;

use crate::wasm_host::{Callout, HeaderMap, Outcome};

/// Names and values.
pub(super) type Headers = Vec<(String, Vec<u8>)>;

/// The outcome of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Waits,
    Went(HeaderMap),
    Refused { status: u32, details: String, body: String },
}

impl Seen {
    /// The outcome in the wasm host.
    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Paused => Self::Waits,
            Outcome::Continued { headers } => Self::Went(headers),
            Outcome::LocalReply { status, details, body, .. } => Self::Refused { status, details, body },
        }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        let denial = refusal.denial;
        let body = if refusal.grpc { String::new() } else { denial.problem_with(&refusal.detail).to_json() };
        Self::Refused { status: denial.status().into(), details: refusal.details(), body }
    }

    pub(super) fn went(headers: &Headers) -> Self {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        Self::Went(HeaderMap::from_client(&headers))
    }
}

/// A callout that waits for its answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) call: u32,
    pub(super) path: String,
    pub(super) body: Value,
    pub(super) timeout_ms: u128,
}

impl Asked {
    /// The callout that the wasm host got.
    pub(super) fn of(callout: &Callout) -> Self {
        let path = callout.headers.get(":path").unwrap_or_default();
        Self { call: callout.token, path, body: callout.json(), timeout_ms: callout.timeout.as_millis() }
    }
}
