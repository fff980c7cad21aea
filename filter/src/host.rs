//! The only module that speaks to the host.
//!
//! Most of the SDK's calls panic when the host answers with a status that they do not expect, and its getters of text
//! panic on bytes that are not UTF-8; a panic here costs every request of the worker. So the calls are made here, on
//! the raw interface (proxy-wasm ABI 0.2.1), and every failure is a value. The exceptions are the SDK's logger, whose
//! call cannot fail on a known level, and its `dispatch_http_call`, which must record the callout to route its answer.

mod abi;
mod callouts;
mod counters;
mod filter_state;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use curfew_core::{Problem, RETRY_AFTER_SECONDS, SignatureCheck, WorkerId, verify_natively};

use crate::feed::Randomness;
use crate::gate::Refusal;
use crate::header_map::encode;
use crate::host_signature;
use crate::metrics::Metric;
use crate::now::Now;
use crate::permit::Edits;

use abi::OK;

pub(crate) use callouts::{ask, call_keys, key_sets, page, poll, verdict};
pub(crate) use counters::Counters;
pub(crate) use filter_state::mark;

const NOT_FOUND: u32 = 1;
const MAP_REQUEST_HEADERS: u32 = 0;
const MAP_REQUEST_TRAILERS: u32 = 1;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;
const STREAM_REQUEST: u32 = 0;
const NO_GRPC_STATUS: i32 = -1;

/// The number of the queue whose readiness means "the root has something to send". No shared queue is ever registered.
pub(crate) const DOORBELL: u32 = u32::MAX;

/// Reads both clocks.
pub(crate) fn now(start: Instant) -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(Duration::ZERO, |since| since);
    Now { monotonic: start.elapsed(), unix: i64::try_from(unix.as_secs()).unwrap_or(i64::MAX) }
}

/// Random bytes; `None` if the host has none.
fn random<const BYTES: usize>() -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// The seed of a copy of the log.
pub(crate) fn seed() -> Option<[u64; 2]> {
    Some([u64::from_le_bytes(random()?), u64::from_le_bytes(random()?)])
}

/// Random bits for one event of the feed, drawn from the host each time. Bits that were drawn in advance could end up
/// in two VMs, which would then take the same worker id.
pub(crate) fn randomness() -> Option<Randomness> {
    Some(Randomness { worker: WorkerId::from_bytes(random()?), jitter: u32::from_le_bytes(random()?) })
}

/// The request's headers in the host's own encoding, to be read with [`crate::header_map::pairs`].
pub(crate) fn request_headers() -> Option<Vec<u8>> {
    map(MAP_REQUEST_HEADERS)
}

/// The request's trailers, likewise.
pub(crate) fn request_trailers() -> Option<Vec<u8>> {
    map(MAP_REQUEST_TRAILERS)
}

#[expect(unsafe_code, reason = "raw host call")]
fn map(map: u32) -> Option<Vec<u8>> {
    // SAFETY: both pointers are valid for writes during the call.
    abi::take(|data, size| unsafe { abi::proxy_get_header_map_pairs(map, data, size) }).ok()
}

/// Makes the edits; false if one of them failed. The request must not go on then, because an identity that the client
/// wrote could reach the upstream.
pub(crate) fn edit(edits: &Edits) -> bool {
    filter_state::name_token(edits.token.as_deref());
    let removed = edits.remove.iter().all(|name| remove(MAP_REQUEST_HEADERS, name));
    let set = edits.set.iter().all(|(name, value)| replace(name, value.as_bytes()));
    let replaced = edits.replace.iter().all(|(name, value)| replace(name, value));
    removed && set && replaced
}

#[expect(unsafe_code, reason = "raw host call")]
fn replace(name: &str, value: &[u8]) -> bool {
    // SAFETY: the pointers are valid for the given sizes during the call.
    let status = unsafe {
        abi::proxy_replace_header_map_value(MAP_REQUEST_HEADERS, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
    status == OK
}

/// Removes a trailer; false if the host did not.
pub(crate) fn remove_trailer(name: &[u8]) -> bool {
    remove(MAP_REQUEST_TRAILERS, name)
}

#[expect(unsafe_code, reason = "raw host call")]
fn remove(map: u32, name: &[u8]) -> bool {
    // SAFETY: the pointer is valid for the given size during the call.
    unsafe { abi::proxy_remove_header_map_value(map, name.as_ptr(), name.len()) == OK }
}

/// Asks the host for a tick of the selected root in every `period` milliseconds; for none if it is 0.
#[expect(unsafe_code, reason = "raw host call")]
pub(crate) fn tick(period: u32) -> bool {
    // SAFETY: no pointers.
    unsafe { abi::proxy_set_tick_period_milliseconds(period) == OK }
}

/// Makes the following calls act on this context. False if it is gone.
#[expect(unsafe_code, reason = "raw host call")]
pub(crate) fn select(context: u32) -> bool {
    // SAFETY: no pointers.
    unsafe { abi::proxy_set_effective_context(context) == OK }
}

/// Lets the selected stream's request go on.
#[expect(unsafe_code, reason = "raw host call")]
pub(crate) fn resume() -> bool {
    // SAFETY: no pointers.
    unsafe { abi::proxy_continue_stream(STREAM_REQUEST) == OK }
}

/// Answers the selected stream's request. Access logs show the details as `%RESPONSE_CODE_DETAILS%`; the SDK cannot
/// send them.
#[expect(unsafe_code, reason = "raw host call")]
pub(crate) fn refuse(refusal: &Refusal) -> bool {
    mark(refusal.mark);
    filter_state::name_token(refusal.token.as_deref());
    let denial = refusal.denial;
    let retry_after = RETRY_AFTER_SECONDS.to_string();
    let mut headers = vec![("cache-control", "no-store")];
    headers.extend(denial.challenge().map(|challenge| ("www-authenticate", challenge)));
    if denial.status() == 503 {
        headers.push(("retry-after", &retry_after));
    }
    let mut body = String::new();
    if !refusal.grpc {
        headers.push(("content-type", Problem::CONTENT_TYPE));
        body = denial.problem_with(&refusal.detail).to_json();
    }
    let headers = encode(&headers);
    let details = refusal.details();
    // SAFETY: the pointers are valid for the given sizes during the call.
    let status = unsafe {
        abi::proxy_send_local_response(
            u32::from(denial.status()),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    };
    status == OK
}

/// Runs the root's `on_queue_ready` from a stream's callback, so that the root sends the callout. The SDK hands a
/// callout's answer to the context in whose callback it was sent, and drops the answer if that context is a stream that
/// has gone.
///
/// Must not be called while anything of the root is borrowed.
#[expect(unsafe_code, reason = "the SDK offers no safe way into the root context")]
pub(crate) fn ring(root: u32, stream: u32) {
    if select(root) {
        // SAFETY: the SDK's callback takes plain numbers, and in a stream's callback it has nothing of the root
        // borrowed.
        unsafe { abi::proxy_on_queue_ready(root, DOORBELL) };
    }
    select(stream);
}

/// The plugin configuration's first `size` bytes.
pub(crate) fn configuration(size: usize) -> Vec<u8> {
    buffer(BUFFER_PLUGIN_CONFIGURATION, size).unwrap_or_default()
}

/// An environment variable of the VM, which the host passes in through WASI.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(unsafe_code, reason = "raw host call")]
fn buffer(buffer: u32, size: usize) -> Option<Vec<u8>> {
    // SAFETY: both pointers are valid for writes during the call.
    abi::take(|data, written| unsafe { abi::proxy_get_buffer_bytes(buffer, 0, size, data, written) }).ok()
}

/// Checks a signature, in the host if it can. The metric says where it was checked.
pub(crate) fn verify(check: &SignatureCheck<'_>, host_helps: &mut bool) -> (bool, Metric) {
    if *host_helps && let Some(message) = host_signature::request(check) {
        match call_verify_signature(&message) {
            Ok(answer) => return (host_signature::verified(&answer), Metric::HostSignature),
            Err(NOT_FOUND) => {
                *host_helps = false;
                log::warn!(
                    "the host has no verify_signature: RSA and ECDSA are checked in the VM, some 20 times slower"
                );
            }
            // The host has the function but refused the message: the check in the VM decides.
            Err(_) => {}
        }
    }
    (verify_natively(check), Metric::NativeSignature)
}

#[expect(unsafe_code, reason = "raw host call")]
fn call_verify_signature(message: &[u8]) -> Result<Vec<u8>, u32> {
    let name = host_signature::FUNCTION;
    // SAFETY: name and message are valid for their sizes, and both pointers for writes, during the call.
    abi::take(|data, size| unsafe {
        abi::proxy_call_foreign_function(name.as_ptr(), name.len(), message.as_ptr(), message.len(), data, size)
    })
}
