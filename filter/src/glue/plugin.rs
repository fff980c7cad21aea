//! A configuration that is served: hands events to its gate, and carries out what becomes of the streams that wait.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use curfew_core::wire::FeedAnswer;
use proxy_wasm::types::Action;

use super::carry_out::{carry_out, unreadable};
use crate::feed::{Poll, Randomness};
use crate::gate::{Decision, Gate, Question, Step};
use crate::header_map::pairs;
use crate::held_keys::Waited;
use crate::host::{self, Counters};
use crate::ids::StreamId;
use crate::knowledge::Answer;
use crate::outage::{Failure, Notice};
use crate::request::Request;

/// The feed is not woken more often than this. Nothing depends on the exact time of a wake.
const SHORTEST_WAKE: Duration = Duration::from_millis(10);

/// One configuration, served in this VM.
pub(super) struct Plugin {
    pub(super) root: u32,
    pub(super) start: Instant,
    pub(super) gate: RefCell<Gate>,
    pub(super) counters: Rc<Counters>,
    /// False once the host has turned out to have no `verify_signature`.
    host_helps: RefCell<bool>,
    /// The question that the root is to send.
    pub(super) outbox: RefCell<Option<Question>>,
    /// The streams that are held: no further part of them may go on.
    pub(super) held: RefCell<HashMap<StreamId, Held>>,
}

/// Why a stream is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// It waits for an answer.
    Waiting,
    /// It was refused. A stream is not refused twice.
    Refused,
}

impl Plugin {
    pub(super) fn new(root: u32, gate: Gate, counters: Rc<Counters>) -> Self {
        Self {
            root,
            start: Instant::now(),
            gate: RefCell::new(gate),
            counters,
            host_helps: RefCell::new(true),
            outbox: RefCell::default(),
            held: RefCell::default(),
        }
    }

    /// Asks the gate about the request of the selected stream.
    pub(super) fn arrive(&self, stream: StreamId) -> Step {
        self.arrive_again(stream, Waited::default())
    }

    /// The same about one that has waited for keys.
    pub(super) fn arrive_again(&self, stream: StreamId, waited: Waited) -> Step {
        let map = host::request_headers();
        let Some(headers) = map.as_deref().and_then(pairs) else {
            return unreadable();
        };
        let mut host_helps = self.host_helps.borrow_mut();
        let request = Request::new(&headers);
        #[cfg(feature = "trap")]
        crate::trap::arm(&request);
        self.gate.borrow_mut().arrive_again(stream, waited, &request, host::now(self.start), |check| {
            let (verified, by) = host::verify(check, &mut host_helps);
            self.counters.count(by);
            verified
        })
    }

    /// A question has ended, in the root's callback.
    pub(super) fn answered(&self, call: u32, answer: Result<Answer, Failure>) {
        let released = self.gate.borrow_mut().answered(call, answer, host::now(self.start));
        self.release(&released.streams);
        if let Some(question) = &released.question {
            self.send(question);
        }
        self.call_keys();
        self.poll();
        self.report();
    }

    /// A poll has ended, in the root's callback.
    pub(super) fn poll_answered(&self, call: u32, page: Result<FeedAnswer, Failure>) {
        // Without random bits the answer is dropped: the poll counts as lost, and is given up in time.
        if let Some(randomness) = host::randomness() {
            let page = page.as_ref().map_err(|failure| *failure);
            self.gate.borrow_mut().poll_answered(call, page, host::now(self.start), randomness);
        }
        self.call_keys();
        self.poll();
        self.report();
    }

    /// Sends the poll that is due, from the root's callback.
    pub(super) fn poll(&self) {
        let mut gate = self.gate.borrow_mut();
        let now = host::now(self.start);
        if gate.polls_at().is_none_or(|at| now.monotonic < at) {
            return;
        }
        let Some(randomness) = host::randomness() else { return };
        if let Some(poll) = gate.poll(now, randomness) {
            self.send_poll(&mut gate, &poll, randomness);
        }
    }

    fn send_poll(&self, gate: &mut Gate, poll: &Poll, randomness: Randomness) {
        match host::poll(&gate.config().control_plane, poll) {
            Some(call) => gate.poll_sent(call),
            None => gate.poll_not_sent(host::now(self.start), randomness),
        }
    }

    /// Gives up the lease and tells the control plane, because another plugin serves new streams.
    pub(super) fn retire(&self) {
        let mut gate = self.gate.borrow_mut();
        let poll = gate.retire(host::now(self.start));
        if let (Some(poll), Some(randomness)) = (poll, host::randomness()) {
            self.send_poll(&mut gate, &poll, randomness);
        }
    }

    /// True if a plugin that serves no new streams has something left to do.
    pub(super) fn is_needed(self: &Rc<Self>) -> bool {
        let gate = self.gate.borrow();
        Rc::strong_count(self) > 1 || gate.waiting() > 0 || gate.polls()
    }

    /// How soon this plugin needs a tick.
    pub(super) fn wakes_in(&self) -> Option<Duration> {
        let gate = self.gate.borrow();
        let now = host::now(self.start).monotonic;
        let feed = gate.polls_at().map(|at| at.saturating_sub(now).max(SHORTEST_WAKE));
        gate.gives_up_every().into_iter().chain(feed).min()
    }

    /// Sends a question, from the root's callback.
    pub(super) fn send(&self, question: &Question) {
        let mut gate = self.gate.borrow_mut();
        match host::ask(&gate.config().control_plane, &question.request) {
            Some(call) => gate.sent(question.id, call),
            None => gate.not_sent(question.id, host::now(self.start)),
        }
    }

    /// The step for a stream that was to wait and need not: its question is still in the outbox because the root did not
    /// send it, or the host did not take it, or the call for keys that it waits for.
    pub(super) fn settled(&self, stream: StreamId) -> Option<Step> {
        let mut gate = self.gate.borrow_mut();
        if let Some(unsent) = self.outbox.take() {
            gate.not_sent(unsent.id, host::now(self.start));
        }
        if let Some(decision) = gate.release_only(stream) {
            return Some(decision.into());
        }
        let waited = gate.take_returning(stream)?;
        drop(gate);
        Some(self.arrive_again(stream, waited))
    }

    /// Acts on streams that may go, from the root's callback.
    pub(super) fn release(&self, streams: &[(StreamId, Decision)]) {
        for (stream, decision) in streams {
            // A stream may be gone before its end was reported. Then the host refuses to select it.
            if host::select(*stream) {
                self.act(*stream, decision);
            }
        }
        host::select(self.root);
    }

    /// Acts for a stream that has waited and is selected.
    pub(super) fn act(&self, stream: StreamId, decision: &Decision) {
        match decision {
            Ok(permit) => {
                host::mark(permit.mark);
                // Removed before the host goes on with the request, because the body may come at once.
                self.no_longer_held(stream);
                host::resume()
            }
            Err(refusal) => {
                self.held.borrow_mut().insert(stream, Held::Refused);
                host::refuse(refusal)
            }
        };
    }

    /// The stream is not held, or is gone. Mostly none is held; then the stream's number need not be hashed.
    pub(super) fn no_longer_held(&self, stream: StreamId) {
        let mut held = self.held.borrow_mut();
        if !held.is_empty() {
            held.remove(&stream);
        }
    }

    /// What a later part of the stream may do: its body, or its trailers.
    pub(super) fn follows(&self, stream: StreamId) -> Action {
        if self.held.borrow().contains_key(&stream) { Action::Pause } else { Action::Continue }
    }

    /// Refuses a stream whose trailers could not be read.
    pub(super) fn cut(&self, stream: StreamId) -> Action {
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

    /// Counts and logs what has happened, and reports the counters to the host.
    pub(super) fn report(&self) {
        self.note();
        self.counters.report();
    }

    pub(super) fn note(&self) {
        let mut gate = self.gate.borrow_mut();
        gate.take_counted().for_each(|metric| self.counters.count(metric));
        gate.take_gauges().into_iter().for_each(|gauges| self.counters.show(gauges));
        gate.take_keys_gauge().into_iter().for_each(|seq| self.counters.show_keys(seq));
        gate.take_notices().into_iter().for_each(log_notice);
    }
}

fn log_notice(notice: Notice) {
    match notice {
        Notice::Began(wanted, failure) => log::warn!("the control plane gives no {wanted}: {failure}"),
        Notice::Ended { wanted, failed } => {
            log::info!("the control plane gives {wanted} again; {failed} calls had failed");
        }
        Notice::WithoutUser => {
            log::warn!(
                "tokens name no user: they lack the user_claim, and a logout of all devices does not reach them"
            );
        }
        Notice::Overflow => {
            log::warn!("the revocations do not fit in replica_bytes: the control plane is asked about each token");
        }
    }
}
