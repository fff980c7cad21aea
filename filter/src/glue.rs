//! Turns the host's callbacks into facts, and the gate's steps into host calls. Decides nothing.
//!
//! A callback first takes all steps from the gate, releases it, and then acts, because acting can call back into the
//! module.

mod carry_out;
mod keys;
mod plugin;

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use crate::config::{Config, Consistency, OnUnavailable};
use crate::gate::{Gate, Question, Step};
use crate::header_map::pairs;
use crate::host::{self, Counters, DOORBELL};
use crate::permit::Edits;
use crate::request::Request;

use carry_out::{carry_out, unreadable};
use plugin::{Held, Plugin};

proxy_wasm::main! {{
    // The host filters by the operator's log level.
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|id| Box::new(Root { id, plugins: Vec::new(), counters: None, ticks: 0 }));
}}

/// The plugin in this VM. State belongs to it and not to statics: a VM may serve several plugins.
struct Root {
    id: u32,
    /// The last plugin serves new streams; without any, streams are refused. Earlier plugins, whose configurations were
    /// replaced, stay while requests wait in them, or while the control plane is told that their leases are given up.
    plugins: Vec<Rc<Plugin>>,
    counters: Option<Rc<Counters>>,
    /// The period of the ticks that the host was asked for, in milliseconds; 0 for none.
    ticks: u32,
}

struct Stream {
    id: u32,
    plugin: Option<Rc<Plugin>>,
}

impl Context for Root {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body_size: usize, _trailers: usize) {
        #[cfg(feature = "trap")]
        crate::trap::reach(crate::trap::Place::Answer);
        if let Some(plugin) = self.plugins.iter().find(|plugin| plugin.gate.borrow().asked(call)) {
            plugin.answered(call, host::verdict(headers, body_size));
        } else if let Some(plugin) = self.plugins.iter().find(|plugin| plugin.gate.borrow().polled(call)) {
            plugin.poll_answered(call, host::page(headers, body_size));
        } else if let Some(plugin) = self.plugins.iter().find(|plugin| plugin.gate.borrow().called_for_keys(call)) {
            plugin.keys_answered(call, &host::key_sets(headers, body_size));
        }
        self.tick_sooner();
    }
}

/// Runs when the host drops the plugin. `on_done` would also be called for each stream, and each such call costs an
/// entry into the VM.
impl Drop for Root {
    fn drop(&mut self) {
        self.plugins.iter().for_each(|plugin| plugin.report());
        self.tick_every(0);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        match Config::parse_with(&host::configuration(size), &host::environment) {
            Ok(config) => self.serve(config),
            Err(mistakes) => {
                for mistake in mistakes.iter() {
                    log::error!("configuration refused: {mistake}");
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        #[cfg(feature = "trap")]
        crate::trap::reach(crate::trap::Place::Tick);
        for plugin in &self.plugins {
            plugin.gate.borrow_mut().give_up_lost(host::now(plugin.start));
            plugin.poll();
            plugin.call_keys();
            plugin.report();
        }
        // One plugin in each tick: the bound on what a callback releases is for all plugins together.
        if let Some(plugin) = self.plugins.iter().find(|plugin| plugin.gate.borrow().holds_back()) {
            plugin.release_portion();
            plugin.report();
        }
        self.drop_idle();
        self.tick_every(self.wanted_ticks());
    }

    fn on_queue_ready(&mut self, queue: u32) {
        if queue != DOORBELL {
            return;
        }
        for plugin in &self.plugins {
            if let Some(question) = plugin.outbox.take() {
                plugin.send(&question);
            }
            plugin.call_keys();
            plugin.poll();
        }
        self.tick_sooner();
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { id, plugin: self.plugins.last().cloned() }))
    }
}

impl Root {
    /// The period of ticks that is needed. While requests are held back, it is the host's shortest. Otherwise it lasts
    /// until the next question may be lost or the feed is to be woken.
    fn wanted_ticks(&self) -> u32 {
        if self.plugins.iter().any(|plugin| plugin.gate.borrow().holds_back()) {
            return 1;
        }
        let periods = self.plugins.iter().filter_map(|plugin| plugin.wakes_in());
        // A tick that comes too early finds nothing to do.
        periods.min().map_or(0, |period| u32::try_from(period.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1))
    }

    /// Asks for more frequent ticks if they are needed. Only a tick asks for less frequent ones: questions come and go
    /// faster than they get lost.
    fn tick_sooner(&mut self) {
        let wanted = self.wanted_ticks();
        if wanted > 0 && (self.ticks == 0 || wanted < self.ticks) {
            self.tick_every(wanted);
        }
    }

    fn tick_every(&mut self, period: u32) {
        // A period that the host refuses is asked for again at the next occasion.
        if period != self.ticks && host::tick(period) {
            self.ticks = period;
        }
    }

    /// Serves new streams by this configuration from now on; the earlier plugins give up their leases.
    fn serve(&mut self, config: Config) -> bool {
        let Some(plugin) = self.plugin(config) else {
            log::error!("configuration refused: the host has no random bytes");
            return false;
        };
        for plugin in &self.plugins {
            plugin.retire();
        }
        self.plugins.push(Rc::new(plugin));
        self.drop_idle();
        self.tick_sooner();
        true
    }

    /// Drops the plugins of replaced configurations that have nothing left to do.
    fn drop_idle(&mut self) {
        let last = self.plugins.last().cloned();
        let serves = |plugin: &Rc<Plugin>| last.as_ref().is_some_and(|last| Rc::ptr_eq(last, plugin));
        self.plugins.retain(|plugin| serves(plugin) || plugin.is_needed());
    }

    fn plugin(&mut self, config: Config) -> Option<Plugin> {
        for warning in config.policy.warnings() {
            log::warn!("configuration: {warning}");
        }
        if config.report_only {
            log::warn!("report_only is on: nothing is refused");
        }
        if config.rules.report_some() {
            log::warn!("report_only is on for some rules: under these, nothing is refused");
        }
        if matches!(config.consistency, Consistency::Strict { .. }) && config.on_unavailable == OnUnavailable::Allow {
            log::warn!("on_unavailable is allow: while the control plane is away, logged-out tokens may be admitted");
        }
        let counters = self.counters.get_or_insert_with(|| Rc::new(Counters::define()));
        Some(Plugin::new(self.id, Gate::new(config, host::seed()?), Rc::clone(counters)))
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Some(plugin) = self.plugin.clone() else {
            return carry_out(unreadable());
        };
        let (action, waits) = match plugin.arrive(self.id) {
            Step::Wait { edits, question } => self.wait(&plugin, &edits, question),
            step => (carry_out(step), false),
        };
        if action == Action::Pause {
            plugin.held.borrow_mut().insert(self.id, if waits { Held::Waiting } else { Held::Refused });
        }
        plugin.note();
        // Reporting the counters would add a third to the cost of an admission. The end of the poll under way, or the
        // tick that notices that it is lost, reports for many requests.
        if action == Action::Pause || !plugin.gate.borrow().poll_is_under_way() {
            plugin.counters.report();
        }
        action
    }

    /// A host that brings the body while the head waits, as Envoy does with `allow_on_headers_stop_iteration`,
    /// understands "continue" here as "continue with the whole request".
    fn on_http_request_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        #[cfg(feature = "trap")]
        crate::trap::reach(crate::trap::Place::Body);
        self.plugin.as_ref().map_or(Action::Pause, |plugin| plugin.follows(self.id))
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        match &self.plugin {
            Some(plugin) if strip_trailers(plugin) => plugin.follows(self.id),
            Some(plugin) => plugin.cut(self.id),
            None => carry_out(unreadable()),
        }
    }
}

/// Removes unwelcome trailers; false if that is impossible. Some upstreams merge trailers into headers, so an identity
/// or a credential in a trailer is as forged as in a header.
fn strip_trailers(plugin: &Plugin) -> bool {
    let map = host::request_trailers();
    let Some(trailers) = map.as_deref().and_then(pairs) else { return false };
    let gate = plugin.gate.borrow();
    let names = gate.unwelcome_trailers(&Request::new(&trailers));
    names.into_iter().all(host::remove_trailer)
}

impl Stream {
    /// Makes the stream wait, and has the root send the question if there is one. If the question cannot be sent, the
    /// stream is decided about at once. The second value is true if the stream waits.
    ///
    /// A stream that waits for keys is decided about anew at once if they cannot be asked for.
    fn wait(&self, plugin: &Plugin, edits: &Edits, question: Option<Question>) -> (Action, bool) {
        if !host::edit(edits) {
            let question = question.map(|question| question.id);
            plugin.gate.borrow_mut().withdraw(self.id, question, host::now(plugin.start));
            return (carry_out(unreadable()), false);
        }
        if question.is_some() || plugin.gate.borrow().key_call_is_due() {
            plugin.outbox.replace(question);
            host::ring(plugin.root, self.id);
        }
        match plugin.settled(self.id) {
            None => (Action::Pause, true),
            Some(step) => (carry_out(step), false),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(plugin) = &self.plugin {
            plugin.gate.borrow_mut().forget(self.id);
            plugin.no_longer_held(self.id);
        }
    }
}
