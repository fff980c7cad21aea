//! The state of a model at one moment, the actions that are possible in it, and the state after each.
//!
//! Workers run the filter's own strict mode and control planes the barrier itself. This module is everything between
//! and around them: the host's callouts, a network that delays and loses, a database, processes that stop and start,
//! and clocks that run at different speeds. A process pauses by doing nothing while time passes.

mod planes;
mod workers;

use std::sync::Arc;

use curfew_control_plane::leases::protocol::{Ack, Safe};
use curfew_control_plane::log::ControlPlaneId;
use curfew_core::Coverage;
use curfew_core::wire::{CheckVerdict, FeedRequest};
use curfew_filter::knowledge::Lookup;

use crate::mutant::Mutant;
use crate::scene::{Scene, Token};
use crate::store::Store;
use planes::{Logout, Plane};
use workers::Worker;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) tick: u64,
    pub(crate) store: Arc<Store>,
    pub(crate) workers: Vec<Arc<Worker>>,
    pub(crate) planes: Vec<Arc<Plane>>,
    /// Polls under way, and acknowledgements that control planes send each other.
    polls: Vec<Sent>,
    gossip: Vec<Ack>,
    /// For each token, why its first answered logout was safe.
    pub(crate) answered: Vec<Option<Safe>>,
    /// True once a request would be admitted that arrived after its token's logout was answered.
    pub(crate) broken: bool,
    /// True once a logout was committed while the row of a control plane that had ended was still there.
    beside_a_dead_one: bool,
    restores: usize,
    ids: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Sent {
    worker: usize,
    call: u32,
    plane: usize,
    request: FeedRequest,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Tick,
    Restore,
    Purge(Token),
    WorkerPolls { worker: usize, plane: usize },
    WorkerHears { worker: usize },
    WorkerGivesUp { worker: usize },
    WorkerStartsAgain { worker: usize },
    RequestArrives { worker: usize },
    CheckIsRead { worker: usize, call: u32 },
    CheckIsAnswered { worker: usize, call: u32 },
    KeysAreRead { worker: usize },
    KeysArrive { worker: usize },
    PollArrives { index: usize },
    ReadingBegins { plane: usize },
    ReadingEnds { plane: usize },
    PollIsAnswered { plane: usize, index: usize },
    RowIsWritten { plane: usize },
    RowArrives { plane: usize },
    LogoutIsNumbered { plane: usize },
    LogoutFails { plane: usize },
    LogoutIsCommitted { plane: usize },
    CommitReturns { plane: usize },
    RowsAreRead { plane: usize },
    RowsAreCleaned { plane: usize },
    PlaneHearsAck { plane: usize, index: usize },
    PlaneHearsConfirmation { plane: usize, from: usize },
    PlaneStartsAgain { plane: usize },
}

impl World {
    pub(crate) fn new(scene: &Scene) -> Self {
        let mut world = Self {
            tick: 0,
            store: Arc::new(Store::new()),
            workers: Vec::new(),
            planes: Vec::new(),
            polls: Vec::new(),
            gossip: Vec::new(),
            answered: vec![None; usize::from(scene.tokens())],
            broken: false,
            beside_a_dead_one: false,
            restores: 0,
            ids: 0,
        };
        for worker in 0..scene.worker_rates.len() {
            let id = world.fresh_id();
            let mut worker = Worker::new(id, scene.worker_now(worker, 0));
            worker.first_id = id;
            world.workers.push(Arc::new(worker));
        }
        for _ in 0..scene.plane_rates.len() {
            let id = ControlPlaneId::from_bytes([world.fresh_id(); 16]);
            world.planes.push(Arc::new(Plane::new(id, scene)));
        }
        if !scene.slow_rows {
            (0..world.planes.len()).for_each(|plane| world.write_rows_in_time(scene, plane));
        }
        world
    }

    fn fresh_id(&mut self) -> u8 {
        self.ids += 1;
        self.ids
    }

    // Worlds share their parts until one of them changes a part.

    fn worker_mut(&mut self, index: usize) -> Option<&mut Worker> {
        self.workers.get_mut(index).map(Arc::make_mut)
    }

    fn plane_mut(&mut self, index: usize) -> Option<&mut Plane> {
        self.planes.get_mut(index).map(Arc::make_mut)
    }

    fn store_mut(&mut self) -> &mut Store {
        Arc::make_mut(&mut self.store)
    }

    /// All actions that are possible now.
    pub(crate) fn actions(&self, scene: &Scene, actions: &mut Vec<Action>) {
        if self.broken || self.is_over(scene) {
            return;
        }
        if self.tick < scene.horizon {
            actions.push(Action::Tick);
        }
        if self.restores < scene.restores {
            actions.push(Action::Restore);
        }
        if scene.expires.is_some() {
            actions.extend((0..scene.tokens()).filter(|token| self.may_purge(scene, *token)).map(Action::Purge));
        }
        for index in 0..self.workers.len() {
            self.worker_actions(scene, index, actions);
        }
        for index in 0..self.planes.len() {
            self.plane_actions(scene, index, actions);
        }
        actions.extend((0..self.polls.len()).map(|index| Action::PollArrives { index }));
    }

    /// True when all logouts are answered and all workers know of them. Then nothing can break the promise any more.
    fn is_over(&self, scene: &Scene) -> bool {
        let logouts = scene.logouts.iter().zip(&self.planes).all(|(logouts, plane)| plane.logouts >= logouts.len());
        let restarts = self.workers.iter().any(|worker| worker.restarts < scene.worker_restarts);
        logouts
            && !restarts
            && self.restores >= scene.restores
            && self.workers.iter().all(|worker| {
                let copy = worker.strict.mode().feed().copy();
                let knows = |token| match scene.keys {
                    true => worker.keys.as_ref().is_some_and(|keys| !keys.prove(token)),
                    false => copy.coverage(&scene.facts(token).check) == Some(Coverage::Revoked),
                };
                worker.waiting.is_empty() && (0..scene.bystander()).all(knows)
            })
    }

    fn may_purge(&self, scene: &Scene, token: Token) -> bool {
        // One tick more for the skew of wall clocks.
        let kept = if scene.is(Mutant::RetentionTooShort) { 0 } else { 1 };
        self.store.is_revoked(token) && scene.expires.is_some_and(|expires| self.tick >= expires + kept)
    }

    /// The world after an action; `None` if the action changes nothing.
    pub(crate) fn after(&self, scene: &Scene, action: Action) -> Option<Self> {
        let mut world = self.clone();
        world.carry_out(scene, action)?;
        world.answer_logouts(scene);
        world.broken = world.broken || world.would_break(scene);
        Some(world)
    }

    fn carry_out(&mut self, scene: &Scene, action: Action) -> Option<()> {
        match action {
            Action::Tick => self.pass(scene),
            Action::Restore => {
                self.restores += 1;
                self.store_mut().restore();
            }
            Action::Purge(token) => self.store_mut().purge(token),
            Action::WorkerPolls { worker, plane } => self.worker_polls(scene, worker, plane)?,
            Action::WorkerHears { worker } => self.worker_hears(scene, worker)?,
            Action::WorkerGivesUp { worker } => self.worker_gives_up(scene, worker)?,
            Action::WorkerStartsAgain { worker } => self.worker_starts_again(scene, worker)?,
            Action::RequestArrives { worker } => self.request_arrives(scene, worker)?,
            Action::CheckIsRead { worker, call } => self.check_is_read(worker, call)?,
            Action::KeysAreRead { worker } => self.keys_are_read(worker)?,
            Action::KeysArrive { worker } => self.keys_arrive(scene, worker)?,
            Action::CheckIsAnswered { worker, call } => self.check_is_answered(scene, worker, call)?,
            Action::PollArrives { index } => self.poll_arrives(scene, index)?,
            Action::ReadingBegins { plane } => self.reading_begins(scene, plane)?,
            Action::ReadingEnds { plane } => self.reading_ends(scene, plane)?,
            Action::PollIsAnswered { plane, index } => self.poll_is_answered(scene, plane, index)?,
            Action::RowIsWritten { plane } => self.row_is_written(scene, plane)?,
            Action::RowArrives { plane } => self.row_arrives(plane)?,
            Action::LogoutIsNumbered { plane } => {
                let (seq, rows) = (self.next_seq(), self.store.rows());
                self.plane_mut(plane)?.logout = Logout::Numbered { seq, rows };
            }
            Action::LogoutFails { plane } => {
                let plane = self.plane_mut(plane)?;
                plane.logout = Logout::Idle;
                plane.logouts += 1;
            }
            Action::LogoutIsCommitted { plane } => self.logout_is_committed(scene, plane)?,
            Action::CommitReturns { plane } => self.commit_returns(scene, plane)?,
            Action::RowsAreRead { plane } => self.rows_are_read(scene, plane)?,
            Action::RowsAreCleaned { plane } => self.rows_are_cleaned(scene, plane)?,
            Action::PlaneHearsAck { plane, index } => {
                let ack = *self.gossip.get(index)?;
                let plane = self.plane_mut(plane)?;
                let before = plane.barrier.clone();
                plane.barrier.heard_ack(ack);
                if plane.barrier == before {
                    return None;
                }
            }
            Action::PlaneHearsConfirmation { plane, from } => self.plane_hears(scene, plane, from)?,
            Action::PlaneStartsAgain { plane } => self.plane_starts_again(scene, plane)?,
        }
        Some(())
    }

    fn pass(&mut self, scene: &Scene) {
        self.tick += 1;
        for (index, worker) in self.workers.iter_mut().enumerate() {
            if scene.idle_at.is_none_or(|idle| self.tick < idle) {
                Arc::make_mut(worker).strict.mode_mut().feed_mut().requested(scene.worker_now(index, self.tick));
            }
        }
        if !scene.slow_rows {
            (0..self.planes.len()).for_each(|plane| self.write_rows_in_time(scene, plane));
            if self.planes.len() > 1 {
                for plane in 0..self.planes.len() {
                    let _ = self.rows_are_read(scene, plane);
                }
            }
        }
    }

    /// Answers all logouts that may be answered. A later answer would only be safer.
    fn answer_logouts(&mut self, scene: &Scene) {
        for (index, plane) in self.planes.iter_mut().enumerate() {
            if plane.logout != Logout::Waiting {
                continue;
            }
            let now = scene.plane_now(index, self.tick);
            let plane = Arc::make_mut(plane);
            for (_, ended) in plane.barrier.take_ended(now) {
                plane.logout = Logout::Idle;
                let token = scene.logout(index, plane.logouts);
                plane.logouts += 1;
                let answered = token.and_then(|token| self.answered.get_mut(usize::from(token)));
                // The caller of a superseded logout is told that the outcome is not known.
                if let (Some(answered), Ok(safe)) = (answered, ended) {
                    *answered = answered.or(Some(safe));
                }
            }
        }
    }

    /// True if a request at this moment would be admitted although its token's logout was answered.
    fn would_break(&self, scene: &Scene) -> bool {
        let tokens = (0..scene.tokens()).zip(&self.answered).filter(|(_, answered)| answered.is_some());
        tokens.into_iter().any(|(token, _)| (0..self.workers.len()).any(|worker| self.admits(scene, worker, token)))
    }

    /// True if a logout was answered by acknowledgements although a control plane that had ended could not confirm it.
    pub(crate) fn a_dead_one_was_ignored(&self) -> bool {
        self.beside_a_dead_one && self.answered.contains(&Some(Safe::Acknowledged))
    }

    fn a_row_is_dead(&self) -> bool {
        let running = |id| self.planes.iter().any(|plane| plane.barrier.id() == id);
        self.store.rows().iter().any(|row| !running(row.id))
    }

    /// True if a worker would admit a token now without asking.
    pub(crate) fn admits(&self, scene: &Scene, worker: usize, token: Token) -> bool {
        // The worker's wall clock is a tick behind.
        let in_time = scene.expires.is_none_or(|expires| self.tick < expires + 1);
        let now = scene.worker_now(worker, self.tick);
        let Some(worker) = self.workers.get(worker) else { return false };
        let found = worker.strict.clone().look(&scene.facts(token), u32::MAX, now);
        in_time && worker.proves(scene, token) && found == Lookup::Decided(CheckVerdict::Active)
    }
}
