//! Configurations and plugins that come and go.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::wasm_host::{Action, Outcome, Plugin, Setup};

use super::{PLUGINS, Shared};
use crate::served::{SECRETS, Served, setup};
use crate::stage::Living;

impl Shared {
    /// What the next configuration has in common with the one that it replaces is left to chance.
    fn next(&mut self) -> (usize, usize, bool, Setup) {
        self.stage.heal();
        self.tried.updates += 1;
        let (secret, strict) = (self.stage.dice.roll(SECRETS.len()), self.stage.dice.roll(3) > 0);
        let number = self.served.len();
        (number, secret, strict, setup(number, secret, strict))
    }

    /// Envoy's way: a plugin with the new configuration takes the new requests.
    pub(super) fn update_listener(&mut self) -> Result<()> {
        let (number, secret, strict, setup) = self.next();
        let plugin = self.stage.host.add(&setup)?.context("refused")?;
        self.plugins.insert(plugin);
        self.served.push(Served::new(plugin, secret, strict));
        self.serving[self.stage.dice.roll(PLUGINS)] = number;
        self.learn()
    }

    /// The interface's way: the same plugin gets another configuration.
    pub(super) fn reconfigure(&mut self) -> Result<()> {
        let (number, secret, strict, setup) = self.next();
        let place = self.stage.dice.roll(PLUGINS);
        let plugin = self.served[self.serving[place]].plugin;
        // Known before the plugin calls, because it may ask at once.
        self.served.push(Served::new(plugin, secret, strict));
        self.serving[place] = number;
        ensure!(self.stage.host.configure(plugin, &setup)?, "refused");
        self.learn()
    }

    /// The plugins that serve no new requests.
    fn replaced(&self) -> BTreeSet<Plugin> {
        let serving: BTreeSet<_> = self.serving.iter().map(|served| self.served[*served].plugin).collect();
        self.plugins.difference(&serving).copied().collect()
    }

    /// A replaced plugin goes when its last request has ended.
    pub(super) fn remove_idle(&mut self) -> Result<()> {
        let used: BTreeSet<_> =
            self.stage.living.iter().map(|living| self.served[self.at[&living.stream]].plugin).collect();
        for plugin in self.replaced().difference(&used) {
            self.stage.host.remove(*plugin)?;
            self.plugins.remove(plugin);
        }
        Ok(())
    }

    /// No Envoy removes a plugin that has requests. If a host does, those that wait never go on.
    pub(super) fn remove_early(&mut self) -> Result<()> {
        self.look()?;
        let replaced: Vec<Plugin> = self.replaced().into_iter().collect();
        let Some(plugin) = self.stage.dice.pick(&replaced) else { return Ok(()) };
        self.stage.host.remove(plugin)?;
        self.plugins.remove(&plugin);
        for plugin in self.plugins.clone() {
            self.tick(plugin)?;
        }
        let (gone, staying): (Vec<Living>, Vec<Living>) =
            self.stage.living.drain(..).partition(|living| self.served[self.at[&living.stream]].plugin == plugin);
        self.stage.living = staying;
        for living in gone {
            if !living.decided {
                let outcome = self.stage.host.outcome(living.stream)?;
                ensure!(!matches!(outcome, Outcome::Continued { .. }), "admitted by a plugin that is gone");
                ensure!(self.stage.host.body(living.stream, 10, true)? == Action::Pause, "its body goes on");
                self.tried.removed_early += 1;
            }
            self.stage.host.close(living.stream)?;
        }
        Ok(())
    }
}
