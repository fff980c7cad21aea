//! Several plugins in one VM: each has a root context, which may come and go while requests of the others are open.
//!
//! Envoy shares a VM among all filters that name the same `vm_id`, code and `vm_config`. A listener update brings a new
//! plugin into the VM; the earlier one goes when its last stream has ended, and the callouts under way go with it.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{Host, Outcome, ROOT, Setup, StreamId};

/// Names one plugin of a VM by its root context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plugin(pub(super) u32);

impl Plugin {
    /// The plugin that a host starts with.
    pub const FIRST: Self = Self(ROOT);
}

impl Host {
    /// Brings another plugin into the VM. `None` if the filter refuses its configuration.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn add(&mut self, setup: &Setup) -> Result<Option<Plugin>> {
        let plugin = Plugin(self.next_context);
        self.next_context += 1;
        self.store.data_mut().configuration.clone_from(&setup.configuration);
        if self.begin_root(plugin.0, setup.configuration.len())? {
            return Ok(Some(plugin));
        }
        self.remove(plugin)?;
        Ok(None)
    }

    /// The calls by which a host starts a plugin, in order; returns whether the filter accepts the configuration.
    pub(super) fn begin_root(&mut self, root: u32, configuration: usize) -> Result<bool> {
        self.store.data_mut().roots.insert(root, 0);
        let create = self.guest.on_context_create.clone();
        self.enter(root, &create, (root, 0))?;
        let vm_start = self.guest.on_vm_start.clone();
        if self.enter(root, &vm_start, (root, 0))? == 0 {
            bail!("the filter's on_vm_start is false");
        }
        let configure = self.guest.on_configure.clone();
        Ok(self.enter(root, &configure, (root, u32::try_from(configuration)?))? != 0)
    }

    /// Gives a plugin another configuration; returns whether it accepts it. Envoy makes another plugin instead.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn configure(&mut self, plugin: Plugin, setup: &Setup) -> Result<bool> {
        self.store.data_mut().configuration.clone_from(&setup.configuration);
        let configure = self.guest.on_configure.clone();
        Ok(self.enter(plugin.0, &configure, (plugin.0, u32::try_from(setup.configuration.len())?))? != 0)
    }

    /// Sends a request without a body through a plugin.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn request_through(&mut self, plugin: Plugin, headers: &[(&str, &[u8])]) -> Result<(StreamId, Outcome)> {
        self.open(plugin, headers, None)
    }

    /// Ticks a plugin, whether it wants a tick or not. No time passes.
    ///
    /// # Errors
    /// When the filter traps or breaks a rule of the host.
    pub fn tick_of(&mut self, plugin: Plugin) -> Result<()> {
        if let Some(on_tick) = self.guest.on_tick.clone() {
            self.enter(plugin.0, &on_tick, plugin.0)?;
            self.finish_decided()?;
        }
        Ok(())
    }

    /// Removes a plugin: its root context is deleted, and nothing is reported about its callouts any more.
    ///
    /// # Errors
    /// When the filter traps.
    pub fn remove(&mut self, plugin: Plugin) -> Result<()> {
        let delete = self.guest.on_delete.clone();
        self.enter(plugin.0, &delete, plugin.0)?;
        let state = self.store.data_mut();
        state.roots.remove(&plugin.0);
        state.callouts.retain(|_, callout| callout.plugin != plugin);
        Ok(())
    }

    /// The shortest period of ticks that any plugin wants.
    pub fn shortest_tick(&self) -> Option<Duration> {
        let periods = self.store.data().roots.values().filter(|period| **period > 0);
        periods.min().map(|period| Duration::from_millis(u64::from(*period)))
    }
}
