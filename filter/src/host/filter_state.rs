//! What access logs may say: entries of the stream's filter state, which Envoy names `wasm.` and the key.

use super::abi;
use crate::permit::Mark;

const DECISION: &str = "curfew_decision";
const REASON: &str = "curfew_reason";
const TOKEN: &str = "curfew_token";

/// Writes a decision about the selected stream. A log entry is not worth a refusal, so a failure is ignored.
pub(crate) fn mark(mark: Option<Mark>) {
    if let Some(mark) = mark {
        set(DECISION, mark.decision);
        set(REASON, mark.reason);
    }
}

/// Writes the name of the selected stream's token.
pub(super) fn name_token(token: Option<&str>) {
    if let Some(token) = token {
        set(TOKEN, token);
    }
}

#[expect(unsafe_code, reason = "raw host call")]
fn set(key: &str, value: &str) {
    // SAFETY: the pointers are valid for the given sizes during the call.
    let _ = unsafe { abi::proxy_set_property(key.as_ptr(), key.len(), value.as_ptr(), value.len()) };
}
