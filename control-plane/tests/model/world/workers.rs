//! The workers: the filter's strict mode in a host that makes its callouts.

use std::sync::Arc;
use std::time::Duration;

use curfew_core::wire::{CheckVerdict, FeedAnswer};
use curfew_core::{Epoch, LogPosition, WorkerId};
use curfew_filter::feed::{FeedSettings, Randomness};
use curfew_filter::knowledge::{Answer, Knowledge, Lookup, Strict};
use curfew_filter::now::Now;
use curfew_filter::proofs::Facts;

use super::{Action, Sent, World};
use crate::mutant::Mutant;
use crate::scene::{Scene, Token};
use crate::store::Keys;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) strict: Knowledge<Arc<Facts>, Strict>,
    pub(super) call: u32,
    pub(super) poll: Option<PollUnderWay>,
    /// Requests that wait, and whether each came after its token's logout was answered.
    pub(super) waiting: Vec<(u32, bool)>,
    pub(super) checks: Vec<(u32, Option<Answer>)>,
    pub(super) arrived: usize,
    pub(super) timeouts: usize,
    pub(super) restarts: usize,
    /// For the mutant that uses its first id again.
    pub(super) first_id: u8,
    pub(crate) admitted_by_answer: bool,
    /// The keys that it holds, and those that were read for it and are on their way.
    pub(crate) keys: Option<Keys>,
    keys_of: Option<LogPosition>,
    pub(super) keys_under_way: Option<(Epoch, Keys)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PollUnderWay {
    pub(super) call: u32,
    pub(super) answer: Option<FeedAnswer>,
}

impl World {
    pub(super) fn worker_actions(&self, scene: &Scene, index: usize, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.get(index) else { return };
        let now = scene.worker_now(index, self.tick);
        match &worker.poll {
            None if worker.strict.mode().feed().wake_at().is_some_and(|at| at <= now.monotonic) => {
                actions.extend((0..self.planes.len()).map(|plane| Action::WorkerPolls { worker: index, plane }));
            }
            None => {}
            Some(poll) => {
                if poll.answer.is_some() {
                    actions.push(Action::WorkerHears { worker: index });
                }
                if worker.timeouts < scene.timeouts {
                    actions.push(Action::WorkerGivesUp { worker: index });
                }
            }
        }
        if worker.restarts < scene.worker_restarts {
            actions.push(Action::WorkerStartsAgain { worker: index });
        }
        if worker.arrived < scene.requests {
            actions.push(Action::RequestArrives { worker: index });
        }
        for (call, answer) in &worker.checks {
            actions.push(match answer {
                None => Action::CheckIsRead { worker: index, call: *call },
                Some(_) => Action::CheckIsAnswered { worker: index, call: *call },
            });
        }
        if scene.keys {
            // Keys that are as new as those that it holds say nothing, unless a question waits for them.
            let (epoch, keys) = self.store.keys();
            let shown = LogPosition { epoch, seq: keys.seq };
            let are_news = worker.keys_of != Some(shown) || worker.strict.questions().wait_for_keys();
            match worker.keys_under_way {
                Some(_) => actions.push(Action::KeysArrive { worker: index }),
                None if are_news => actions.push(Action::KeysAreRead { worker: index }),
                None => {}
            }
        }
    }

    pub(super) fn worker_polls(&mut self, scene: &Scene, index: usize, plane: usize) -> Option<()> {
        let id = self.fresh_id();
        let now = scene.worker_now(index, self.tick);
        let worker = self.worker_mut(index)?;
        let id = if scene.is(Mutant::IdsUsedAgain) { worker.first_id } else { id };
        let poll = worker.strict.mode_mut().feed_mut().poll(now, randomness(id));
        let Some(poll) = poll else {
            self.ids -= 1;
            // The worker may have stopped polling for lack of requests.
            return Some(());
        };
        if poll.request.worker != WorkerId::from_bytes([id; 16]) || scene.is(Mutant::IdsUsedAgain) {
            self.ids -= 1;
        }
        let worker = self.worker_mut(index)?;
        worker.call += 1;
        worker.strict.mode_mut().feed_mut().sent(worker.call);
        let call = worker.call;
        worker.poll = Some(PollUnderWay { call, answer: None });
        self.polls.push(Sent { worker: index, call, plane, request: poll.request });
        Some(())
    }

    pub(super) fn worker_hears(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let now = scene.worker_now(index, self.tick);
        let worker = self.worker_mut(index)?;
        let poll = worker.poll.take()?;
        let mut answer = poll.answer?;
        let position = worker.strict.mode().feed().position();
        match scene.mutant {
            Some(Mutant::AnchorAtReply) => answer.fresh_ms = i64::MAX,
            Some(Mutant::EpochIgnored) => answer.epoch = position.map_or(answer.epoch, |position| position.epoch),
            _ => {}
        }
        worker.strict.mode_mut().feed_mut().answered(poll.call, Some(&answer), now, randomness(0));
        worker.hold_keys_of_any_time(scene);
        Some(())
    }

    pub(super) fn worker_gives_up(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let now = scene.worker_now(index, self.tick);
        let worker = self.worker_mut(index)?;
        let poll = worker.poll.take()?;
        worker.timeouts += 1;
        worker.strict.mode_mut().feed_mut().answered(poll.call, None, now, randomness(0));
        // The poll may still arrive, but its answer reaches no worker.
        Some(())
    }

    pub(super) fn worker_starts_again(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let now = scene.worker_now(index, self.tick);
        let worker = self.worker_mut(index)?;
        let (restarts, first_id, timeouts) = (worker.restarts + 1, worker.first_id, worker.timeouts);
        // The requests that waited in the worker were refused.
        *worker = Worker {
            restarts,
            first_id,
            timeouts,
            arrived: worker.arrived,
            call: worker.call,
            ..Worker::new(first_id, now)
        };
        Some(())
    }

    pub(super) fn request_arrives(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let now = scene.worker_now(index, self.tick);
        let late = self.answered.first()?.is_some();
        let worker = self.worker_mut(index)?;
        worker.arrived += 1;
        if !worker.proves(scene, 0) {
            return Some(());
        }
        let stream = u32::try_from(worker.arrived).ok()?;
        match worker.strict.look(&scene.facts(0), stream, now) {
            Lookup::Decided(_) => {}
            Lookup::Full => return None,
            Lookup::Joined => worker.waiting.push((stream, late)),
            Lookup::Ask(id) => {
                worker.waiting.push((stream, late));
                worker.call += 1;
                worker.strict.questions_mut().sent(id, worker.call);
                worker.checks.push((worker.call, None));
            }
        }
        Some(())
    }

    pub(super) fn check_is_read(&mut self, index: usize, call: u32) -> Option<()> {
        let LogPosition { epoch, seq } = self.store.head();
        let verdict = if self.store.is_revoked(0) { CheckVerdict::Revoked } else { CheckVerdict::Active };
        let (_, keys) = self.store.keys();
        let answer =
            Answer { verdict, read_at: Some(LogPosition { epoch, seq }), keys_seq: keys.seq, same_second: false };
        let check = self.worker_mut(index)?.checks.iter_mut().find(|(asked, _)| *asked == call)?;
        check.1 = Some(answer);
        Some(())
    }

    pub(super) fn check_is_answered(&mut self, scene: &Scene, index: usize, call: u32) -> Option<()> {
        let now = scene.worker_now(index, self.tick);
        let worker = self.worker_mut(index)?;
        let place = worker.checks.iter().position(|(asked, _)| *asked == call)?;
        let mut answer = worker.checks.remove(place).1?;
        if scene.is(Mutant::TieKeptFromOldAnswer) {
            answer.read_at = answer.read_at.map(|read_at| LogPosition { seq: u64::MAX, ..read_at });
        }
        if scene.is(Mutant::AnswerNewerThanKeys) {
            answer.keys_seq = 0;
        }
        let leased = worker.strict.mode().feed().may_decide(now);
        let mut settled = worker.strict.answered(call, Some(answer), now);
        if scene.is(Mutant::NoLookAfterAnswer) && leased {
            settled.verdict = Some(answer.verdict);
        }
        let mut served = settled.streams;
        if let Some((id, _)) = settled.ask_again {
            if scene.is(Mutant::AnswerServesLaterOnes) {
                let question = worker.strict.not_sent(id, now);
                served.extend(question.streams);
            } else {
                worker.call += 1;
                worker.strict.questions_mut().sent(id, worker.call);
                worker.checks.push((worker.call, None));
            }
        }
        let admitted = settled.verdict == Some(CheckVerdict::Active);
        self.release(scene, index, &served, admitted)
    }

    /// The requests that waited are decided about, by a verdict and by the key that proved their token.
    fn release(&mut self, scene: &Scene, index: usize, served: &[u32], active: bool) -> Option<()> {
        let worker = self.worker_mut(index)?;
        let admitted = active && worker.proves(scene, 0);
        let late = worker.waiting.iter().any(|(stream, late)| served.contains(stream) && *late);
        worker.waiting.retain(|(stream, _)| !served.contains(stream));
        worker.admitted_by_answer |= admitted && !served.is_empty();
        self.broken = self.broken || (admitted && late);
        Some(())
    }

    pub(super) fn keys_are_read(&mut self, index: usize) -> Option<()> {
        let read = self.store.keys();
        self.worker_mut(index)?.keys_under_way = Some(read);
        Some(())
    }

    /// The keys that were read reach the worker, maybe long after. Older ones than it holds are ignored; questions that
    /// waited for keys are asked again.
    pub(super) fn keys_arrive(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let now = scene.worker_now(index, self.tick);
        let worker = self.worker_mut(index)?;
        let (epoch, keys) = worker.keys_under_way.take()?;
        let read = LogPosition { epoch, seq: keys.seq };
        if worker.keys_of.is_none_or(|held| held == read || !held.covers(read)) {
            worker.strict.hold_keys(Some(read));
            (worker.keys, worker.keys_of) = (Some(keys), Some(read));
        }
        worker.hold_keys_of_any_time(scene);
        worker.strict.keys_came();
        while let Some(settled) = self.worker_mut(index)?.strict.go_on(now) {
            if let Some((id, _)) = settled.ask_again {
                let worker = self.worker_mut(index)?;
                worker.call += 1;
                worker.strict.questions_mut().sent(id, worker.call);
                worker.checks.push((worker.call, None));
            }
            self.release(scene, index, &settled.streams, settled.verdict == Some(CheckVerdict::Active))?;
        }
        Some(())
    }
}

impl Worker {
    /// True if the keys that it holds prove the token.
    pub(super) fn proves(&self, scene: &Scene, token: Token) -> bool {
        let held = |keys: &Keys| keys.prove(token) || scene.is(Mutant::ProofsOutliveTheirKey);
        !scene.keys || self.keys.as_ref().is_some_and(held)
    }

    /// For the mutant whose keys are always as new as the log that it has acknowledged.
    fn hold_keys_of_any_time(&mut self, scene: &Scene) {
        if scene.is(Mutant::KeysAfterAck) && self.keys.is_some() {
            let position = self.strict.mode().feed().position();
            self.strict.hold_keys(position.map(|position| LogPosition { seq: u64::MAX, ..position }));
        }
    }

    pub(super) fn new(first_id: u8, now: Now) -> Self {
        // Room for some forty revocations, so that little is copied between worlds.
        let settings =
            FeedSettings { keyspaces: Vec::new(), budget: 2048, timeout: Duration::from_secs(1000), seed: [1, 2] };
        let timeout = settings.timeout;
        let mut strict = Knowledge::new(Strict::new(settings), timeout);
        strict.mode_mut().feed_mut().requested(now);
        Self {
            strict,
            call: 0,
            poll: None,
            waiting: Vec::new(),
            checks: Vec::new(),
            arrived: 0,
            timeouts: 0,
            restarts: 0,
            first_id,
            admitted_by_answer: false,
            keys: None,
            keys_of: None,
            keys_under_way: None,
        }
    }
}

fn randomness(id: u8) -> Randomness {
    Randomness { worker: WorkerId::from_bytes([id; 16]), jitter: 0 }
}
