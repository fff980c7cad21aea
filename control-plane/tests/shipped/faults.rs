//! The faults: processes that die or close, databases that are cut off or replaced, lines that are dead.

use std::sync::Arc;
use std::time::Duration;

use curfew_core::Epoch;
use tokio::time::sleep;

use crate::scene::{Scene, ms};
use crate::world::{Inner, World};

#[derive(Debug, Clone, Copy)]
enum Fault {
    Death,
    WorkerDeath,
    Close,
    Outage,
    Cut,
    LinesDead,
    Bump,
    Failover,
    Fork,
}

impl World {
    pub(crate) async fn suffer(self: Arc<Self>) {
        while self.now() < self.scene.healed {
            let pause = self.with(|world| {
                let every = self.scene.faults_every;
                world.dice.between(every / 4, every * 7 / 4)
            });
            sleep(pause).await;
            if self.now() < self.scene.healed && !self.scene.is_quiet(self.now()) {
                self.strike();
            }
        }
    }

    fn strike(self: &Arc<Self>) {
        let scene = &self.scene;
        let kinds = [
            (scene.deaths, Fault::Death),
            (scene.deaths, Fault::WorkerDeath),
            (scene.closes, Fault::Close),
            (scene.outages, Fault::Outage),
            (scene.outages, Fault::Cut),
            (scene.lines, Fault::LinesDead),
            (scene.epochs, Fault::Bump),
            (scene.epochs, Fault::Failover),
            (scene.forks, Fault::Fork),
        ];
        let kinds: Vec<_> = kinds.into_iter().filter(|(is, _)| *is).map(|(_, fault)| fault).collect();
        let Some(fault) = kinds.get(self.with(|world| world.dice.below(kinds.len()))).copied() else { return };
        let (plane, until) = self.with(|world| {
            let until = self.now() + world.dice.between(ms(5), scene.longest.max(ms(600)));
            (world.dice.below(world.planes.len()), until.min(scene.healed))
        });
        self.trace(|| format!("{fault:?} at {plane} until {until:?}"));
        match fault {
            Fault::Death => {
                let life = self.with(|world| {
                    world.reached.deaths += 1;
                    world.planes[plane].life
                });
                self.plane_ends(plane, life);
            }
            Fault::Close => self.close_plane(plane),
            _ => self.with(|world| world.strike(fault, plane, until, self.now(), scene)),
        }
    }

    /// Starts processes again, and ends those that close for too long.
    pub(crate) async fn restart(self: Arc<Self>, plane: usize) {
        loop {
            let (running, life, pause) = self.with(|world| {
                let it = &world.planes[plane];
                (it.running.is_some(), it.life, world.dice.between(ms(10), ms(700)))
            });
            let closing = self.with(|world| world.planes[plane].running.as_ref().is_some_and(|it| it.is_closing));
            if closing {
                sleep(self.scene.times.silence()).await;
                self.plane_ends(plane, life);
            } else if running {
                sleep(ms(20)).await;
            } else {
                sleep(pause).await;
                self.start_plane(plane);
            }
        }
    }
}

impl Inner {
    fn strike(&mut self, fault: Fault, plane: usize, until: Duration, now: Duration, scene: &Scene) {
        match fault {
            Fault::WorkerDeath => {
                let index = self.dice.below(self.workers.len());
                self.workers[index].replace(&mut self.dice);
            }
            Fault::Outage => self.planes.iter_mut().for_each(|plane| plane.cut_until = until),
            Fault::Cut => self.planes[plane].cut_until = until,
            Fault::LinesDead => {
                self.lines_dead_until = until;
                self.ears.clear();
            }
            Fault::Bump => {
                let epoch = Epoch::from_bytes(self.dice.sixteen());
                let nobody = self.nobody(scene);
                let present = self.servers.len() - 1;
                if self.servers[present].is_named {
                    self.servers[present].name(epoch, nobody);
                    self.epochs.push((epoch, present));
                }
            }
            Fault::Failover => self.fail_over(),
            Fault::Fork => self.fork(until, now, scene),
            Fault::Death | Fault::Close => {}
        }
    }

    /// A standby takes over. It has every logout that was answered, but it may lack later ones, and rows.
    fn fail_over(&mut self) {
        let present = self.servers.len() - 1;
        let seq = |logout: &crate::logouts::Logout| logout.entry.filter(|_| logout.lost.is_none()).map(|(_, seq)| seq);
        let kept = self.logouts.iter().filter(|logout| logout.answered).filter_map(seq).max().unwrap_or(0);
        let most = usize::try_from(self.present().head.seq - kept).unwrap();
        let cut = kept + self.dice.below(most + 1) as u64;
        let dice = &mut self.dice;
        let copy = self.servers[present].copy(cut, || dice.per_mille(500));
        self.servers.push(copy);
        let mut lost = 0;
        for logout in self.logouts.iter_mut().filter(|logout| seq(logout).is_some_and(|seq| seq > cut)) {
            logout.lost = Some(present + 1);
            lost += u64::from(!logout.ended);
        }
        self.reached.lost_logouts += lost;
        self.reached.failovers += 1;
        self.planes.iter_mut().for_each(|plane| plane.server = present + 1);
    }

    /// The same, and the old primary goes on answering some control planes, or some connections of them.
    fn fork(&mut self, until: Duration, now: Duration, scene: &Scene) {
        if now < self.forked_until {
            return;
        }
        let old = self.servers.len() - 1;
        self.fail_over();
        self.reached.forks += 1;
        let until = (now + self.dice.between(ms(200), ms(1500))).min(until.max(scene.healed));
        self.answered_by_old_until = until;
        self.forked_until = until + scene.times.lease_over() * 3 / 2;
        for plane in &mut self.planes {
            if self.dice.per_mille(600) {
                plane.server = old;
                plane.mixes = self.dice.per_mille(500);
            }
        }
    }
}
