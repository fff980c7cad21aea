//! One world: what all of it shares, and its course from the beginning to the end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use curfew_control_plane::log::ControlPlaneId;
use curfew_core::Epoch;
use tokio::time::{Instant, sleep};

use crate::checks::Reached;
use crate::dice::Dice;
use crate::lines::Ear;
use crate::logouts::{Logout, Readings};
use crate::mutant::Mutant;
use crate::plane::Plane;
use crate::scene::{Scene, ms};
use crate::server::Server;
use crate::store::{Fate, Journey};
use crate::worker::Worker;

pub(crate) struct World {
    pub(crate) scene: Scene,
    began: Instant,
    inner: Mutex<Inner>,
    /// What has happened last, unless nobody will ask: a world cannot be played again exactly, because the runtime draws lots
    /// of its own.
    story: Option<Mutex<VecDeque<String>>>,
}

/// How much of the story is told.
const LINES: usize = 400;

/// What changes.
pub(crate) struct Inner {
    pub(crate) dice: Dice,
    /// The last one is the present one.
    pub(crate) servers: Vec<Server>,
    /// The epochs that each server has had.
    pub(crate) epochs: Vec<(Epoch, usize)>,
    /// For a mutant: what a server that lags shows.
    pub(crate) lagging: Option<(Duration, Server)>,
    pub(crate) planes: Vec<Plane>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) logouts: Vec<Logout>,
    pub(crate) readings: Vec<Readings>,
    pub(crate) ears: Vec<Ear>,
    pub(crate) lines_dead_until: Duration,
    /// Until when an old primary answers, and until when workers may know no better because of it.
    pub(crate) answered_by_old_until: Duration,
    pub(crate) forked_until: Duration,
    pub(crate) reached: Reached,
    pub(crate) violation: Option<String>,
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut dice = Dice::new(seed);
        let scene = Scene::draw(&mut dice, mutant);
        let servers = vec![Server::new(Epoch::from_bytes(dice.sixteen()))];
        let planes: Vec<_> = scene.planes.iter().copied().map(Plane::new).collect();
        let workers = scene.workers.iter().enumerate();
        let workers = workers.map(|(index, clocks)| Worker::new(*clocks, &mut dice, index % planes.len())).collect();
        let inner = Inner {
            dice,
            epochs: servers.iter().map(|server| (server.head.epoch, 0)).collect(),
            lagging: None,
            servers,
            planes,
            workers,
            logouts: Vec::new(),
            readings: Vec::new(),
            ears: Vec::new(),
            lines_dead_until: Duration::ZERO,
            answered_by_old_until: Duration::ZERO,
            forked_until: Duration::ZERO,
            reached: Reached::default(),
            violation: None,
        };
        Self { scene, began: Instant::now(), inner: Mutex::new(inner), story: mutant.is_none().then(Mutex::default) }
    }

    /// Plays the world of this seed: what was violated first, and what happened.
    pub(crate) async fn play(seed: u64, mutant: Option<Mutant>) -> (Option<String>, Reached) {
        let world = Arc::new(Self::new(seed, mutant));
        for plane in 0..world.scene.planes.len() {
            world.start_plane(plane);
            tokio::spawn(Arc::clone(&world).restart(plane));
        }
        (0..world.scene.workers.len()).for_each(|worker| {
            tokio::spawn(Arc::clone(&world).work(worker));
        });
        tokio::spawn(Arc::clone(&world).log_out_again_and_again());
        tokio::spawn(Arc::clone(&world).suffer());
        let end = mutant.map_or(world.scene.end, |mutant| world.scene.ends_for(mutant));
        while world.now() < end && world.with(|inner| inner.violation.is_none()) {
            sleep(ms(20)).await;
            if world.now() >= world.scene.calm {
                world.with(|inner| (0..inner.workers.len()).for_each(|worker| inner.has_lease(worker, world.now())));
            }
        }
        let (violation, reached) = world.with(|inner| {
            if world.now() >= world.scene.end {
                inner.all_have_ended(&world.scene);
            }
            // The processes hold the world, and the world holds them.
            inner.planes.iter_mut().for_each(|plane| plane.running = None);
            (inner.violation.take(), inner.reached)
        });
        (violation.map(|what| format!("{what}\n{:#?}\n{}", world.scene, world.told())), reached)
    }

    fn told(&self) -> String {
        let lines = |story: &Mutex<VecDeque<String>>| story.lock().unwrap().iter().cloned().collect::<Vec<_>>();
        self.story.as_ref().map(lines).unwrap_or_default().join("\n")
    }

    /// True time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Does something at once.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap())
    }

    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if let Some(story) = &self.story {
            let line = format!("{:>10.3} {}", self.now().as_secs_f64(), what());
            let mut story = story.lock().unwrap();
            if story.len() == LINES {
                story.pop_front();
            }
            story.push_back(line);
        }
    }
}

impl Inner {
    /// The present server.
    pub(crate) fn present(&self) -> &Server {
        self.servers.last().unwrap()
    }

    /// The server that a statement reaches; `None` if it reaches none.
    pub(crate) fn server_of(&mut self, plane: usize, now: Duration) -> Option<usize> {
        let present = self.servers.len() - 1;
        let plane = &self.planes[plane];
        let own = if now < self.answered_by_old_until { plane.server } else { present };
        let server = if plane.mixes && self.dice.per_mille(500) { present } else { own };
        (now >= plane.cut_until).then_some(server)
    }

    /// The server that a transaction reaches. The writer keeps its connection.
    pub(crate) fn writer_of(&self, plane: usize, now: Duration) -> Option<usize> {
        let plane = &self.planes[plane];
        let server = if now < self.answered_by_old_until { plane.server } else { self.servers.len() - 1 };
        (now >= plane.cut_until).then_some(server)
    }

    /// A control plane takes the history of this server over, if none has done so.
    pub(crate) fn take_over(&mut self, server: usize, scene: &Scene) {
        let epoch = Epoch::from_bytes(self.dice.sixteen());
        let nobody = self.nobody(scene);
        if !self.servers[server].is_named {
            self.servers[server].name(epoch, nobody);
            self.epochs.push((epoch, server));
        }
    }

    /// An id that belongs to no control plane.
    pub(crate) fn nobody(&mut self, scene: &Scene) -> Option<ControlPlaneId> {
        let id = ControlPlaneId::from_bytes(self.dice.sixteen());
        (!scene.is(Mutant::LostRowsForgotten)).then_some(id)
    }

    /// For a mutant: what the server showed a while ago.
    pub(crate) fn lag(&mut self, now: Duration) -> Server {
        let present = self.present().clone();
        match &self.lagging {
            Some((since, lagging)) if now < *since + ms(300) => lagging.clone(),
            _ => self.lagging.insert((now, present)).1.clone(),
        }
    }

    pub(crate) fn lines_are_dead(&self, now: Duration) -> bool {
        now < self.lines_dead_until
    }

    /// How long each copy of a message takes; there is none if it is lost.
    pub(crate) fn deliveries(&mut self, now: Duration, scene: &Scene) -> Vec<Duration> {
        let prompt = self.dice.between(scene.latency / 4, scene.latency * 7 / 4);
        if now >= scene.healed {
            return vec![prompt];
        }
        if self.dice.per_mille(scene.lost) {
            return Vec::new();
        }
        let late = self.dice.between(prompt, scene.longest);
        let mut times = vec![if self.dice.per_mille(scene.slow) { late } else { prompt }];
        if self.dice.per_mille(scene.lost) {
            times.push(self.dice.between(prompt, scene.longest));
        }
        times
    }

    /// How a statement fares.
    pub(crate) fn journey(&mut self, now: Duration, scene: &Scene) -> Journey {
        let (least, most) = (scene.statement / 4, scene.statement * 7 / 4);
        let (mut there, mut back) = (self.dice.between(least, most), self.dice.between(least, most));
        if now >= scene.healed {
            return Journey { there, back, fate: Fate::Done };
        }
        if self.dice.per_mille(scene.slow) {
            there += self.dice.between(ms(1), scene.longest);
        } else if self.dice.per_mille(scene.slow) {
            back += self.dice.between(ms(1), scene.longest);
        }
        let fate = match self.dice.per_mille(scene.failed) {
            true => self.dice.pick(Fate::NotDone, &[Fate::AnswerLost, Fate::Hangs]),
            false => Fate::Done,
        };
        Journey { there, back, fate }
    }
}
