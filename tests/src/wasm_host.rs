//! A proxy-wasm host (ABI 0.2.x) on wasmtime, for the shipped module.
//!
//! It is to Envoy what a flight simulator is to a plane: the clocks move by hand, the control plane says what the
//! story wants, and every rule of the real host that has ever bitten a filter is enforced. A paused request must be
//! resumed or answered exactly once; request headers are gone after that; a context that was deleted cannot be made
//! effective; a call that the module makes into nothing is an error, not a guess. It runs one VM and no I/O.

mod calls;
mod faults;
mod foreign;
mod guest;
mod headers;
mod hostile;
mod observe;
mod state;
mod streams;
mod wasi;

use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;
use wasmtime::{Config, Engine, InstancePre, Linker, Module, Store, WasmParams, WasmResults};

use crate::wasm;
use guest::Guest;
use state::State;

pub use faults::{Fault, HostCall};
pub use headers::HeaderMap;
pub use hostile::Action;
pub use state::{Callout, ClusterState};
pub use streams::Outcome;

/// Stops a module that never returns. An RSA signature in plain wasm takes tens of millions.
const FUEL: u64 = 20_000_000_000;

/// The wall clock of a new host: 2026-01-01 00:00:00 UTC, in seconds.
pub const START: i64 = 1_767_225_600;

const ROOT: u32 = 1;

/// Far more than any story needs.
const MOST_TICKS: u32 = 10_000;

/// How a host is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The plugin configuration, as bytes.
    pub configuration: Vec<u8>,
    /// Whether the foreign function `verify_signature` is there, as it is in Envoy.
    pub verify_signature: bool,
    /// What every random byte is; without it they come from a fixed sequence.
    pub random: Option<u8>,
}

impl Setup {
    /// A host like Envoy with this configuration.
    pub fn new(configuration: &Value) -> Self {
        Self { configuration: configuration.to_string().into_bytes(), verify_signature: true, random: None }
    }

    /// The same without the foreign function.
    #[must_use]
    pub fn without_verify_signature(mut self) -> Self {
        self.verify_signature = false;
        self
    }

    /// The same with this for every random byte, see [`Host::set_random`].
    #[must_use]
    pub fn with_random(mut self, byte: u8) -> Self {
        self.random = Some(byte);
        self
    }
}

/// Names one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u32);

/// One VM with the filter inside.
pub struct Host {
    store: Store<State>,
    guest: Guest,
    next_context: u32,
    last_fuel: u64,
    total_fuel: u64,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Host").field("next_context", &self.next_context).finish_non_exhaustive()
    }
}

impl Host {
    /// Starts a VM and configures the filter.
    ///
    /// # Errors
    /// When the module cannot be built or loaded, traps, or refuses the configuration; the message has its log.
    pub fn start(setup: &Setup) -> Result<Self> {
        let (host, accepted) = Self::try_start(setup)?;
        if !accepted {
            bail!("the filter refuses its configuration:\n{}", host.log().join("\n"));
        }
        Ok(host)
    }

    /// Starts a VM and says whether the filter accepts the configuration.
    ///
    /// # Errors
    /// When the module cannot be built or loaded, or traps.
    pub fn try_start(setup: &Setup) -> Result<(Self, bool)> {
        let module = module()?;
        let mut store = Store::new(module.module().engine(), State::new(setup));
        store.set_fuel(FUEL)?;
        let instance = module.instantiate(&mut store)?;
        let guest = Guest::of(&instance, &mut store)?;
        let mut host = Self { store, guest, next_context: ROOT + 1, last_fuel: 0, total_fuel: 0 };
        let accepted = host.boot(setup.configuration.len())?;
        Ok((host, accepted))
    }

    /// The order of calls in which a host brings up a VM.
    fn boot(&mut self, configuration: usize) -> Result<bool> {
        if let Some(initialize) = self.guest.initialize.clone() {
            self.enter(0, &initialize, ())?;
        }
        let create = self.guest.on_context_create.clone();
        self.enter(ROOT, &create, (ROOT, 0))?;
        let vm_start = self.guest.on_vm_start.clone();
        if self.enter(ROOT, &vm_start, (ROOT, 0))? == 0 {
            bail!("the filter's on_vm_start is false");
        }
        let configure = self.guest.on_configure.clone();
        Ok(self.enter(ROOT, &configure, (ROOT, u32::try_from(configuration)?))? != 0)
    }

    /// Hands the filter another configuration, in the VM that it has. Says whether it accepts it.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn reconfigure(&mut self, setup: &Setup) -> Result<bool> {
        self.store.data_mut().configuration = setup.configuration.clone();
        let configure = self.guest.on_configure.clone();
        Ok(self.enter(ROOT, &configure, (ROOT, u32::try_from(setup.configuration.len())?))? != 0)
    }

    /// Sends a request without a body. Header names arrive in lower case, as Envoy's codecs deliver them.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn request(&mut self, headers: &[(&str, &[u8])]) -> Result<(StreamId, Outcome)> {
        self.open(headers, None)
    }

    /// Sends a request with a body, which reaches the filter after its headers were let through.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn request_with_body(&mut self, headers: &[(&str, &[u8])], body: &[u8]) -> Result<(StreamId, Outcome)> {
        self.open(headers, Some(body.to_vec()))
    }

    fn open(&mut self, headers: &[(&str, &[u8])], body: Option<Vec<u8>>) -> Result<(StreamId, Outcome)> {
        let id = self.next_context;
        self.next_context += 1;
        let headers = HeaderMap::from_client(headers);
        let count = u32::try_from(headers.len())?;
        let end_of_stream = u32::from(body.is_none());
        self.store.data_mut().streams.open(id, headers, body);
        let create = self.guest.on_context_create.clone();
        self.enter(id, &create, (id, ROOT))?;
        let on_headers = self.guest.on_request_headers.clone();
        let action = self.enter(id, &on_headers, (id, count, end_of_stream))?;
        self.store.data_mut().streams.headers_done(id, action)?;
        let fuel = self.last_fuel;
        self.finish_decided()?;
        self.last_fuel = fuel;
        let stream = StreamId(id);
        Ok((stream, self.outcome(stream)?))
    }

    /// What has become of a request so far.
    ///
    /// # Errors
    /// When the stream was closed.
    pub fn outcome(&self, stream: StreamId) -> Result<Outcome> {
        let stream = self.store.data().streams.get(stream.0).context("the stream is closed")?;
        Ok(stream.outcome().clone())
    }

    /// The client goes away, or the exchange is over: the stream's context is torn down.
    ///
    /// # Errors
    /// When the filter traps.
    pub fn close(&mut self, stream: StreamId) -> Result<()> {
        let id = stream.0;
        for callback in [self.guest.on_done.clone(), self.guest.on_log.clone()] {
            match callback {
                Some(guest::Ending::Done(call)) => drop(self.enter(id, &call, id)?),
                Some(guest::Ending::Plain(call)) => self.enter(id, &call, id)?,
                None => {}
            }
        }
        self.store.data_mut().streams.close(id);
        let delete = self.guest.on_delete.clone();
        self.enter(id, &delete, id)
    }

    /// The callouts that wait for an answer, oldest first.
    pub fn callouts(&self) -> Vec<Callout> {
        self.store.data().callouts.values().cloned().collect()
    }

    /// Answers a callout.
    ///
    /// # Errors
    /// When there is no such callout, the filter traps or breaks a rule of the host.
    pub fn answer(&mut self, callout: u32, status: u16, body: &[u8]) -> Result<()> {
        let headers = HeaderMap::from_client(&[
            (":status", status.to_string().as_bytes()),
            ("content-type", b"application/json"),
        ]);
        self.deliver(callout, headers, body)
    }

    /// Lets a callout fail the way Envoy reports a reset: without a single header.
    ///
    /// # Errors
    /// As [`Host::answer`].
    pub fn fail(&mut self, callout: u32) -> Result<()> {
        self.deliver(callout, HeaderMap::default(), b"")
    }

    fn deliver(&mut self, token: u32, headers: HeaderMap, body: &[u8]) -> Result<()> {
        self.deliver_sized(token, headers, body, u32::try_from(body.len())?)
    }

    fn deliver_sized(&mut self, token: u32, headers: HeaderMap, body: &[u8], size: u32) -> Result<()> {
        let state = self.store.data_mut();
        state.callouts.remove(&token).with_context(|| format!("no callout {token} is waiting"))?;
        let sizes = (u32::try_from(headers.len())?, size);
        state.call_response = Some((headers, body.to_vec()));
        let on_response = self.guest.on_http_call_response.clone();
        self.enter(ROOT, &on_response, (ROOT, token, sizes.0, sizes.1, 0))?;
        let fuel = self.last_fuel;
        self.store.data_mut().call_response = None;
        self.finish_decided()?;
        self.last_fuel = fuel;
        Ok(())
    }

    /// Calls what Envoy calls once a request was let through (its body) or answered (the reply's own headers).
    fn finish_decided(&mut self) -> Result<()> {
        while let Some((id, body)) = self.store.data_mut().streams.next_to_finish() {
            match (body, self.guest.on_request_body.clone(), self.guest.on_response_headers.clone()) {
                (Some(body), Some(on_body), _) => {
                    let size = u32::try_from(body.len())?;
                    if self.enter(id, &on_body, (id, size, 1))? != 0 {
                        bail!("the filter holds the body of a request that it let through");
                    }
                }
                (None, _, Some(on_headers)) => {
                    self.enter(id, &on_headers, (id, 1, 0))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets time pass until the filter wants no more ticks; how many there were.
    ///
    /// # Errors
    /// When the filter traps, breaks a rule of the host, or never has enough.
    pub fn settle(&mut self) -> Result<u32> {
        for ticks in 0..MOST_TICKS {
            if !self.next_tick()? {
                return Ok(ticks);
            }
        }
        bail!("the filter still wants ticks after {MOST_TICKS}");
    }

    /// Lets the time to the next tick pass, and ticks. False if the filter wants none.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn next_tick(&mut self) -> Result<bool> {
        let Some(period) = self.ticks_wanted() else { return Ok(false) };
        self.advance(period);
        self.tick()?;
        Ok(true)
    }

    /// Enters the module on behalf of a context, and checks the rules when it comes back.
    fn enter<P: WasmParams, R: WasmResults>(
        &mut self,
        context: u32,
        call: &wasmtime::TypedFunc<P, R>,
        parameters: P,
    ) -> Result<R> {
        self.store.data_mut().begin(context);
        self.store.set_fuel(FUEL)?;
        let result = call.call(&mut self.store, parameters);
        self.last_fuel = FUEL.saturating_sub(self.store.get_fuel()?);
        self.total_fuel += self.last_fuel;
        let log = || self.store.data().log.join("\n");
        let value = result.map_err(|error| anyhow!("the filter trapped: {error:?}\n{}", log()))?;
        if let Some(violation) = self.store.data().violations.first() {
            bail!("the filter broke a rule of the host: {violation}\n{}", log());
        }
        Ok(value)
    }
}

/// The module, compiled and linked once per process.
fn module() -> Result<&'static InstancePre<State>> {
    static MODULE: OnceLock<InstancePre<State>> = OnceLock::new();
    if let Some(known) = MODULE.get() {
        return Ok(known);
    }
    let mut config = Config::new();
    config.consume_fuel(true);
    let engine = Engine::new(&config)?;
    let path = wasm::build()?;
    let module =
        Module::from_file(&engine, &path).map_err(|error| anyhow!("{} does not load: {error:?}", path.display()))?;
    let mut linker = Linker::new(&engine);
    guest::install(&mut linker)?;
    headers::install(&mut linker)?;
    streams::install(&mut linker)?;
    calls::install(&mut linker)?;
    wasi::install(&mut linker)?;
    linker.define_unknown_imports_as_traps(&module)?;
    let linked = linker.instantiate_pre(&module)?;
    Ok(MODULE.get_or_init(|| linked))
}
