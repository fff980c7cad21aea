//! Everything that a story may set and read: clocks, clusters, metrics, logs, and the cost of a call.

use std::time::Duration;

use super::{ClusterState, Fault, Host, HostCall, Plugin, StreamId};

impl Host {
    /// Moves both clocks forward.
    pub fn advance(&mut self, by: Duration) {
        let clock = &mut self.store.data_mut().clock;
        clock.wall += by;
        clock.monotonic += by;
    }

    /// Moves the wall clock alone, as a time server does; `seconds` may be negative.
    pub fn step_wall_clock(&mut self, seconds: i64) {
        let clock = &mut self.store.data_mut().clock;
        let step = Duration::from_secs(seconds.unsigned_abs());
        clock.wall = if seconds < 0 { clock.wall.saturating_sub(step) } else { clock.wall + step };
    }

    /// Sets the value of every random byte from now on. Another player of the same events then draws the same bytes,
    /// however often the filter draws and for what.
    pub fn set_random(&mut self, byte: u8) {
        self.store.data_mut().random_byte = Some(byte);
    }

    /// The wall clock in seconds since 1970.
    pub fn now(&self) -> i64 {
        i64::try_from(self.store.data().clock.wall.as_secs()).unwrap_or(i64::MAX)
    }

    /// Sets the effect of dispatching a callout to a cluster.
    pub fn set_cluster(&mut self, name: &str, state: ClusterState) {
        self.store.data_mut().clusters.insert(name.to_owned(), state);
    }

    /// Makes a host call fail from now on, or work again.
    pub fn set_fault(&mut self, call: HostCall, fault: Option<Fault>) {
        let faults = &mut self.store.data_mut().faults;
        match fault {
            Some(fault) => faults.insert(call, fault),
            None => faults.remove(&call),
        };
    }

    /// True if any host call fails now.
    pub fn any_fault(&self) -> bool {
        !self.store.data().faults.is_empty()
    }

    /// The tick period that the filter has set, if any.
    pub fn ticks_wanted(&self) -> Option<Duration> {
        self.ticks_wanted_by(Plugin::FIRST)
    }

    /// The tick period that a plugin has set, if any.
    pub fn ticks_wanted_by(&self, plugin: Plugin) -> Option<Duration> {
        let period = self.store.data().roots.get(&plugin.0).copied().unwrap_or_default();
        (period > 0).then(|| Duration::from_millis(period.into()))
    }

    /// The value of a metric; 0 if the filter never defined it.
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = &self.store.data().metrics;
        metrics.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value)
    }

    /// All metrics by name.
    pub fn metrics(&self) -> Vec<(String, u64)> {
        self.store.data().metrics.clone()
    }

    /// Everything that the filter has logged, or printed to standard output or error.
    pub fn log(&self) -> &[String] {
        &self.store.data().log
    }

    /// A property that the filter set on a request.
    pub fn property(&self, stream: StreamId, name: &str) -> Option<Vec<u8>> {
        self.store.data().streams.get(stream.0)?.property(name)
    }

    /// How often the filter called `verify_signature`.
    pub fn signatures_checked_by_host(&self) -> u64 {
        self.store.data().signature_checks
    }

    /// The instructions (wasmtime fuel) that the last call of a story took inside the module.
    pub fn last_fuel(&self) -> u64 {
        self.last_fuel
    }

    /// The instructions of all calls so far.
    pub fn total_fuel(&self) -> u64 {
        self.total_fuel
    }

    /// The bytes of memory that the VM holds.
    pub fn memory_size(&self) -> usize {
        self.guest.memory.data_size(&self.store)
    }
}
