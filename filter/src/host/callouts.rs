//! Callouts to the control plane, and what came of them.

use std::time::Duration;

use curfew_core::wire::{
    CHECK_PATH, CheckAnswer, CheckRequest, FEED_PATH, FeedAnswer, KEYS_PATH, KeysAnswer, MAX_KEYS_BYTES,
    POLLS_FULL_CODE,
};
use curfew_core::{AGREEMENT_HEADER, Differences};

use super::abi;
use super::buffer;
use crate::config::ControlPlane;
use crate::feed::Poll;
use crate::held_keys::KeyCall;
use crate::knowledge::Answer;
use crate::outage::Failure;

const MAP_CALLOUT_RESPONSE_HEADERS: u32 = 6;
const BUFFER_CALLOUT_RESPONSE_BODY: u32 = 4;

/// The largest answer that is read; a verdict has some hundred bytes.
const MAX_ANSWER_BYTES: usize = 4096;

/// The largest page of the feed that is read; a full page has less than half of it. A page is copied into the VM, whose
/// memory never shrinks.
const MAX_PAGE_BYTES: usize = 512 << 10;

/// Tells the control plane's operator the filter from other callers.
const USER_AGENT: &str = concat!("curfew-filter/", env!("CARGO_PKG_VERSION"));

/// Sends a question. It must be the root's callback that runs. `None` if the host does not take it.
pub(crate) fn ask(control_plane: &ControlPlane, question: &CheckRequest) -> Option<u32> {
    post(control_plane, CHECK_PATH, &serde_json::to_vec(question).ok()?, control_plane.timeout)
}

/// Sends a poll, likewise.
pub(crate) fn poll(control_plane: &ControlPlane, poll: &Poll) -> Option<u32> {
    post(control_plane, FEED_PATH, &serde_json::to_vec(&poll.request).ok()?, poll.timeout)
}

/// Asks for keys, likewise.
pub(crate) fn call_keys(control_plane: &ControlPlane, call: &KeyCall) -> Option<u32> {
    post(control_plane, KEYS_PATH, &serde_json::to_vec(&call.request).ok()?, call.timeout)
}

fn post(control_plane: &ControlPlane, path: &str, body: &[u8], timeout: Duration) -> Option<u32> {
    let headers = vec![
        (":method", "POST"),
        (":path", path),
        (":authority", control_plane.authority.as_str()),
        ("authorization", control_plane.authorization.as_str()),
        ("content-type", "application/json"),
        ("user-agent", USER_AGENT),
        (AGREEMENT_HEADER, control_plane.agreement.as_str()),
    ];
    let cluster = control_plane.cluster.as_str();
    #[expect(
        clippy::disallowed_methods,
        reason = "only the SDK can route the answer; hosts give the three statuses that it knows"
    )]
    let call = proxy_wasm::hostcalls::dispatch_http_call(cluster, headers, Some(body), vec![], timeout);
    call.ok()
}

/// The verdict in a question's answer.
pub(crate) fn verdict(headers: usize, body_size: usize) -> Result<Answer, Failure> {
    let body = answer(headers, body_size, MAX_ANSWER_BYTES)?;
    let answer = body.and_then(|body| serde_json::from_slice::<CheckAnswer>(&body).ok());
    answer.map(Answer::from).ok_or(Failure::NoVerdict)
}

/// The page in a poll's answer.
pub(crate) fn page(headers: usize, body_size: usize) -> Result<FeedAnswer, Failure> {
    let body = answer(headers, body_size, MAX_PAGE_BYTES)?;
    body.and_then(|body| serde_json::from_slice(&body).ok()).ok_or(Failure::NoPage)
}

/// The key sets in the answer to a call for keys.
pub(crate) fn key_sets(headers: usize, body_size: usize) -> Result<KeysAnswer, Failure> {
    let body = answer(headers, body_size, MAX_KEYS_BYTES)?;
    body.and_then(|body| serde_json::from_slice(&body).ok()).ok_or(Failure::NoKeys)
}

/// The body of a callout's answer, if its status is 200. A reset has no headers, and asking for them would then fail; a
/// timeout arrives as a 504. `None` if the body is larger than `most` bytes, or the host does not give it.
fn answer(headers: usize, body_size: usize, most: usize) -> Result<Option<Vec<u8>>, Failure> {
    let status = (headers > 0).then(callout_status).flatten().ok_or(Failure::NoResponse)?;
    match status {
        200 if body_size <= most => Ok(buffer(BUFFER_CALLOUT_RESPONSE_BODY, body_size)),
        200 => Ok(None),
        409 if body_size <= MAX_ANSWER_BYTES => Err(disagreement(body_size).unwrap_or(Failure::Status(409))),
        503 if body_size <= MAX_ANSWER_BYTES && holds_too_many(body_size) => Err(Failure::PollsFull),
        status => Err(Failure::Status(status)),
    }
}

/// The settings that a refusal names. Only names that this version knows are taken from it, and no text.
fn disagreement(body_size: usize) -> Option<Failure> {
    let body = buffer(BUFFER_CALLOUT_RESPONSE_BODY, body_size)?;
    let refusal: serde_json::Value = serde_json::from_slice(&body).ok()?;
    let fields = refusal.get("differs")?.as_array()?.iter().filter_map(serde_json::Value::as_str);
    let differences = Differences::of_fields(fields);
    (!differences.is_empty()).then_some(Failure::Disagrees(differences))
}

/// True if the control plane refused a poll because it holds as many as it may. A 503 of Envoy's own has no such code.
fn holds_too_many(body_size: usize) -> bool {
    let body = buffer(BUFFER_CALLOUT_RESPONSE_BODY, body_size).unwrap_or_default();
    let problem = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
    problem.get("code").and_then(serde_json::Value::as_str) == Some(POLLS_FULL_CODE)
}

#[expect(unsafe_code, reason = "raw host call")]
fn callout_status() -> Option<u16> {
    let name = ":status";
    // SAFETY: the name is valid for its size, and both pointers for writes, during the call.
    let status = abi::take(|data, size| unsafe {
        abi::proxy_get_header_map_value(MAP_CALLOUT_RESPONSE_HEADERS, name.as_ptr(), name.len(), data, size)
    });
    std::str::from_utf8(&status.ok()?).ok()?.parse().ok()
}
