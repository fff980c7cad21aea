//! The only file that speaks to the host.
//!
//! Most of the SDK's calls panic when the host answers with a status they do not expect, and its getters of text panic on
//! bytes that are not UTF-8; a panic here costs every request of the worker. So the calls are made here, on the raw
//! interface (proxy-wasm ABI 0.2.1), and every failure is a value. The exceptions are the SDK's logger, whose call
//! cannot fail on a known level, and its `dispatch_http_call`, which must record the callout to route its answer.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use curfew_core::wire::{CHECK_PATH, CheckAnswer, CheckRequest, FEED_PATH, FeedAnswer};
use curfew_core::{Problem, RETRY_AFTER_SECONDS, SignatureCheck, WorkerId, verify_natively};

use crate::config::ControlPlane;
use crate::feed::{Chance, Poll};
use crate::gate::{Now, Refusal};
use crate::header_map::encode;
use crate::host_signature;
use crate::metrics::{GAUGE_NAMES, Gauges, Metric, NAMES};
use crate::outage::Failure;
use crate::permit::Edits;
use crate::strict::Answer;

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const MAP_REQUEST_HEADERS: u32 = 0;
const MAP_REQUEST_TRAILERS: u32 = 1;
const MAP_CALLOUT_RESPONSE_HEADERS: u32 = 6;
const BUFFER_CALLOUT_RESPONSE_BODY: u32 = 4;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;
const STREAM_REQUEST: u32 = 0;
const METRIC_COUNTER: u32 = 0;
const METRIC_GAUGE: u32 = 1;
const NO_GRPC_STATUS: i32 = -1;

/// The largest answer that is looked at; a verdict has some hundred bytes.
const MAX_ANSWER_BYTES: usize = 4096;

/// The largest page of the feed that is looked at; a full one has less than half of it. A page is copied into the VM, whose
/// memory never shrinks.
const MAX_PAGE_BYTES: usize = 512 << 10;

/// How the control plane's operator tells the filter from other callers.
const USER_AGENT: &str = concat!("curfew-filter/", env!("CARGO_PKG_VERSION"));

/// The queue whose readiness means "the root has something to send". No shared queue is ever registered.
pub(crate) const DOORBELL: u32 = u32::MAX;

#[expect(unsafe_code, reason = "the host's interface is raw pointers; each call is wrapped below")]
mod abi {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            max: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_continue_stream(stream: u32) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        pub(super) fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) fn proxy_call_foreign_function(
            name: *const u8,
            name_size: usize,
            arguments: *const u8,
            arguments_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, offset: i64) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
    }

    unsafe extern "C" {
        /// The SDK's own callback, exported by it for the host.
        pub(super) fn proxy_on_queue_ready(root: u32, queue: u32);
    }

    /// Takes over what the host wrote. The host allocates through the module's own allocator, so a `Vec` may own it.
    pub(super) fn take(fill: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, u32> {
        let (mut data, mut size) = (std::ptr::null_mut(), 0);
        match fill(&mut data, &mut size) {
            super::OK if data.is_null() => Ok(Vec::new()),
            // SAFETY: on success the host hands over an allocation of `size` bytes made with `proxy_on_memory_allocate`,
            // which allocates a `Vec<u8>` of that capacity.
            super::OK => Ok(unsafe { Vec::from_raw_parts(data, size, size) }),
            status => Err(status),
        }
    }
}

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

/// What a replica is seeded with.
pub(crate) fn seed() -> Option<[u64; 2]> {
    Some([u64::from_le_bytes(random()?), u64::from_le_bytes(random()?)])
}

/// Randomness for one event of the feed, drawn from the host each time: a state that was drawn before could come to be in
/// two VMs, and with it the id of a worker.
pub(crate) fn chance() -> Option<Chance> {
    Some(Chance { worker: WorkerId::from_bytes(random()?), jitter: u32::from_le_bytes(random()?) })
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

/// Makes the edits. If one fails, an identity that the client wrote could reach the upstream: the request must not go on.
#[expect(unsafe_code, reason = "raw host call")]
pub(crate) fn edit(edits: &Edits) -> bool {
    let removed = edits.remove.iter().all(|name| remove(MAP_REQUEST_HEADERS, name));
    let set = edits.set.iter().all(|(name, value)| {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        // SAFETY: the pointers are valid for the given sizes during the call.
        let status = unsafe {
            abi::proxy_replace_header_map_value(
                MAP_REQUEST_HEADERS,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        };
        status == OK
    });
    removed && set
}

/// Takes a trailer away.
pub(crate) fn remove_trailer(name: &[u8]) -> bool {
    remove(MAP_REQUEST_TRAILERS, name)
}

#[expect(unsafe_code, reason = "raw host call")]
fn remove(map: u32, name: &[u8]) -> bool {
    // SAFETY: the pointer is valid for the given size during the call.
    unsafe { abi::proxy_remove_header_map_value(map, name.as_ptr(), name.len()) == OK }
}

/// Has the host call the selected root every so many milliseconds; no more with 0.
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

/// Answers the selected stream's request. The details, which the SDK cannot send, show in access logs as
/// `%RESPONSE_CODE_DETAILS%`.
#[expect(unsafe_code, reason = "raw host call")]
pub(crate) fn refuse(refusal: &Refusal) -> bool {
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
    let details = format!("curfew_{}", denial.code());
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

/// Rings the root context from a stream's callback, so that what it sends is the root's: the SDK hands a callout's answer
/// to the context whose callback it was sent in, and drops it if that context is a stream that has gone.
///
/// Must not be called while anything of the root is borrowed, for the root's `on_queue_ready` runs inside.
#[expect(unsafe_code, reason = "the SDK offers no safe way into the root context")]
pub(crate) fn ring(root: u32, stream: u32) {
    if select(root) {
        // SAFETY: the SDK's callback takes plain numbers, and in a stream's callback it has nothing of the root borrowed.
        unsafe { abi::proxy_on_queue_ready(root, DOORBELL) };
    }
    select(stream);
}

/// Sends a question. The root context must be the one whose callback runs. `None` if the host does not take it.
pub(crate) fn ask(control_plane: &ControlPlane, question: &CheckRequest) -> Option<u32> {
    post(control_plane, CHECK_PATH, &serde_json::to_vec(question).ok()?, control_plane.timeout)
}

/// Sends a poll, likewise.
pub(crate) fn poll(control_plane: &ControlPlane, poll: &Poll) -> Option<u32> {
    post(control_plane, FEED_PATH, &serde_json::to_vec(&poll.request).ok()?, poll.timeout)
}

fn post(control_plane: &ControlPlane, path: &str, body: &[u8], timeout: Duration) -> Option<u32> {
    let headers = vec![
        (":method", "POST"),
        (":path", path),
        (":authority", control_plane.authority.as_str()),
        ("authorization", control_plane.authorization.as_str()),
        ("content-type", "application/json"),
        ("user-agent", USER_AGENT),
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

/// The body of a callout's answer: of a 200, and nothing else. A reset has no headers, and asking for them would then fail;
/// a timeout arrives as a 504. `None` if it is larger than `most` bytes, or cannot be had.
fn answer(headers: usize, body_size: usize, most: usize) -> Result<Option<Vec<u8>>, Failure> {
    let status = (headers > 0).then(callout_status).flatten().ok_or(Failure::NoResponse)?;
    match status {
        200 if body_size <= most => Ok(buffer(BUFFER_CALLOUT_RESPONSE_BODY, body_size)),
        200 => Ok(None),
        status => Err(Failure::Status(status)),
    }
}

/// The plugin configuration's first `size` bytes.
pub(crate) fn configuration(size: usize) -> Vec<u8> {
    buffer(BUFFER_PLUGIN_CONFIGURATION, size).unwrap_or_default()
}

#[expect(unsafe_code, reason = "raw host call")]
fn buffer(buffer: u32, size: usize) -> Option<Vec<u8>> {
    // SAFETY: both pointers are valid for writes during the call.
    abi::take(|data, written| unsafe { abi::proxy_get_buffer_bytes(buffer, 0, size, data, written) }).ok()
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

/// Checks a signature with the host's help where it has any. Says which of the two did it.
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
            // The host has the function but did not like the message: our own check decides.
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

/// The counters and gauges as the host knows them. One that the host would not define shows nothing.
#[derive(Debug)]
pub(crate) struct Counters {
    counters: [Option<u32>; NAMES.len()],
    /// Counted, and not told yet.
    untold: [Cell<u32>; NAMES.len()],
    gauges: [Option<u32>; GAUGE_NAMES.len()],
}

#[expect(unsafe_code, reason = "raw host call")]
fn define(kind: u32, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the name is valid for its size, and the pointer for a write, during the call.
    let status = unsafe { abi::proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) };
    (status == OK).then_some(id)
}

impl Counters {
    /// Defines all of them; once for each root context, because the host allocates anew each time.
    pub(crate) fn define() -> Self {
        Self {
            counters: NAMES.map(|(_, name)| define(METRIC_COUNTER, name)),
            untold: [const { Cell::new(0) }; NAMES.len()],
            gauges: GAUGE_NAMES.map(|name| define(METRIC_GAUGE, name)),
        }
    }

    /// Shows what the replica holds.
    #[expect(unsafe_code, reason = "raw host call")]
    pub(crate) fn show(&self, gauges: Gauges) {
        for (id, value) in self.gauges.iter().zip(gauges.values()) {
            if let Some(id) = id {
                // SAFETY: no pointers.
                unsafe { abi::proxy_record_metric(*id, value) };
            }
        }
    }

    /// Adds one, to be told with [`Self::tell`].
    pub(crate) fn count(&self, metric: Metric) {
        if let Some(untold) = self.untold.get(metric.index()) {
            untold.set(untold.get().saturating_add(1));
        }
    }

    /// Tells the host what was counted.
    #[expect(unsafe_code, reason = "raw host call")]
    pub(crate) fn tell(&self) {
        for (id, untold) in self.counters.iter().zip(&self.untold) {
            let count = untold.take();
            if let (Some(id), 1..) = (id, count) {
                // SAFETY: no pointers.
                unsafe { abi::proxy_increment_metric(*id, i64::from(count)) };
            }
        }
    }
}
