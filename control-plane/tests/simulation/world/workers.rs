//! The workers: the filter's strict mode in a host that makes its callouts and ends each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use curfew_core::WorkerId;
use curfew_core::wire::FeedAnswer;
use curfew_filter::feed::{FeedSettings, IDLE_AFTER, Poll, Randomness};
use curfew_filter::held_keys::HeldKeys;
use curfew_filter::ids::{CallId, StreamId};
use curfew_filter::knowledge::{Knowledge, Strict};
use curfew_filter::now::Now;
use curfew_filter::proofs::Facts;

use super::World;
use crate::clocks::Moment;
use crate::dice::Dice;
use crate::events::{Call, Event};
use crate::keys::{Key, rules};
use crate::mutant::Mutant;
use crate::network::Route;
use crate::scene::{Scene, ms};

pub(super) struct Worker {
    pub(super) proxy: usize,
    pub(super) life: u64,
    /// True if new requests go to it; after an update of the listener they go to another worker.
    pub(super) is_used: bool,
    pub(super) idle_until: Moment,
    pub(super) last_request: Moment,
    /// The last reading of its clock.
    pub(super) last_read: Now,
    pub(super) strict: Knowledge<Arc<Facts>, Strict>,
    pub(super) keys: HeldKeys,
    /// For the mutant whose proofs outlive their keys.
    pub(super) has_proven: BTreeSet<Key>,
    pub(super) checks: BTreeSet<CallId>,
    pub(super) streams: BTreeMap<StreamId, Waiting>,
    pub(super) next_stream: StreamId,
    poll: Option<CallId>,
    next_call: CallId,
    wakes: Option<Moment>,
    /// For the mutant that uses its first id again.
    only_id: WorkerId,
}

/// A request that waits.
pub(super) struct Waiting {
    pub(super) token: usize,
    /// The step at which it came.
    pub(super) arrived: u64,
}

impl Worker {
    pub(super) fn new(scene: &Scene, dice: &mut Dice, proxy: usize, now: Now) -> Self {
        let seed = [dice.next(), dice.next()];
        let rules = rules(scene.keys);
        let settings = FeedSettings { keyspaces: Vec::new(), budget: scene.budget, timeout: scene.timeout, seed };
        Self {
            proxy,
            life: 0,
            is_used: true,
            idle_until: Moment::ZERO,
            last_request: Moment::ZERO,
            last_read: now,
            strict: Knowledge::new(Strict::new(settings), scene.timeout),
            keys: HeldKeys::new(rules.sets.clone(), &rules.policy, scene.timeout),
            has_proven: BTreeSet::new(),
            checks: BTreeSet::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
            poll: None,
            next_call: 0,
            wakes: None,
            only_id: dice.worker_id(),
        }
    }

    pub(super) fn call(&mut self, index: usize) -> Call {
        self.next_call += 1;
        Call { worker: index, life: self.life, id: self.next_call }
    }
}

impl World {
    pub(super) fn add_worker(&mut self, proxy: usize) {
        let Some(clocks) = self.proxies.get(proxy).map(|proxy| proxy.clocks) else { return };
        self.workers.push(Worker::new(&self.scene, &mut self.dice, proxy, clocks.now(self.now)));
        self.queue.push(self.now, Event::RequestsGoOn { worker: self.workers.len() - 1 });
    }

    /// Replaces a VM by a new one. The requests that waited in the old one are refused.
    pub(super) fn replace_worker(&mut self, index: usize) {
        let Some(now) = self.worker_now(index) else { return };
        let Some(proxy) = self.workers.get(index).map(|worker| worker.proxy) else { return };
        let fresh = Worker::new(&self.scene, &mut self.dice, proxy, now);
        let Some(worker) = self.workers.get_mut(index) else { return };
        let (life, only_id) = (worker.life + 1, worker.only_id);
        let (is_used, last_request) = (worker.is_used, self.now);
        *worker = Worker { life, only_id, is_used, last_request, ..fresh };
        self.checks.reached.restarts += 1;
    }

    pub(super) fn worker_now(&self, index: usize) -> Option<Now> {
        let worker = self.workers.get(index)?;
        self.proxies.get(worker.proxy).map(|proxy| proxy.clocks.now(self.now))
    }

    fn randomness(&mut self, index: usize) -> Randomness {
        let (worker, jitter) = (self.dice.worker_id(), u32::try_from(self.dice.next() >> 32).unwrap_or(0));
        let only = self.workers.get(index).map(|worker| worker.only_id);
        let worker = only.filter(|_| self.scene.is(Mutant::IdsUsedAgain)).unwrap_or(worker);
        Randomness { worker, jitter }
    }

    /// Sends the calls that are due, gives up those that are lost, and sets a timer for the others.
    pub(super) fn pump(&mut self, index: usize) {
        let (Some(now), randomness) = (self.worker_now(index), self.randomness(index)) else { return };
        let idle_stays = self.scene.is(Mutant::IdleOnesStay);
        let Some(worker) = self.workers.get_mut(index) else { return };
        if idle_stays {
            worker.strict.mode_mut().feed_mut().requested(now);
        }
        let poll = worker.strict.mode_mut().feed_mut().poll(now, randomness);
        let lost = worker.strict.give_up_lost(now);
        let lost_calls = worker.keys.lost(now.monotonic);
        if let Some(poll) = poll {
            self.send_poll(index, poll);
        }
        for settled in lost {
            self.decided(index, &settled.streams, settled.verdict);
        }
        for kind in lost_calls {
            self.key_call_failed(index, kind, now);
        }
        self.follow_keys(index);
        self.wake_later(index);
    }

    fn send_poll(&mut self, index: usize, poll: Poll) {
        self.checks.polled(&poll.request);
        let refused = self.is_stormy() && self.dice.per_mille(5);
        let (plane, now, randomness) =
            (self.dice.below(self.planes.len()), self.worker_now(index), self.randomness(index));
        let (Some(worker), Some(now)) = (self.workers.get_mut(index), now) else { return };
        // Half as long again, to allow for the drift of clocks. A worker does not notice that its machine is paused.
        let paused = self.proxies.get(worker.proxy).map_or(Duration::ZERO, |proxy| proxy.clocks.paused());
        let idle = self.now.saturating_sub(worker.last_request + paused);
        let stays = !poll.request.leaving && idle > IDLE_AFTER * 3 / 2 + ms(1000);
        self.checks.hold(!stays, || format!("worker {index} polls on, without requests for {idle:?}"));
        self.checks.reached.departures += u64::from(poll.request.leaving);
        if refused {
            worker.strict.mode_mut().feed_mut().not_sent(now, randomness);
            return;
        }
        let call = worker.call(index);
        worker.strict.mode_mut().feed_mut().sent(call.id);
        worker.poll = Some(call.id);
        let proxy = worker.proxy;
        self.times_out(call, poll.timeout, Event::PollEnds { call, answer: None });
        self.send(Route::Workers { proxy, plane }, &Event::PollArrives { plane, call, request: poll.request });
    }

    /// Makes the host end a callout that gets no answer. Sometimes the host forgets this.
    pub(super) fn times_out(&mut self, call: Call, timeout: Duration, event: Event) {
        let forgotten = self.scene.faults.forgotten_calls && self.is_stormy() && self.dice.per_mille(5);
        let Some(proxy) = self.workers.get(call.worker).and_then(|worker| self.proxies.get(worker.proxy)) else {
            return;
        };
        if !forgotten {
            let at = proxy.clocks.when(proxy.clocks.monotonic(self.now) + timeout);
            self.queue.push(at, event);
        }
    }

    fn wake_later(&mut self, index: usize) {
        let late = self.dice.between(Duration::ZERO, ms(4));
        let Some(worker) = self.workers.get_mut(index) else { return };
        let Some(proxy) = self.proxies.get(worker.proxy) else { return };
        let Some(at) = worker.strict.mode().feed().wake_at() else { return };
        let at = proxy.clocks.when(at).max(self.now) + late;
        if worker.wakes.is_none_or(|wakes| at < wakes) {
            worker.wakes = Some(at);
            self.queue.push(at, Event::WorkerWakes { worker: index, life: worker.life });
        }
    }

    pub(super) fn worker_wakes(&mut self, index: usize, life: u64) {
        let Some(worker) = self.workers.get_mut(index).filter(|worker| worker.life == life) else { return };
        if worker.wakes.is_none_or(|wakes| wakes > self.now) {
            return;
        }
        worker.wakes = None;
        self.pump(index);
    }

    pub(super) fn poll_ends(&mut self, call: Call, answer: Option<FeedAnswer>) {
        let (Some(now), randomness) = (self.worker_now(call.worker), self.randomness(call.worker)) else { return };
        let Some(worker) = self.workers.get_mut(call.worker).filter(|worker| worker.life == call.life) else { return };
        if worker.poll != Some(call.id) {
            return;
        }
        worker.poll = None;
        worker.last_read = now;
        let mut answer = answer;
        if let Some(answer) = &mut answer {
            let position = worker.strict.mode().feed().position();
            match self.scene.mutant {
                Some(Mutant::AnchorAtReply) => answer.fresh_ms = i64::MAX,
                Some(Mutant::EpochIgnored) => answer.epoch = position.map_or(answer.epoch, |position| position.epoch),
                _ => {}
            }
        }
        let overflowed = worker.strict.mode().feed().copy().overflowed();
        let polled = worker.strict.mode_mut().feed_mut().answered(call.id, answer.as_ref(), now, randomness);
        self.keys_of_log(call.worker, polled, now);
        let Some(worker) = self.workers.get(call.worker) else { return };
        let overflows = !overflowed && worker.strict.mode().feed().copy().overflowed();
        self.checks.reached.overflows += u64::from(overflows);
        self.probe(call.worker);
        self.pump(call.worker);
    }
}
