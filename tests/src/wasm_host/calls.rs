//! Callouts, buffers and foreign functions: the imports by which the filter gets data.

use std::time::Duration;

use wasmtime::{Linker, Result};

use super::Plugin;
use super::faults::HostCall;
use super::foreign;
use super::guest::{Call, broken, give, read, read_text, status, write_u32};
use super::headers::HeaderMap;
use super::state::{Callout, ClusterState, State};

const CALL_RESPONSE_BODY: u32 = 4;
const VM_CONFIGURATION: u32 = 6;
const PLUGIN_CONFIGURATION: u32 = 7;

/// The imports of this module.
pub(super) fn install(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap("env", "proxy_http_call", http_call)?;
    linker.func_wrap("env", "proxy_get_buffer_bytes", get_buffer)?;
    linker.func_wrap("env", "proxy_call_foreign_function", call_foreign_function)?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn http_call(
    mut call: Call<'_>,
    cluster: u32,
    cluster_length: u32,
    headers: u32,
    headers_length: u32,
    body: u32,
    body_length: u32,
    _trailers: u32,
    _trailers_length: u32,
    timeout: u32,
    token_at: u32,
) -> Result<u32> {
    let cluster = read_text(&mut call, cluster, cluster_length)?;
    if call.data().fails(HostCall::Dispatch) {
        return Ok(status::INTERNAL_FAILURE);
    }
    match call.data().clusters.get(&cluster) {
        None => return Ok(status::BAD_ARGUMENT),
        Some(ClusterState::Unhealthy) => return Ok(status::INTERNAL_FAILURE),
        Some(ClusterState::Healthy) => {}
    }
    let headers = HeaderMap::decode(&read(&mut call, headers, headers_length)?)?;
    if [":method", ":path", ":authority"].iter().any(|name| headers.get(name).is_none()) {
        return Ok(status::BAD_ARGUMENT);
    }
    let body = read(&mut call, body, body_length)?;
    let timeout = Duration::from_millis(u64::from(timeout));
    let state = call.data_mut();
    let (root, selected) = (state.root().unwrap_or_default(), state.context());
    if root != selected {
        state.violations.push(format!("context {selected} sends a callout and is no root: its answer is lost with it"));
    }
    let (token, plugin) = (state.next_callout, Plugin(root));
    state.next_callout += 1;
    state.callouts.insert(token, Callout { token, plugin, cluster, headers, body, timeout });
    write_u32(&mut call, token_at, token)?;
    Ok(status::OK)
}

fn get_buffer(mut call: Call<'_>, kind: u32, start: u32, most: u32, at: u32, size_at: u32) -> Result<u32> {
    if let Some(fault) = call.data().fault(HostCall::Buffer) {
        return broken(call, fault, at, size_at);
    }
    let state = call.data();
    let buffer = match kind {
        CALL_RESPONSE_BODY => state.call_response.as_ref().map(|(_, body)| body.clone()),
        VM_CONFIGURATION => Some(Vec::new()),
        PLUGIN_CONFIGURATION => Some(state.configuration.clone()),
        _ => None,
    };
    let Some(buffer) = buffer else {
        return Ok(status::NOT_FOUND);
    };
    let start = usize::try_from(start)?.min(buffer.len());
    let end = start.saturating_add(usize::try_from(most)?).min(buffer.len());
    give(&mut call, buffer.get(start..end).unwrap_or_default(), at, size_at)?;
    Ok(status::OK)
}

fn call_foreign_function(
    mut call: Call<'_>,
    name: u32,
    name_length: u32,
    argument: u32,
    argument_length: u32,
    result_at: u32,
    size_at: u32,
) -> Result<u32> {
    let name = read_text(&mut call, name, name_length)?;
    if name != "verify_signature" || !call.data().verify_signature {
        return Ok(status::NOT_FOUND);
    }
    if let Some(fault) = call.data().fault(HostCall::Foreign) {
        return broken(call, fault, result_at, size_at);
    }
    let argument = read(&mut call, argument, argument_length)?;
    call.data_mut().signature_checks += 1;
    give(&mut call, &foreign::verify_signature(&argument), result_at, size_at)?;
    Ok(status::OK)
}
