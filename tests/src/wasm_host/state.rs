//! The host's state: clocks, streams, callouts, metrics, and the rules that were broken.

use std::collections::BTreeMap;
use std::time::Duration;

use super::faults::{Fault, Faults, HostCall};
use super::headers::HeaderMap;
use super::streams::{Stream, Streams};
use super::{Plugin, START, Setup};

/// The two clocks that a module can read. The story moves both.
#[derive(Debug)]
pub(super) struct Clock {
    /// Since 1970.
    pub(super) wall: Duration,
    /// Since some moment in the past.
    pub(super) monotonic: Duration,
}

/// The effect of dispatching a callout to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// The callout is sent and waits for an answer.
    Healthy,
    /// No healthy host: dispatching fails.
    Unhealthy,
}

/// A callout that the filter has dispatched.
#[derive(Clone, Debug)]
pub struct Callout {
    /// The name of the callout, for its answer.
    pub token: u32,
    /// The plugin that has sent it.
    pub plugin: Plugin,
    /// The cluster it goes to.
    pub cluster: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The request's body.
    pub body: Vec<u8>,
    /// How long the host would wait for the answer.
    pub timeout: Duration,
}

impl Callout {
    /// The body as JSON, or null where it is something else.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Everything behind the imports.
pub(super) struct State {
    pub(super) clock: Clock,
    random: u64,
    /// The value of every random byte, if one is set.
    pub(super) random_byte: Option<u8>,
    pub(super) configuration: Vec<u8>,
    pub(super) verify_signature: bool,
    pub(super) signature_checks: u64,
    /// Variables, each `NAME=value`.
    pub(super) environment: Vec<String>,
    /// The root contexts, each with the period of its ticks in milliseconds; 0 for no ticks.
    pub(super) roots: BTreeMap<u32, u32>,
    pub(super) streams: Streams,
    pub(super) callouts: BTreeMap<u32, Callout>,
    pub(super) next_callout: u32,
    pub(super) call_response: Option<(HeaderMap, Vec<u8>)>,
    pub(super) clusters: BTreeMap<String, ClusterState>,
    pub(super) metrics: Vec<(String, u64)>,
    pub(super) log: Vec<String>,
    pub(super) violations: Vec<String>,
    pub(super) faults: Faults,
    context: u32,
}

impl State {
    pub(super) fn new(setup: &Setup) -> Self {
        let clusters = [("curfew".to_owned(), ClusterState::Healthy)];
        Self {
            clock: Clock { wall: Duration::from_secs(START.unsigned_abs()), monotonic: Duration::from_secs(1_000) },
            random: 0x9e37_79b9_7f4a_7c15,
            random_byte: setup.random,
            configuration: setup.configuration.clone(),
            environment: setup.environment.clone(),
            verify_signature: setup.verify_signature,
            signature_checks: 0,
            roots: BTreeMap::new(),
            streams: Streams::default(),
            callouts: BTreeMap::new(),
            next_callout: 1,
            call_response: None,
            clusters: clusters.into(),
            metrics: Vec::new(),
            log: Vec::new(),
            violations: Vec::new(),
            faults: Faults::new(),
            context: 0,
        }
    }

    /// How this call fails now, if it fails.
    pub(super) fn fault(&self, call: HostCall) -> Option<Fault> {
        self.faults.get(&call).copied()
    }

    /// True if this call, which returns no bytes, fails now.
    pub(super) fn fails(&self, call: HostCall) -> bool {
        self.faults.contains_key(&call)
    }

    /// A call into the module begins, on behalf of this context.
    pub(super) fn begin(&mut self, context: u32) {
        self.context = context;
    }

    /// The context that host calls are about: that of the call into the module, or one that was made effective since.
    pub(super) fn context(&self) -> u32 {
        self.context
    }

    /// The root context of the context that host calls are about.
    pub(super) fn root(&self) -> Option<u32> {
        let own = self.roots.contains_key(&self.context).then_some(self.context);
        own.or_else(|| self.streams.get(self.context).map(Stream::root))
    }

    /// Makes another context effective until the call ends; false if it does not exist.
    pub(super) fn set_effective(&mut self, context: u32) -> bool {
        let fails = self.fails(HostCall::Select);
        let exists = self.roots.contains_key(&context) || (!fails && self.streams.get(context).is_some());
        if exists {
            self.context = context;
        }
        exists
    }

    /// A number from a fixed sequence (xorshift64*), so that every run is the same; or always the value that was set.
    pub(super) fn next_random(&mut self) -> u8 {
        if let Some(byte) = self.random_byte {
            return byte;
        }
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let mixed = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
        mixed.first().copied().unwrap_or_default()
    }
}
