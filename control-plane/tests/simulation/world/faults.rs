//! The faults: processes that stop, pause and start, routes that are cut, databases that are lost.

use curfew_control_plane::log::ControlPlaneId;
use curfew_core::Epoch;

use super::World;
use super::planes::Plane;
use crate::clocks::Moment;
use crate::events::Event;
use crate::mutant::Mutant;
use crate::network::Route;
use crate::scene::{draw_wall, ms};

#[derive(Debug, Clone, Copy)]
enum Fault {
    PlaneStops,
    PlaneFreezes,
    ProxyStops,
    WorkerStops,
    ProxyFreezes,
    Cut,
    Outage,
    Failover,
    CrashLosesLastCommit,
    WallStep,
    PlanePauses,
    ProxyPauses,
    ListenerUpdate,
    Idleness,
}

impl World {
    pub(super) fn faults_go_on(&mut self) {
        if !self.is_stormy() {
            return;
        }
        let pause = self.about(self.scene.faults.every);
        self.queue.push(self.now + pause, Event::FaultsGoOn);
        let faults = self.scene.faults;
        let kinds = [
            (faults.plane_restarts, Fault::PlaneStops),
            (faults.plane_freezes, Fault::PlaneFreezes),
            (faults.proxy_restarts, Fault::ProxyStops),
            (faults.proxy_restarts, Fault::WorkerStops),
            (faults.proxy_freezes, Fault::ProxyFreezes),
            (faults.cuts, Fault::Cut),
            (faults.outages, Fault::Outage),
            (faults.failovers, Fault::Failover),
            (faults.crashes, Fault::CrashLosesLastCommit),
            (faults.wall_steps, Fault::WallStep),
            (faults.plane_pauses, Fault::PlanePauses),
            (faults.proxy_pauses, Fault::ProxyPauses),
            (faults.listener_updates, Fault::ListenerUpdate),
            (faults.idleness, Fault::Idleness),
        ];
        let kinds: Vec<_> = kinds.into_iter().filter(|(is, _)| *is).map(|(_, fault)| fault).collect();
        if let Some(fault) = kinds.get(self.dice.below(kinds.len())) {
            self.trace(|_| format!("{fault:?}"));
            self.strike(*fault);
        }
    }

    fn strike(&mut self, fault: Fault) {
        let until = self.for_a_while();
        let plane = self.dice.below(self.planes.len());
        let proxy = self.dice.below(self.proxies.len());
        let worker = self.dice.below(self.workers.len());
        match fault {
            Fault::PlaneStops => self.plane_stops(plane, until),
            // A process does not run while its machine is paused.
            Fault::PlaneFreezes => self.planes.iter_mut().skip(plane).take(1).for_each(|plane| {
                plane.frozen_until = plane.clocks.resumed().max(until);
            }),
            Fault::ProxyStops => self.proxy_stops(proxy, until),
            Fault::WorkerStops => self.replace_worker(worker),
            Fault::ProxyFreezes => {
                self.proxies.iter_mut().skip(proxy).take(1).for_each(|proxy| {
                    proxy.frozen_until = proxy.clocks.resumed().max(until);
                });
            }
            Fault::Cut => self.cut(proxy, plane, until),
            Fault::Outage => {
                (0..self.planes.len()).for_each(|plane| self.weather.cut(Route::Database { plane }, until))
            }
            Fault::Failover => self.fail_over(),
            Fault::CrashLosesLastCommit => self.crash(),
            Fault::WallStep => {
                let wall = draw_wall(&mut self.dice);
                self.proxies.iter_mut().skip(proxy).take(1).for_each(|proxy| proxy.clocks.wall = wall);
            }
            Fault::PlanePauses => self.plane_pauses(plane, until),
            Fault::ProxyPauses => self.proxy_pauses(proxy, until),
            Fault::ListenerUpdate => self.update_listener(worker),
            Fault::Idleness => {
                let until = self.scene.healed;
                self.workers.iter_mut().skip(worker).take(1).for_each(|worker| worker.idle_until = until);
            }
        }
    }

    /// A hypervisor pauses the machine of a control plane: its clocks stand still, too.
    fn plane_pauses(&mut self, index: usize, until: Moment) {
        let now = self.now;
        let Some(plane) = self.planes.get_mut(index).filter(|plane| plane.frozen_until <= now) else { return };
        plane.frozen_until = until;
        plane.clocks.stop(now, until, Moment::ZERO);
        self.checks.reached.pauses += 1;
    }

    /// A hypervisor pauses the machine of a proxy. Its wall clock is set right only when its leases are over.
    fn proxy_pauses(&mut self, index: usize, until: Moment) {
        let (now, rest) = (self.now, self.scene.longest_lease());
        let Some(proxy) = self.proxies.get_mut(index).filter(|proxy| proxy.frozen_until <= now) else { return };
        proxy.frozen_until = until;
        proxy.clocks.stop(now, until, rest);
        self.checks.reached.pauses += 1;
    }

    fn for_a_while(&mut self) -> Moment {
        let length = self.dice.between(ms(5), self.scene.faults.longest);
        (self.now + length).min(self.scene.healed)
    }

    /// Cuts a proxy from one control plane or from all, or a control plane from the database or from the others.
    fn cut(&mut self, proxy: usize, plane: usize, until: Moment) {
        match self.dice.below(4) {
            0 => self.weather.cut(Route::Workers { proxy, plane }, until),
            1 => (0..self.planes.len()).for_each(|plane| self.weather.cut(Route::Workers { proxy, plane }, until)),
            2 => self.weather.cut(Route::Others { plane }, until),
            _ => self.weather.cut(Route::Database { plane }, until),
        }
    }

    fn fail_over(&mut self) {
        let epoch = Epoch::from_bytes(self.dice.sixteen());
        let nobody = ControlPlaneId::from_bytes(self.dice.sixteen());
        let nobody = (!self.scene.is(Mutant::LostRowsForgotten)).then_some(nobody);
        self.lose_logouts();
        self.lose_changes();
        self.database.fail_over(epoch, || self.dice.per_mille(500), nobody);
        self.checks.reached.failovers += 1;
    }

    /// The database crashes before its last commits are durable, although some have read them. It comes back at once
    /// with the log as it was before them, and gives their seqs to others. Each start of a server begins a new epoch.
    fn crash(&mut self) {
        let epoch = Epoch::from_bytes(self.dice.sixteen());
        let nobody = ControlPlaneId::from_bytes(self.dice.sixteen());
        if self.lose_last_commits() {
            self.checks.reached.crashes += 1;
        }
        if !self.scene.is(Mutant::EpochStaysOverCrash) {
            self.database.begin_epoch(epoch, nobody);
        }
    }

    /// Stops a control plane. The polls that it held are reset, and nothing that waited for it gets an answer.
    fn plane_stops(&mut self, index: usize, until: Moment) {
        let Some(plane) = self.planes.get_mut(index).filter(|plane| plane.runs) else { return };
        plane.runs = false;
        let held = std::mem::take(&mut plane.held);
        for held in held {
            self.answer_worker(index, held.call, &Event::PollEnds { call: held.call, answer: None });
        }
        self.queue.push(until, Event::PlaneStarts { plane: index });
    }

    pub(super) fn plane_starts(&mut self, index: usize) {
        let id = self.dice.sixteen();
        let wall = self.walls.of_a_start(&self.scene, &mut self.dice, &mut self.database);
        let Some(plane) = self.planes.get_mut(index) else { return };
        let life = plane.life + 1;
        let frozen_until = plane.clocks.resumed();
        *plane = Plane::new(&self.scene, plane.clocks, wall, id, life);
        plane.frozen_until = frozen_until;
        self.checks.reached.restarts += 1;
        self.queue.push(self.now, Event::PlaneTicks { plane: index, life });
    }

    fn proxy_stops(&mut self, index: usize, until: Moment) {
        let Some(proxy) = self.proxies.get_mut(index).filter(|proxy| proxy.runs) else { return };
        proxy.runs = false;
        self.queue.push(until, Event::ProxyStarts { proxy: index });
        let workers = self.workers.iter().enumerate().filter(|(_, worker)| worker.proxy == index);
        let workers: Vec<_> = workers.map(|(worker, _)| worker).collect();
        // Nothing reaches the new workers until the proxy runs again.
        workers.into_iter().for_each(|worker| self.replace_worker(worker));
    }

    pub(super) fn proxy_starts(&mut self, index: usize) {
        self.proxies.iter_mut().skip(index).take(1).for_each(|proxy| proxy.runs = true);
    }

    /// A new VM gets all requests from now on. The old one goes on without requests.
    fn update_listener(&mut self, index: usize) {
        if self.workers.len() >= 10 {
            return;
        }
        let Some(worker) = self.workers.get_mut(index).filter(|worker| worker.is_used) else { return };
        worker.is_used = false;
        let proxy = worker.proxy;
        self.add_worker(proxy);
    }
}
