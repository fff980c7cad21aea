//! The keys that workers hold: the filter's own [`HeldKeys`], the calls that bring keys, and the requests that wait for
//! them. It does what the filter's gate does between the two.
//!
//! [`HeldKeys`]: curfew_filter::held_keys::HeldKeys

use curfew_core::LogPosition;
use curfew_core::wire::KeysAnswer;
use curfew_filter::feed::Polled;
use curfew_filter::held_keys::{FRESH, Kind, Turn, Waited};
use curfew_filter::ids::StreamId;
use curfew_filter::now::Now;
use curfew_filter::outage::Failure;

use super::World;
use super::requests::Token;
use super::workers::Worker;
use crate::events::{Call, Event};
use crate::keys::{issuer_key, place, rules};
use crate::mutant::Mutant;
use crate::network::Route;

impl World {
    /// True if the keys that a worker holds prove a token.
    pub(super) fn proven_by(&self, worker: &Worker, token: &Token) -> bool {
        let outlives = |key| self.scene.is(Mutant::ProofsOutliveTheirKey) && worker.has_proven.contains(&key);
        token.key.is_none_or(|key| worker.keys.sets().contains(issuer_key(key)) || outlives(key))
    }

    pub(super) fn proves(&mut self, index: usize, token: usize) -> bool {
        let Some((worker, token)) = self.workers.get(index).zip(self.tokens.get(token)) else { return false };
        let (proven, key) = (self.proven_by(worker, token), token.key);
        if proven && let Some(worker) = self.workers.get_mut(index) {
            worker.has_proven.extend(key);
        }
        proven
    }

    /// True if the removal of the key that proves this token was answered before this step.
    pub(super) fn is_gone(&self, token: &Token, step: u64) -> bool {
        token.key.and_then(|key| self.keys.gone(key)).is_some_and(|gone| gone <= step)
    }

    /// True if each worker should be able to prove this token, because its key has been there for a while.
    pub(super) fn has_settled(&self, token: &Token) -> bool {
        token.key.is_none_or(|key| self.keys.are_settled(self.now) && self.database.keys.has(key))
    }

    /// True if each worker must decide about this token without asking for anything.
    pub(super) fn must_decide_alone(&self, token: usize) -> bool {
        let calm = self.is_calm() && self.scene.has_room() && self.scene.page >= 1000;
        calm && self.tokens.get(token).is_some_and(|token| self.has_settled(token))
    }

    /// A request whose token no key proves that the worker holds.
    pub(super) fn unproven(&mut self, index: usize, stream: StreamId, waited: Waited, token: usize, now: Now) {
        let Some(key) = self.tokens.get(token).and_then(|token| token.key) else { return };
        let Some(worker) = self.workers.get_mut(index) else { return };
        let feed = worker.strict.mode().feed();
        let shown = feed.keys().filter(|_| feed.may_decide(now)).zip(worker.keys.position());
        let as_new =
            shown.is_some_and(|(shown, held)| held.covers(shown)) || worker.keys.are_fresh(FRESH, now.monotonic);
        let current = as_new && !worker.keys.are_behind();
        if !current {
            worker.strict.mode_mut().feed_mut().requested(now);
        }
        let turn = worker.keys.wait_for_key(place(key), current, stream, waited, now.monotonic);
        self.take_turn(index, stream, turn, token);
    }

    pub(super) fn take_turn(&mut self, index: usize, stream: StreamId, turn: Turn, token: usize) {
        let alone = self.must_decide_alone(token);
        self.checks.hold(!alone, || format!("worker {index} lacks keys, or knows of newer ones: {turn:?}"));
        if turn == Turn::Wait {
            self.checks.reached.keys_awaited += 1;
            return;
        }
        self.workers.get_mut(index).and_then(|worker| worker.streams.remove(&stream));
        match turn {
            Turn::Final => self.refused_for_key(index, token),
            _ => self.unavailable(index, token),
        }
    }

    /// A request is refused because no key of its issuer proves its token.
    pub(super) fn refused_for_key(&mut self, index: usize, token: usize) {
        self.checks.reached.keys_refused += 1;
        let Some(known) = self.tokens.get(token) else { return };
        let alone = self.is_calm() && self.has_settled(known);
        self.checks.hold(!alone, || format!("worker {index} refuses token {token}, whose key is there"));
        let missing = known.key.is_some_and(|key| self.keys.was_missing(key));
        self.checks.hold(missing, || format!("worker {index} refuses token {token}, whose key was always there"));
    }

    /// A page may have shown newer keys.
    pub(super) fn keys_of_log(&mut self, index: usize, polled: Polled, now: Now) {
        self.hold_keys_of_any_time(index);
        let Some(worker) = self.workers.get_mut(index) else { return };
        if !matches!(polled, Polled::Lease | Polled::Page | Polled::NoLease | Polled::Overflow) {
            return;
        }
        worker.keys.note_shown(worker.strict.mode().feed().keys());
        worker.keys.prefetch(now.monotonic);
    }

    /// For the mutant whose keys are always as new as the log that it has acknowledged.
    fn hold_keys_of_any_time(&mut self, index: usize) {
        let Some(worker) = self.workers.get_mut(index) else { return };
        if self.scene.is(Mutant::KeysAfterAck) && worker.keys.position().is_some() {
            let position = worker.strict.mode().feed().position();
            worker.strict.hold_keys(position.map(|position| LogPosition { seq: u64::MAX, ..position }));
        }
    }

    /// An answer may have shown newer keys: its question waits for them, or is refused.
    pub(super) fn call_for_questions(&mut self, index: usize, now: Now) {
        let Some(worker) = self.workers.get_mut(index) else { return };
        if worker.strict.questions().wait_for_keys() && !worker.keys.want_shown(now.monotonic) {
            self.refuse_questions(index);
        }
    }

    fn refuse_questions(&mut self, index: usize) {
        let Some(worker) = self.workers.get_mut(index) else { return };
        for settled in worker.strict.keys_failed() {
            self.decided(index, &settled.streams, settled.verdict);
        }
    }

    /// A call was not taken by the host, or its end was never reported.
    pub(super) fn key_call_failed(&mut self, index: usize, kind: Kind, now: Now) {
        let Some(worker) = self.workers.get_mut(index) else { return };
        worker.keys.gave_up(kind, now.monotonic);
        if kind == Kind::Plain {
            self.refuse_questions(index);
        }
    }

    pub(super) fn keys_end(&mut self, call: Call, answer: Option<&KeysAnswer>) {
        let (Some(now), rules) = (self.worker_now(call.worker), rules(self.scene.keys)) else { return };
        let Some(worker) = self.workers.get_mut(call.worker).filter(|worker| worker.life == call.life) else { return };
        let mut used = answer.cloned();
        if self.scene.is(Mutant::SetsOfOldCopy)
            && let Some((answer, held)) = used.as_mut().zip(worker.keys.position())
            && answer.epoch == held.epoch
            && answer.keys_seq < held.seq
        {
            answer.keys_seq = held.seq + 1;
        }
        let answer = used.as_ref().ok_or(Failure::NoResponse);
        let Some((kind, ended)) = worker.keys.answered(call.id, answer, &rules.policy, now.monotonic) else { return };
        worker.last_read = now;
        worker.strict.hold_keys(worker.keys.position());
        match kind {
            Kind::Plain if !ended.came => self.refuse_questions(call.worker),
            Kind::Refresh(_) if !ended.came || worker.keys.are_behind() => {}
            Kind::Plain | Kind::Refresh(_) => worker.strict.keys_came(),
        }
        self.hold_keys_of_any_time(call.worker);
        self.probe(call.worker);
        self.pump(call.worker);
    }

    /// Sends the calls for keys that are due, and goes on with what has waited for keys.
    pub(super) fn follow_keys(&mut self, index: usize) {
        let Some(now) = self.worker_now(index) else { return };
        loop {
            while let Some(call) = self.workers.get_mut(index).and_then(|worker| worker.keys.due(now.monotonic)) {
                self.send_key_call(index, &call, now);
            }
            let Some(worker) = self.workers.get_mut(index) else { return };
            let (settled, returning) = (worker.strict.go_on(now), worker.keys.take_returning(usize::MAX));
            if settled.is_none() && returning.is_empty() && !worker.keys.is_due() {
                return;
            }
            if let Some(settled) = settled {
                worker.last_request = self.now;
                if let Some((id, facts)) = settled.ask_again {
                    self.ask(index, id, facts);
                }
                self.decided(index, &settled.streams, settled.verdict);
            }
            for (stream, waited) in returning {
                self.return_from_waiting(index, stream, waited, now);
            }
        }
    }

    /// A request that has waited for keys is decided about as if it had just arrived, unless its token has expired.
    fn return_from_waiting(&mut self, index: usize, stream: StreamId, waited: Waited, now: Now) {
        let Some(worker) = self.workers.get_mut(index) else { return };
        worker.last_request = self.now;
        let token = worker.streams.get(&stream).and_then(|waiting| self.tokens.get(waiting.token));
        match token.is_some_and(|token| token.is_in_time(now.unix)) {
            true => self.arrive(index, stream, waited, now),
            false => {
                worker.streams.remove(&stream);
            }
        }
    }

    fn send_key_call(&mut self, index: usize, call: &curfew_filter::held_keys::KeyCall, now: Now) {
        let plane = self.dice.below(self.planes.len());
        if self.is_stormy() && self.dice.per_mille(5) {
            return self.key_call_failed(index, call.kind, now);
        }
        let Some(worker) = self.workers.get_mut(index) else { return };
        let sent = worker.call(index);
        worker.keys.sent(call.kind, sent.id);
        let proxy = worker.proxy;
        self.times_out(sent, call.timeout, Event::KeysEnd { call: sent, answer: None });
        let refresh = call.request.refresh.is_some();
        self.send(Route::Workers { proxy, plane }, &Event::KeysArrive { plane, call: sent, refresh });
    }
}
