//! The module's side of the interface: its exports, and its memory as the imports read and write it.

use wasmtime::{
    Caller, Extern, Instance, Linker, Memory, Result, Store, TypedFunc, WasmParams, WasmResults, bail, format_err,
};

use super::faults::{Fault, HostCall};
use super::state::State;

/// Statuses of the ABI that the host answers with.
pub(super) mod status {
    pub(crate) const OK: u32 = 0;
    pub(crate) const NOT_FOUND: u32 = 1;
    pub(crate) const BAD_ARGUMENT: u32 = 2;
    pub(crate) const INTERNAL_FAILURE: u32 = 10;
}

const ALLOCATORS: [&str; 2] = ["proxy_on_memory_allocate", "malloc"];
const LOG_LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "critical"];

/// A callback at the end of a stream, with or without a result.
#[derive(Clone)]
pub(super) enum Ending {
    Done(TypedFunc<u32, u32>),
    Plain(TypedFunc<u32, ()>),
}

/// The callbacks of the module. Optional ones may have been removed after the build.
pub(super) struct Guest {
    pub(super) memory: Memory,
    pub(super) initialize: Option<TypedFunc<(), ()>>,
    pub(super) on_context_create: TypedFunc<(u32, u32), ()>,
    pub(super) on_vm_start: TypedFunc<(u32, u32), u32>,
    pub(super) on_configure: TypedFunc<(u32, u32), u32>,
    pub(super) on_request_headers: TypedFunc<(u32, u32, u32), u32>,
    pub(super) on_request_trailers: Option<TypedFunc<(u32, u32), u32>>,
    pub(super) on_request_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(super) on_response_headers: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(super) on_http_call_response: TypedFunc<(u32, u32, u32, u32, u32), ()>,
    pub(super) on_tick: Option<TypedFunc<u32, ()>>,
    pub(super) on_done: Option<Ending>,
    pub(super) on_log: Option<Ending>,
    pub(super) on_delete: TypedFunc<u32, ()>,
}

impl Guest {
    /// Looks the exports up by name.
    pub(super) fn of(instance: &Instance, store: &mut Store<State>) -> Result<Self> {
        let memory = instance.get_memory(&mut *store, "memory");
        let memory = memory.ok_or_else(|| format_err!("the module exports no memory"))?;
        let abi = ["proxy_abi_version_0_2_1", "proxy_abi_version_0_2_0"];
        if !abi.iter().any(|name| instance.get_func(&mut *store, name).is_some()) {
            bail!("the module does not speak proxy-wasm ABI 0.2.x");
        }
        let done = optional(instance, store, "proxy_on_done").map(Ending::Done);
        let log = optional(instance, store, "proxy_on_log").map(Ending::Plain);
        Ok(Self {
            memory,
            initialize: optional(instance, store, "_initialize"),
            on_context_create: instance.get_typed_func(&mut *store, "proxy_on_context_create")?,
            on_vm_start: instance.get_typed_func(&mut *store, "proxy_on_vm_start")?,
            on_configure: instance.get_typed_func(&mut *store, "proxy_on_configure")?,
            on_request_headers: instance.get_typed_func(&mut *store, "proxy_on_request_headers")?,
            on_request_trailers: optional(instance, store, "proxy_on_request_trailers"),
            on_request_body: optional(instance, store, "proxy_on_request_body"),
            on_response_headers: optional(instance, store, "proxy_on_response_headers"),
            on_http_call_response: instance.get_typed_func(&mut *store, "proxy_on_http_call_response")?,
            on_tick: optional(instance, store, "proxy_on_tick"),
            on_done: done,
            on_log: log,
            on_delete: instance.get_typed_func(&mut *store, "proxy_on_delete")?,
        })
    }
}

fn optional<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<State>,
    name: &str,
) -> Option<TypedFunc<P, R>> {
    instance.get_typed_func(store, name).ok()
}

/// A call from the module into the host.
pub(super) type Call<'a> = Caller<'a, State>;

fn memory(call: &mut Call<'_>) -> Result<Memory> {
    match call.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        _ => bail!("the module exports no memory"),
    }
}

/// An address or a size in the module's memory, as the host's own index type.
fn index(value: u32) -> Result<usize> {
    Ok(usize::try_from(value)?)
}

/// Copies bytes out of the module.
pub(super) fn read(call: &mut Call<'_>, at: u32, length: u32) -> Result<Vec<u8>> {
    let mut bytes = vec![0; index(length)?];
    memory(call)?.read(&mut *call, index(at)?, &mut bytes)?;
    Ok(bytes)
}

/// Copies text out of the module.
pub(super) fn read_text(call: &mut Call<'_>, at: u32, length: u32) -> Result<String> {
    Ok(String::from_utf8_lossy(&read(call, at, length)?).into_owned())
}

/// Copies bytes into the module.
pub(super) fn write(call: &mut Call<'_>, at: u32, bytes: &[u8]) -> Result<()> {
    Ok(memory(call)?.write(&mut *call, index(at)?, bytes)?)
}

/// Writes a number into the module.
pub(super) fn write_u32(call: &mut Call<'_>, at: u32, value: u32) -> Result<()> {
    write(call, at, &value.to_le_bytes())
}

/// Passes bytes to the module: into memory that the module allocates, with the address and size written where it wants
/// them.
pub(super) fn give(call: &mut Call<'_>, bytes: &[u8], address_at: u32, size_at: u32) -> Result<()> {
    let size = u32::try_from(bytes.len())?;
    let address = if bytes.is_empty() { 0 } else { allocate(call, size)? };
    if size > 0 {
        write(call, address, bytes)?;
    }
    write_u32(call, address_at, address)?;
    write_u32(call, size_at, size)
}

/// Ends a call that passes bytes as a fault requires.
pub(super) fn broken(mut call: Call<'_>, fault: Fault, address_at: u32, size_at: u32) -> Result<u32> {
    match fault.bytes() {
        Some(bytes) => give(&mut call, bytes, address_at, size_at).map(|()| status::OK),
        None => Ok(status::INTERNAL_FAILURE),
    }
}

fn allocate(call: &mut Call<'_>, size: u32) -> Result<u32> {
    let allocator = ALLOCATORS.iter().find_map(|name| match call.get_export(name) {
        Some(Extern::Func(function)) => function.typed::<u32, u32>(&*call).ok(),
        _ => None,
    });
    let allocator = allocator.ok_or_else(|| format_err!("the module exports no allocator"))?;
    allocator.call(&mut *call, size)
}

/// The imports about the VM itself: log, clock, configuration, properties, contexts, metrics.
pub(super) fn install(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap("env", "proxy_log", log)?;
    linker.func_wrap("env", "proxy_get_log_level", |mut call: Call<'_>, at: u32| {
        write_u32(&mut call, at, 2).map(|()| status::OK)
    })?;
    linker.func_wrap("env", "proxy_get_current_time_nanoseconds", current_time)?;
    linker.func_wrap("env", "proxy_set_tick_period_milliseconds", |mut call: Call<'_>, period: u32| {
        if call.data().fails(HostCall::Tick) {
            return status::INTERNAL_FAILURE;
        }
        let Some(root) = call.data().root() else { return status::BAD_ARGUMENT };
        call.data_mut().roots.insert(root, period);
        status::OK
    })?;
    linker.func_wrap("env", "proxy_get_property", get_property)?;
    linker.func_wrap("env", "proxy_set_property", set_property)?;
    linker.func_wrap("env", "proxy_set_effective_context", |mut call: Call<'_>, id: u32| {
        if call.data_mut().set_effective(id) { status::OK } else { status::BAD_ARGUMENT }
    })?;
    linker.func_wrap("env", "proxy_done", || status::OK)?;
    linker.func_wrap("env", "proxy_define_metric", define_metric)?;
    linker.func_wrap("env", "proxy_increment_metric", |mut call: Call<'_>, id: u32, by: i64| {
        change_metric(&mut call, id, |value| value.saturating_add_signed(by))
    })?;
    linker.func_wrap("env", "proxy_record_metric", |mut call: Call<'_>, id: u32, new: u64| {
        change_metric(&mut call, id, |_| new)
    })?;
    linker.func_wrap("env", "proxy_get_metric", get_metric)?;
    Ok(())
}

fn log(mut call: Call<'_>, level: u32, at: u32, length: u32) -> Result<u32> {
    let message = read_text(&mut call, at, length)?;
    let level = LOG_LEVELS.get(index(level)?).copied().unwrap_or("?");
    call.data_mut().log.push(format!("[{level}] {message}"));
    Ok(status::OK)
}

fn current_time(mut call: Call<'_>, at: u32) -> Result<u32> {
    let nanoseconds = u64::try_from(call.data().clock.wall.as_nanos())?;
    write(&mut call, at, &nanoseconds.to_le_bytes())?;
    Ok(status::OK)
}

fn get_property(mut call: Call<'_>, at: u32, length: u32, value_at: u32, size_at: u32) -> Result<u32> {
    let path = read(&mut call, at, length)?;
    let context = call.data().context();
    let value = match path.as_slice() {
        b"plugin_root_id" | b"plugin_name" | b"plugin_vm_id" => Some(b"curfew".to_vec()),
        path => {
            let name = String::from_utf8_lossy(path).into_owned();
            call.data().streams.get(context).and_then(|stream| stream.property(&name))
        }
    };
    match value {
        Some(value) => give(&mut call, &value, value_at, size_at).map(|()| status::OK),
        None => Ok(status::NOT_FOUND),
    }
}

fn set_property(mut call: Call<'_>, at: u32, length: u32, value_at: u32, size: u32) -> Result<u32> {
    let name = read_text(&mut call, at, length)?;
    let value = read(&mut call, value_at, size)?;
    let context = call.data().context();
    match call.data_mut().streams.get_mut(context) {
        Some(stream) => {
            stream.set_property(name, value);
            Ok(status::OK)
        }
        None => Ok(status::NOT_FOUND),
    }
}

fn define_metric(mut call: Call<'_>, _kind: u32, at: u32, length: u32, id_at: u32) -> Result<u32> {
    let name = read_text(&mut call, at, length)?;
    if call.data().fails(HostCall::Metric) {
        return Ok(status::INTERNAL_FAILURE);
    }
    let metrics = &mut call.data_mut().metrics;
    metrics.push((name, 0));
    let id = u32::try_from(metrics.len())?;
    write_u32(&mut call, id_at, id)?;
    Ok(status::OK)
}

/// The position of a metric from the identifier the module was given, which counts from 1.
fn metric(call: &Call<'_>, id: u32) -> Option<usize> {
    let position = usize::try_from(id).ok()?.checked_sub(1)?;
    (position < call.data().metrics.len()).then_some(position)
}

fn change_metric(call: &mut Call<'_>, id: u32, change: impl Fn(u64) -> u64) -> u32 {
    if call.data().fails(HostCall::Metric) {
        return status::INTERNAL_FAILURE;
    }
    let position = metric(call, id);
    match position.and_then(|position| call.data_mut().metrics.get_mut(position)) {
        Some((_, value)) => {
            *value = change(*value);
            status::OK
        }
        None => status::NOT_FOUND,
    }
}

fn get_metric(mut call: Call<'_>, id: u32, value_at: u32) -> Result<u32> {
    let value = metric(&call, id).and_then(|position| call.data().metrics.get(position).cloned());
    match value {
        Some((_, value)) => write(&mut call, value_at, &value.to_le_bytes()).map(|()| status::OK),
        None => Ok(status::NOT_FOUND),
    }
}
