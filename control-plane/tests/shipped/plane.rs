//! The processes of control planes: they start, die, and close as the program `curfew` does.

use std::sync::Arc;
use std::time::Duration;

use curfew_control_plane::leases::{self, Counters, Leases, Settings, Surroundings};
use curfew_control_plane::log::ControlPlaneId;
use curfew_control_plane::secret::Secret;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::checks::Evidence;
use crate::clocks::Clocks;
use crate::lines::FakeLines;
use crate::mutant::Mutant;
use crate::store::FakeStore;
use crate::world::World;

/// One place for a control plane, and the process in it.
pub(crate) struct Plane {
    pub(crate) clocks: Clocks,
    pub(crate) life: u64,
    pub(crate) running: Option<Running>,
    /// The server that its connections lead to; the pool may mix them with connections to the present one.
    pub(crate) server: usize,
    pub(crate) mixes: bool,
    pub(crate) cut_until: Duration,
    /// The last beat that it began to write.
    pub(crate) beat: Option<u64>,
    evidence: Vec<Evidence>,
    /// When an answer of each server came back last.
    answers: Vec<(usize, Duration)>,
}

/// A process.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) life: u64,
    pub(crate) leases: Arc<Leases>,
    pub(crate) store: FakeStore,
    pub(crate) stop: CancellationToken,
    pub(crate) dead: CancellationToken,
    pub(crate) is_closing: bool,
    tasks: Vec<AbortHandle>,
}

impl Plane {
    pub(crate) fn new(clocks: Clocks) -> Self {
        Self {
            clocks,
            life: 0,
            running: None,
            server: 0,
            mixes: false,
            cut_until: Duration::ZERO,
            beat: None,
            evidence: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// What has shown this process another history.
    pub(crate) fn evidence(&self, life: u64) -> &[Evidence] {
        if self.life == life { &self.evidence } else { &[] }
    }

    /// The process was told of the history of `server`, by something that began after all it had of older ones: of two
    /// histories that were asked for at the same time it cannot know which is the newer one.
    pub(crate) fn is_told(&mut self, life: u64, server: usize, began: Duration, at: Duration) {
        let of_older = self.answers.iter().filter(|(older, _)| *older < server).map(|(_, at)| *at).max();
        if self.life == life && of_older.is_none_or(|older| older < began) {
            self.evidence.push(Evidence { server, began, at, is_read: true });
        }
    }

    /// The process was told that the database may not be believed.
    pub(crate) fn is_warned(&mut self, life: u64, server: usize, at: Duration) {
        if self.life == life {
            self.evidence.push(Evidence { server, began: at, at, is_read: false });
        }
    }

    pub(crate) fn has_answer_of(&mut self, server: usize, at: Duration) {
        match self.answers.iter_mut().find(|(known, _)| *known == server) {
            Some((_, last)) => *last = at,
            None => self.answers.push((server, at)),
        }
    }
}

impl World {
    pub(crate) fn start_plane(self: &Arc<Self>, index: usize) {
        let dead = CancellationToken::new();
        let (id, life, clocks) = self.with(|world| {
            let id = ControlPlaneId::from_bytes(world.dice.sixteen());
            let present = world.servers.len() - 1;
            let plane = &mut world.planes[index];
            let fresh = Plane { life: plane.life + 1, server: present, ..Plane::new(plane.clocks) };
            *plane = Plane { cut_until: plane.cut_until, ..fresh };
            (id, plane.life, plane.clocks)
        });
        let store = FakeStore::new(self, index, life, clocks, dead.clone());
        let surroundings = Surroundings { id, clock: store.clock(), store: Box::new(store.clone()) };
        let mut times = self.scene.times;
        if self.scene.is(Mutant::DriftIgnored) {
            times.drift_ppm = 0;
        }
        let settings = Settings { times, most_held: self.scene.most_held };
        let leases = Leases::within(surroundings, Counters::default(), &Secret::new("secret"), settings).unwrap();
        let (leases, stop) = (Arc::new(leases), CancellationToken::new());
        let tasks = self.spawn_tasks(index, life, &leases, &stop);
        let running = Running { life, leases, store, stop, dead, is_closing: false, tasks };
        self.trace(|| format!("control plane {index} starts"));
        self.with(|world| world.planes[index].running = Some(running));
    }

    fn spawn_tasks(
        self: &Arc<Self>,
        index: usize,
        life: u64,
        leases: &Arc<Leases>,
        stop: &CancellationToken,
    ) -> Vec<AbortHandle> {
        let (world, kept, stop) = (Arc::clone(self), Arc::clone(leases), stop.clone());
        let over = CancellationToken::new();
        let silent = over.clone();
        let keeper = tokio::spawn(async move {
            leases::run(&kept, stop).await;
            over.cancel();
            world.trace(|| format!("control plane {index} has closed"));
            world.plane_ends(index, life);
        });
        let mut tasks = vec![keeper.abort_handle()];
        if self.scene.lines {
            let (lines, kept) = (FakeLines { world: Arc::clone(self), plane: index }, Arc::clone(leases));
            let gossip = tokio::spawn(async move { leases::gossip_over(&kept, &lines, silent).await });
            tasks.push(gossip.abort_handle());
        }
        tasks
    }

    /// The process is gone, and all that waited for it.
    pub(crate) fn plane_ends(&self, index: usize, life: u64) {
        let running = self.with(|world| {
            let plane = &mut world.planes[index];
            plane.running.take_if(|running| running.life == life)
        });
        if let Some(running) = running {
            running.dead.cancel();
            running.tasks.iter().for_each(AbortHandle::abort);
        }
    }

    /// Tells the process to end, as the program does on a signal.
    pub(crate) fn close_plane(&self, index: usize) {
        let untold = self.scene.is(Mutant::CloseUntold);
        self.with(|world| {
            let Some(running) = &mut world.planes[index].running else { return };
            running.is_closing = true;
            world.reached.closes += 1;
            if !untold {
                running.leases.close();
                running.stop.cancel();
            }
        });
    }
}
