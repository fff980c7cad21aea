//! Turns the host's callbacks into facts, and the gate's steps into host calls. Decides nothing.
//!
//! A callback asks the gate for all steps first, lets go of it, and then acts: acting can call back into the module.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use curfew_core::Denial;
use curfew_core::wire::{CheckAnswer, CheckRequest};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use crate::config::Config;
use crate::gate::{Gate, Refusal, Release, Released, Step};
use crate::host::{self, Counters, DOORBELL};
use crate::permit::Reason;
use crate::request::Request;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(Root { id, plugins: Vec::new(), counters: None }));
}}

/// The plugin in this VM. State belongs to it and not to statics: a VM may serve several plugins.
struct Root {
    id: u32,
    /// The last one serves new streams; without any, streams are refused. Older ones, of configurations that were
    /// replaced, stay while requests wait in them.
    plugins: Vec<Rc<Plugin>>,
    counters: Option<Rc<Counters>>,
}

struct Plugin {
    root: u32,
    start: Instant,
    gate: RefCell<Gate>,
    counters: Rc<Counters>,
    host_helps: RefCell<bool>,
    /// The question that the root is rung for, and what came of it at once.
    outbox: RefCell<Option<CheckRequest>>,
    returned: RefCell<Released>,
}

struct Stream {
    id: u32,
    plugin: Option<Rc<Plugin>>,
}

impl Context for Root {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body_size: usize, _trailers: usize) {
        let Some(plugin) = self.plugins.iter().find(|plugin| plugin.gate.borrow().asked(call)) else { return };
        let body = host::answer(headers, body_size);
        let answer = body.and_then(|body| serde_json::from_slice::<CheckAnswer>(&body).ok());
        if answer.is_none() {
            log::debug!("a check of the control plane failed");
        }
        let verdict = answer.map(|answer| answer.verdict);
        let released = plugin.gate.borrow_mut().answered(call, verdict, host::now(plugin.start));
        plugin.finish(released);
        host::select(self.id);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        match Config::parse(&bytes) {
            Ok(config) => {
                self.plugins.retain(|plugin| plugin.gate.borrow().waiting() > 0);
                let plugin = self.plugin(config);
                self.plugins.push(Rc::new(plugin));
                true
            }
            Err(mistakes) => {
                for mistake in mistakes.iter() {
                    log::error!("configuration refused: {mistake}");
                }
                false
            }
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        if queue != DOORBELL {
            return;
        }
        for plugin in &self.plugins {
            if let Some(question) = plugin.outbox.take() {
                plugin.returned.replace(plugin.send(&question));
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { id, plugin: self.plugins.last().cloned() }))
    }
}

impl Root {
    fn plugin(&mut self, config: Config) -> Plugin {
        if config.report_only {
            log::warn!("report_only is on: nothing is refused");
        }
        let counters = self.counters.get_or_insert_with(|| Rc::new(Counters::define()));
        Plugin {
            root: self.id,
            start: Instant::now(),
            gate: RefCell::new(Gate::new(config)),
            counters: Rc::clone(counters),
            host_helps: RefCell::new(true),
            outbox: RefCell::default(),
            returned: RefCell::default(),
        }
    }
}

impl Plugin {
    /// Asks the gate about the request of the selected stream.
    fn arrive(&self, stream: u32) -> Step {
        let map = host::request_headers();
        let Some(headers) = map.as_deref().and_then(host::pairs) else {
            return unreadable();
        };
        let mut host_helps = self.host_helps.borrow_mut();
        let request = Request::new(&headers);
        self.gate.borrow_mut().arrive(stream, &request, host::now(self.start), |check| {
            let (verified, by) = host::verify(check, &mut host_helps);
            self.counters.count(by);
            verified
        })
    }

    /// Sends a question from the root's callback; what is returned was settled at once.
    fn send(&self, question: &CheckRequest) -> Released {
        let mut gate = self.gate.borrow_mut();
        let call = host::ask(&gate.config().control_plane, question);
        match call {
            Some(call) => {
                gate.sent(question, call);
                Released::default()
            }
            None => {
                log::warn!("the host takes no call to the control plane's cluster: is it configured and healthy?");
                gate.not_sent(question)
            }
        }
    }

    /// Acts on every stream that was released, from the root's callback.
    fn finish(&self, mut released: Released) {
        loop {
            for (stream, release) in std::mem::take(&mut released.streams) {
                // The stream may be gone without having told us yet; then there is nobody to act for.
                if host::select(stream) {
                    act(&release);
                }
            }
            let Some(question) = released.question.take() else { break };
            host::select(self.root);
            released = self.send(&question);
        }
        self.count();
    }

    fn count(&self) {
        for metric in self.gate.borrow_mut().take_counted() {
            self.counters.count(metric);
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Some(plugin) = self.plugin.clone() else {
            return carry_out(unreadable());
        };
        let action = match plugin.arrive(self.id) {
            Step::Wait { edits, question } if host::edit(&edits) => match question {
                Some(question) => self.wait_for(&plugin, question),
                None => Action::Pause,
            },
            Step::Wait { .. } => {
                plugin.gate.borrow_mut().forget(self.id);
                carry_out(unreadable())
            }
            step => carry_out(step),
        };
        plugin.count();
        action
    }
}

impl Stream {
    /// Has the root send the question. If the host does not take it, this stream is settled at once.
    fn wait_for(&self, plugin: &Plugin, question: CheckRequest) -> Action {
        plugin.outbox.replace(Some(question));
        host::ring(plugin.root, self.id);
        let settled = plugin.returned.take().streams.into_iter().find(|(stream, _)| *stream == self.id);
        match settled {
            None => Action::Pause,
            Some((_, Release::Resume(permit))) => carry_out(Step::Admit(permit)),
            Some((_, Release::Refuse(refusal))) => carry_out(Step::Refuse(refusal)),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(plugin) = &self.plugin {
            plugin.gate.borrow_mut().forget(self.id);
        }
    }
}

/// Carries out a step for the stream whose callback runs.
fn carry_out(step: Step) -> Action {
    match step {
        Step::Admit(permit) if host::edit(&permit.edits) => {
            report(permit.reason);
            Action::Continue
        }
        Step::Refuse(refusal) => {
            host::refuse(&refusal);
            Action::Pause
        }
        Step::Admit(_) | Step::Wait { .. } => carry_out(unreadable()),
    }
}

/// Acts for a stream that has waited and is selected.
fn act(release: &Release) {
    match release {
        Release::Resume(permit) => {
            report(permit.reason);
            host::resume();
        }
        Release::Refuse(refusal) => {
            host::refuse(refusal);
        }
    }
}

fn report(reason: Reason) {
    if let Reason::ReportOnly(denial) = reason {
        log::info!("report_only: a request would have been refused: {}", denial.code());
    }
}

/// The refusal of a request that could not be read or changed: the host is not doing its part.
fn unreadable() -> Step {
    let denial = Denial::Unavailable;
    Step::Refuse(Refusal { denial, detail: denial.detail().to_owned(), grpc: false })
}
