//! A proxy-wasm host (ABI 0.2.x) on wasmtime, for the shipped module.
//!
//! It is to Envoy what a flight simulator is to a plane: a story moves the clocks and writes the control plane's
//! answers, and the host enforces the rules of the real one. A paused request must be resumed or answered exactly once;
//! after that its headers are gone; a deleted context cannot be made effective; a call to an import that does not exist
//! is an error. It runs one VM, with one plugin or several, and does no I/O.

mod calls;
mod exchanges;
mod faults;
mod foreign;
mod guest;
mod headers;
mod hostile;
mod observe;
mod plugins;
mod state;
mod streams;
mod wasi;

use std::sync::OnceLock;

use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use wasmtime::{Config, Engine, InstancePre, Linker, Module, Store, WasmParams, WasmResults};

use crate::wasm;
use guest::Guest;
use state::State;

pub use faults::{Fault, HostCall};
pub use headers::HeaderMap;
pub use hostile::Action;
pub use plugins::Plugin;
pub use state::{Callout, ClusterState};
pub use streams::Outcome;

/// The limit that stops a module that never returns. An RSA signature in plain wasm takes tens of millions.
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
    /// True if the foreign function `verify_signature` exists, as in Envoy.
    pub verify_signature: bool,
    /// The value of every random byte; `None` takes a fixed sequence.
    pub random: Option<u8>,
    /// The environment variables of the VM, each `NAME=value`.
    pub environment: Vec<String>,
}

impl Setup {
    /// A host like Envoy with this configuration.
    pub fn new(configuration: &Value) -> Self {
        Self {
            configuration: configuration.to_string().into_bytes(),
            verify_signature: true,
            random: None,
            environment: Vec::new(),
        }
    }

    /// The same without the foreign function.
    #[must_use]
    pub fn without_verify_signature(mut self) -> Self {
        self.verify_signature = false;
        self
    }

    /// The same with an environment variable of the VM.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// The same with this value for every random byte (see [`Host::set_random`]).
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

    /// Starts a VM; returns whether the filter accepts the configuration.
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

    /// The calls by which a host starts a VM, in order.
    fn boot(&mut self, configuration: usize) -> Result<bool> {
        if let Some(initialize) = self.guest.initialize.clone() {
            self.enter(0, &initialize, ())?;
        }
        self.begin_root(ROOT, configuration)
    }

    /// Gives the filter another configuration in the same VM; returns whether it accepts it.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn reconfigure(&mut self, setup: &Setup) -> Result<bool> {
        self.configure(Plugin::FIRST, setup)
    }

    /// Lets time pass until the filter wants no more ticks; returns how many there were.
    ///
    /// # Errors
    /// When the filter traps, breaks a rule of the host, or never stops.
    pub fn settle(&mut self) -> Result<u32> {
        for ticks in 0..MOST_TICKS {
            if !self.next_tick()? {
                return Ok(ticks);
            }
        }
        bail!("the filter still wants ticks after {MOST_TICKS}");
    }

    /// Lets the time to the next tick pass, and ticks; false if the filter wants no tick.
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
