//! Turns the host's callbacks into facts, and the gate's steps into host calls. Decides nothing.
//!
//! A callback asks the gate for all steps first, lets go of it, and then acts: acting can call back into the module.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use curfew_core::Denial;
use curfew_core::wire::FeedAnswer;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use crate::checks::StreamId;
use crate::config::{Config, Consistency, OnUnavailable};
use crate::feed::{Chance, Poll};
use crate::gate::{Decision, Gate, Question, Refusal, Step};
use crate::header_map::pairs;
use crate::host::{self, Counters, DOORBELL};
use crate::outage::{Failure, Notice};
use crate::permit::Edits;
use crate::request::Request;
use crate::strict::Answer;

proxy_wasm::main! {{
    // The host has the operator's level and filters by it.
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|id| Box::new(Root { id, plugins: Vec::new(), counters: None, ticks: 0 }));
}}

/// The plugin in this VM. State belongs to it and not to statics: a VM may serve several plugins.
struct Root {
    id: u32,
    /// The last one serves new streams; without any, streams are refused. Older ones, of configurations that were
    /// replaced, stay while requests wait in them, or the control plane is told that their leases are given up.
    plugins: Vec<Rc<Plugin>>,
    counters: Option<Rc<Counters>>,
    /// The period of the ticks that were asked for, in milliseconds; 0 for none.
    ticks: u32,
}

/// The feed is not woken more often than this. Nothing depends on its being punctual.
const SHORTEST_WAKE: Duration = Duration::from_millis(10);

struct Plugin {
    root: u32,
    start: Instant,
    gate: RefCell<Gate>,
    counters: Rc<Counters>,
    host_helps: RefCell<bool>,
    /// The question that the root is rung for.
    outbox: RefCell<Option<Question>>,
    /// Streams of which nothing more may go on.
    held: RefCell<HashMap<StreamId, Held>>,
}

/// Why a stream is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// It waits for an answer.
    Waiting,
    /// It was refused, and is not refused twice.
    Refused,
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
        }
        self.tick_sooner();
    }
}

/// When the host lets go of the plugin. Its `on_done` would come for each stream as well, and cost an entry into the VM.
impl Drop for Root {
    fn drop(&mut self) {
        self.plugins.iter().for_each(|plugin| plugin.report());
        self.tick_every(0);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        match Config::parse(&host::configuration(size)) {
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
            plugin.report();
        }
        // One plugin for each tick: the bound on what a callback releases is for all of them together.
        if let Some(plugin) = self.plugins.iter().find(|plugin| plugin.gate.borrow().holds_back()) {
            let streams = plugin.gate.borrow_mut().release_more();
            plugin.release(&streams);
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
    /// As often as the host can while requests are held back; seldom while questions are under way; and when the feed is to
    /// be woken.
    fn wanted_ticks(&self) -> u32 {
        if self.plugins.iter().any(|plugin| plugin.gate.borrow().holds_back()) {
            return 1;
        }
        let periods = self.plugins.iter().filter_map(|plugin| plugin.wakes_in());
        // A tick that comes too early finds nothing to do.
        periods.min().map_or(0, |period| u32::try_from(period.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1))
    }

    /// Asks for ticks if there are too few. Only a tick asks for fewer: questions come and go faster than they get lost.
    fn tick_sooner(&mut self) {
        let wanted = self.wanted_ticks();
        if wanted > 0 && (self.ticks == 0 || wanted < self.ticks) {
            self.tick_every(wanted);
        }
    }

    fn tick_every(&mut self, period: u32) {
        // What the host did not take is asked for again at the next occasion.
        if period != self.ticks && host::tick(period) {
            self.ticks = period;
        }
    }

    /// Serves new streams by this configuration; the plugin that did so far gives its lease up.
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

    /// Forgets the plugins of replaced configurations that have nothing left to do.
    fn drop_idle(&mut self) {
        let last = self.plugins.last().cloned();
        let serves = |plugin: &Rc<Plugin>| last.as_ref().is_some_and(|last| Rc::ptr_eq(last, plugin));
        self.plugins.retain(|plugin| serves(plugin) || plugin.is_needed());
    }

    fn plugin(&mut self, config: Config) -> Option<Plugin> {
        if config.report_only {
            log::warn!("report_only is on: nothing is refused");
        }
        if matches!(config.consistency, Consistency::Strict { .. }) && config.on_unavailable == OnUnavailable::Allow {
            log::warn!("on_unavailable is allow: while the control plane is away, logged-out tokens may be admitted");
        }
        let counters = self.counters.get_or_insert_with(|| Rc::new(Counters::define()));
        Some(Plugin {
            root: self.id,
            start: Instant::now(),
            gate: RefCell::new(Gate::new(config, host::seed()?)),
            counters: Rc::clone(counters),
            host_helps: RefCell::new(true),
            outbox: RefCell::default(),
            held: RefCell::default(),
        })
    }
}

impl Plugin {
    /// Asks the gate about the request of the selected stream.
    fn arrive(&self, stream: u32) -> Step {
        let map = host::request_headers();
        let Some(headers) = map.as_deref().and_then(pairs) else {
            return unreadable();
        };
        let mut host_helps = self.host_helps.borrow_mut();
        let request = Request::new(&headers);
        #[cfg(feature = "trap")]
        crate::trap::arm(&request);
        self.gate.borrow_mut().arrive(stream, &request, host::now(self.start), |check| {
            let (verified, by) = host::verify(check, &mut host_helps);
            self.counters.count(by);
            verified
        })
    }

    /// A question has ended, in the root's callback.
    fn answered(&self, call: u32, answer: Result<Answer, Failure>) {
        let released = self.gate.borrow_mut().answered(call, answer, host::now(self.start));
        self.release(&released.streams);
        if let Some(question) = &released.question {
            self.send(question);
        }
        self.poll();
        self.report();
    }

    /// A poll has ended, in the root's callback.
    fn poll_answered(&self, call: u32, page: Result<FeedAnswer, Failure>) {
        // Without randomness it is lost, and given up in time.
        if let Some(chance) = host::chance() {
            let page = page.as_ref().map_err(|failure| *failure);
            self.gate.borrow_mut().poll_answered(call, page, host::now(self.start), chance);
        }
        self.poll();
        self.report();
    }

    /// Sends the poll that is due, from the root's callback.
    fn poll(&self) {
        let mut gate = self.gate.borrow_mut();
        let now = host::now(self.start);
        if gate.polls_at().is_none_or(|at| now.monotonic < at) {
            return;
        }
        let Some(chance) = host::chance() else { return };
        if let Some(poll) = gate.poll(now, chance) {
            self.send_poll(&mut gate, &poll, chance);
        }
    }

    fn send_poll(&self, gate: &mut Gate, poll: &Poll, chance: Chance) {
        match host::poll(&gate.config().control_plane, poll) {
            Some(call) => gate.poll_sent(call),
            None => gate.poll_not_sent(host::now(self.start), chance),
        }
    }

    /// Gives the lease up and says so: another plugin serves new streams.
    fn retire(&self) {
        let mut gate = self.gate.borrow_mut();
        let poll = gate.retire(host::now(self.start));
        if let (Some(poll), Some(chance)) = (poll, host::chance()) {
            self.send_poll(&mut gate, &poll, chance);
        }
    }

    /// Whether a plugin that serves no new streams has something left to do.
    fn is_needed(self: &Rc<Self>) -> bool {
        let gate = self.gate.borrow();
        Rc::strong_count(self) > 1 || gate.waiting() > 0 || gate.polls()
    }

    /// How soon a tick is needed.
    fn wakes_in(&self) -> Option<Duration> {
        let gate = self.gate.borrow();
        let now = host::now(self.start).monotonic;
        let feed = gate.polls_at().map(|at| at.saturating_sub(now).max(SHORTEST_WAKE));
        gate.gives_up_every().into_iter().chain(feed).min()
    }

    /// Sends a question, from the root's callback.
    fn send(&self, question: &Question) {
        let mut gate = self.gate.borrow_mut();
        match host::ask(&gate.config().control_plane, &question.request) {
            Some(call) => gate.sent(question.id, call),
            None => gate.not_sent(question.id, host::now(self.start)),
        }
    }

    /// What became at once of a stream that was to wait: its question may still be in the outbox, or have failed.
    fn settled(&self, stream: StreamId) -> Option<Decision> {
        let mut gate = self.gate.borrow_mut();
        if let Some(unsent) = self.outbox.take() {
            gate.not_sent(unsent.id, host::now(self.start));
        }
        gate.release_only(stream)
    }

    /// Acts on streams that may go, from the root's callback.
    fn release(&self, streams: &[(StreamId, Decision)]) {
        for (stream, decision) in streams {
            // The stream may be gone without having told us yet; then there is nobody to act for.
            if host::select(*stream) {
                self.act(*stream, decision);
            }
        }
        host::select(self.root);
    }

    /// Acts for a stream that has waited and is selected.
    fn act(&self, stream: StreamId, decision: &Decision) {
        match decision {
            Ok(_permit) => {
                // Before the host goes on with the request: its body may come at once.
                self.held.borrow_mut().remove(&stream);
                host::resume()
            }
            Err(refusal) => {
                self.held.borrow_mut().insert(stream, Held::Refused);
                host::refuse(refusal)
            }
        };
    }

    /// What a part of the stream that comes after its head may do.
    fn follows(&self, stream: StreamId) -> Action {
        if self.held.borrow().contains_key(&stream) { Action::Pause } else { Action::Continue }
    }

    /// Refuses a stream that has shown something unreadable after its head.
    fn cut(&self, stream: StreamId) -> Action {
        match self.held.borrow_mut().insert(stream, Held::Refused) {
            Some(Held::Refused) => return Action::Pause,
            // The host may not bring these trailers again when the answer is there.
            Some(Held::Waiting) => self.gate.borrow_mut().withdraw(stream, None, host::now(self.start)),
            None => {}
        }
        let action = carry_out(unreadable());
        self.report();
        action
    }

    /// Counts and logs what has come up, and tells the host what was counted.
    fn report(&self) {
        self.note();
        self.counters.tell();
    }

    fn note(&self) {
        let mut gate = self.gate.borrow_mut();
        gate.take_counted().for_each(|metric| self.counters.count(metric));
        gate.take_gauges().into_iter().for_each(|gauges| self.counters.show(gauges));
        gate.take_notices().into_iter().for_each(tell);
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
        // Telling takes the host a third of what the rest of an admission does. The end of the poll under way, or the tick that
        // notices that it is lost, tells for many.
        if action == Action::Pause || !plugin.gate.borrow().poll_is_under_way() {
            plugin.counters.tell();
        }
        action
    }

    /// A host that brings the body while the head waits, as Envoy does with `allow_on_headers_stop_iteration`, takes
    /// "continue" here for "continue with all of it".
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

/// Some upstreams merge trailers into headers: an identity or a credential there is as forged as in a header.
fn strip_trailers(plugin: &Plugin) -> bool {
    let map = host::request_trailers();
    let Some(trailers) = map.as_deref().and_then(pairs) else { return false };
    let gate = plugin.gate.borrow();
    let names = gate.unwelcome_trailers(&Request::new(&trailers));
    names.into_iter().all(host::remove_trailer)
}

impl Stream {
    /// Makes the stream wait, and has the root send the question if there is one. A question that cannot be sent settles
    /// this stream at once. Also says whether it does wait.
    fn wait(&self, plugin: &Plugin, edits: &Edits, question: Option<Question>) -> (Action, bool) {
        if !host::edit(edits) {
            let question = question.map(|question| question.id);
            plugin.gate.borrow_mut().withdraw(self.id, question, host::now(plugin.start));
            return (carry_out(unreadable()), false);
        }
        if question.is_some() {
            plugin.outbox.replace(question);
            host::ring(plugin.root, self.id);
        }
        match plugin.settled(self.id) {
            None => (Action::Pause, true),
            Some(decision) => (carry_out(decision.into()), false),
        }
    }
}

fn tell(notice: Notice) {
    match notice {
        Notice::Began(wanted, failure) => log::warn!("the control plane gives no {wanted}: {failure}"),
        Notice::Ended { wanted, failed } => {
            log::info!("the control plane gives {wanted} again; {failed} calls had failed");
        }
        Notice::Overflow => {
            log::warn!("the revocations do not fit in replica_bytes: the control plane is asked about each token");
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(plugin) = &self.plugin {
            plugin.gate.borrow_mut().forget(self.id);
            plugin.held.borrow_mut().remove(&self.id);
        }
    }
}

/// Carries out a step for the stream whose callback runs.
fn carry_out(step: Step) -> Action {
    match step {
        Step::Admit(permit) if host::edit(&permit.edits) => Action::Continue,
        Step::Refuse(refusal) => {
            host::refuse(&refusal);
            Action::Pause
        }
        Step::Admit(_) | Step::Wait { .. } => carry_out(unreadable()),
    }
}

/// The refusal of a request that could not be read or changed: the host is not doing its part.
fn unreadable() -> Step {
    let denial = Denial::Unavailable;
    Step::Refuse(Refusal { denial, detail: denial.detail().to_owned(), grpc: false })
}
