//! The state of one run, and the effect of each event.
//!
//! Workers run the filter's own strict mode and control planes the barrier itself. This module and its submodules are
//! everything between and around them: the host's callouts, a network, a database, processes that stop, pause and
//! start, and clocks. One queue of events, in the order of true time, drives all of it.

mod changes;
mod faults;
mod held;
mod logouts;
mod lost;
mod planes;
mod readings;
mod requests;
mod statements;
mod walls;
mod workers;

use std::time::Duration;

use curfew_core::Epoch;

use crate::checks::Checks;
use crate::clocks::{Clocks, Moment};
use crate::database::Database;
use crate::dice::Dice;
use crate::events::{Event, Queue, Statement};
use crate::keys::{HandedOut, Stored, Truth};
use crate::mutant::Mutant;
use crate::network::{Route, Weather};
use crate::scene::{Scene, ms};
use logouts::Logout;
use planes::Plane;
use requests::Token;
use walls::Walls;
use workers::Worker;

pub(crate) struct World {
    scene: Scene,
    dice: Dice,
    now: Moment,
    /// The number of events so far. It orders events of the same moment.
    step: u64,
    queue: Queue,
    weather: Weather,
    database: Database,
    proxies: Vec<Proxy>,
    workers: Vec<Worker>,
    planes: Vec<Plane>,
    tokens: Vec<Token>,
    logouts: Vec<Logout>,
    keys: Truth,
    /// The changes of keys that a failover may lose, each with what was stored before it.
    changes: Vec<(usize, Stored)>,
    walls: Walls,
    pub(crate) checks: Checks,
    trace: bool,
}

struct Proxy {
    clocks: Clocks,
    frozen_until: Moment,
    runs: bool,
}

impl World {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let scene = Scene::draw(&mut dice, mutant, HandedOut::draw(seed));
        let epoch = Epoch::from_bytes(dice.sixteen());
        let stored = Stored::draw(scene.keys, &mut dice);
        let mut world = Self {
            weather: Weather::new(scene.network, scene.healed),
            database: Database::new(epoch, stored),
            now: Moment::ZERO,
            step: 0,
            queue: Queue::default(),
            proxies: Vec::new(),
            workers: Vec::new(),
            planes: Vec::new(),
            tokens: Vec::new(),
            logouts: Vec::new(),
            keys: Truth::default(),
            changes: Vec::new(),
            walls: Walls::default(),
            checks: Checks::default(),
            trace,
            dice,
            scene,
        };
        world.trace(|world| format!("{:#?}", world.scene));
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.walls.show(self.now);
        for (proxy, (clocks, workers)) in self.scene.proxies.clone().into_iter().enumerate() {
            self.proxies.push(Proxy { clocks, frozen_until: Moment::ZERO, runs: true });
            (0..workers).for_each(|_| self.add_worker(proxy));
        }
        for (plane, clocks) in self.scene.planes.clone().into_iter().enumerate() {
            let id = self.dice.sixteen();
            let wall = self.walls.of_a_start(&self.scene, &mut self.dice, &mut self.database);
            self.planes.push(Plane::new(&self.scene, clocks, wall, id, 0));
            self.queue.push(self.now, Event::PlaneTicks { plane, life: 0 });
        }
        self.begin_keys();
        (0..8).for_each(|_| self.log_in());
        for event in [Event::LogoutsGoOn, Event::FaultsGoOn, Event::Purge] {
            self.queue.push(ms(50), event);
        }
        self.queue.push(self.scene.end, Event::End);
    }

    fn trace(&self, what: impl FnOnce(&Self) -> String) {
        if self.trace {
            println!("{:>12.6} {}", self.now.as_secs_f64(), what(self));
        }
    }

    /// Runs to the end, or to the first violation.
    pub(crate) fn run(&mut self) {
        while self.checks.violation.is_none()
            && let Some((at, event)) = self.queue.pop()
        {
            self.now = at;
            self.walls.show(at);
            if let Some(thaws) = self.frozen_until(&event).filter(|thaws| at < *thaws) {
                // Events for a frozen process are handled afterwards, in their order.
                self.queue.push(thaws, event);
                continue;
            }
            self.step += 1;
            self.trace(|_| format!("{event:?}"));
            if matches!(event, Event::End) {
                self.all_logouts_have_returned();
                break;
            }
            self.happens(event);
        }
        self.checks.reached.events = self.step;
    }

    fn frozen_until(&self, event: &Event) -> Option<Moment> {
        match event {
            Event::Request { worker, .. } | Event::WorkerWakes { worker, .. } => self.worker_frozen_until(*worker),
            Event::PollEnds { call, .. } | Event::CheckEnds { call, .. } | Event::KeysEnd { call, .. } => {
                self.worker_frozen_until(call.worker)
            }
            Event::PollArrives { plane, .. }
            | Event::CheckArrives { plane, .. }
            | Event::KeysArrive { plane, .. }
            | Event::PlaneTicks { plane, .. }
            | Event::PlaneWakes { plane, .. }
            | Event::PeerMessage { plane, .. }
            | Event::LogoutArrives { plane, .. }
            | Event::Returned { plane, .. } => self.planes.get(*plane).map(|plane| plane.frozen_until),
            _ => None,
        }
    }

    fn worker_frozen_until(&self, worker: usize) -> Option<Moment> {
        let proxy = self.workers.get(worker)?.proxy;
        self.proxies.get(proxy).map(|proxy| proxy.frozen_until)
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::RequestsGoOn { worker } => self.requests_go_on(worker),
            Event::Request { worker, life, token, arrived } => self.request(worker, life, token, arrived),
            Event::WorkerWakes { worker, life } => self.worker_wakes(worker, life),
            Event::PollArrives { plane, call, request } => self.poll_arrives(plane, call, request),
            Event::PollEnds { call, answer } => self.poll_ends(call, answer),
            Event::CheckArrives { plane, call, facts } => self.check_arrives(plane, call, facts),
            Event::CheckEnds { call, answer } => self.check_ends(call, answer),
            Event::KeysArrive { plane, call, refresh } => self.keys_arrive(plane, call, refresh),
            Event::KeysEnd { call, answer } => self.keys_end(call, answer.as_deref()),
            Event::PlaneTicks { plane, life } => self.plane_ticks(plane, life),
            Event::PlaneWakes { plane, life } => self.plane_wakes(plane, life),
            Event::PeerMessage { plane, news } => self.told(plane, news),
            Event::LogoutsGoOn => self.logouts_go_on(),
            Event::KeysGoOn => self.keys_go_on(),
            Event::LogoutArrives { plane, logout } => self.logout_arrives(plane, logout),
            Event::Statement { plane, life, statement, answer_is_lost } => {
                self.carry_out(plane, life, statement, answer_is_lost);
            }
            Event::Returned { plane, life, returned } => self.returned(plane, life, returned),
            Event::Purge => self.purge(),
            Event::FaultsGoOn => self.faults_go_on(),
            Event::PlaneStarts { plane } => self.plane_starts(plane),
            Event::ProxyStarts { proxy } => self.proxy_starts(proxy),
            Event::End => {}
        }
    }

    /// True while faults may happen.
    fn is_stormy(&self) -> bool {
        self.now < self.scene.healed
    }

    /// True when the effects of the last fault are over.
    fn is_calm(&self) -> bool {
        self.now >= self.scene.calm
    }

    /// Sends a message, which may arrive once, twice or never.
    fn send(&mut self, route: Route, event: &Event) {
        for delay in self.weather.deliveries(route, self.now, &mut self.dice) {
            self.queue.push(self.now + delay, event.clone());
        }
    }

    /// A random time around this one.
    fn about(&mut self, length: Duration) -> Duration {
        self.dice.between(length / 4, length * 7 / 4)
    }

    fn ask_database(&mut self, plane: usize, life: u64, statement: Statement) {
        use crate::network::Fate;
        let rows_fail = self.scene.faults.rows_fail && self.is_stormy();
        if rows_fail && matches!(statement, Statement::WriteRow { .. }) && self.dice.per_mille(750) {
            return;
        }
        let at = self.now + self.weather.statement(self.now, &mut self.dice);
        let event = match self.weather.fate(plane, self.now, &mut self.dice) {
            Fate::NotDone => match statement.failed() {
                Some(returned) => Event::Returned { plane, life, returned },
                None => return,
            },
            fate => Event::Statement { plane, life, statement, answer_is_lost: fate == Fate::AnswerLost },
        };
        self.queue.push(at, event);
    }
}
