//! The control planes: the barrier between polls, the database and other control planes, called as the table in its
//! documentation says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use curfew_control_plane::clock::Clock;
use curfew_control_plane::leases::protocol::{Barrier, LeaseTimes, WaitId};
use curfew_control_plane::log::{ControlPlaneId, ControlPlaneRow, LogPosition};
use curfew_core::Epoch;
use curfew_core::wire::FeedRequest;
use curfew_filter::proofs::Facts;

use super::World;
use super::readings::{Held, Readings};
use crate::clocks::{Clocks, Moment};
use crate::events::{Call, Event, News, Statement};
use crate::mutant::Mutant;
use crate::network::Route;
use crate::scene::{Gossip, Scene, ms};

/// The interval at which a control plane looks for changes that no message announces.
const TICK: Duration = ms(40);

pub(super) struct Plane {
    pub(super) life: u64,
    pub(super) runs: bool,
    pub(super) clocks: Clocks,
    pub(super) wall: Clock,
    pub(super) frozen_until: Moment,
    pub(super) barrier: Barrier,
    pub(super) held: Vec<Held>,
    pub(super) readings: Readings,
    pub(super) waits: BTreeMap<WaitId, usize>,
    /// When the rows were last asked for, and when those were asked for that were taken last.
    rows_asked: Option<Duration>,
    rows_taken: Option<Duration>,
    /// When the last answer came back that showed each epoch.
    pub(super) histories: BTreeMap<Epoch, Duration>,
    /// The last confirmation that was sent to the others, and whether the row is behind it.
    told: Option<LogPosition>,
    row_is_behind: bool,
    wakes: Option<Moment>,
    /// For mutants.
    pub(super) last_rows: Vec<ControlPlaneRow>,
    pub(super) last_head: Option<LogPosition>,
    pub(super) newest_commit: Option<(Duration, LogPosition)>,
    pub(super) pending_beat: Option<u64>,
}

impl Plane {
    pub(super) fn new(scene: &Scene, clocks: Clocks, wall: Clock, id: [u8; 16], life: u64) -> Self {
        let drift_ppm = if scene.is(Mutant::DeadlineWithoutDrift) { 0 } else { scene.terms.drift_ppm };
        Self {
            life,
            runs: true,
            clocks,
            wall,
            frozen_until: Moment::ZERO,
            barrier: Barrier::new(ControlPlaneId::from_bytes(id), LeaseTimes { drift_ppm, ..scene.terms }),
            held: Vec::new(),
            readings: Readings::default(),
            waits: BTreeMap::new(),
            rows_asked: None,
            rows_taken: None,
            histories: BTreeMap::new(),
            told: None,
            row_is_behind: false,
            wakes: None,
            last_rows: Vec::new(),
            last_head: None,
            newest_commit: None,
            pending_beat: None,
        }
    }
}

impl Scene {
    /// The epoch as a control plane that ignores epochs sees it.
    pub(crate) fn seen_epoch(&self, epoch: Epoch) -> Epoch {
        if self.is(Mutant::SeqsOfTwoEpochsCompared) { Epoch::from_bytes([9; 16]) } else { epoch }
    }

    pub(crate) fn seen_head(&self, head: LogPosition) -> LogPosition {
        LogPosition { epoch: self.seen_epoch(head.epoch), ..head }
    }

    pub(crate) fn seen_request(&self, request: &FeedRequest) -> FeedRequest {
        FeedRequest { epoch: request.epoch.map(|epoch| self.seen_epoch(epoch)), ..request.clone() }
    }
}

impl World {
    /// The time on this control plane's clock.
    pub(super) fn plane_now(&self, index: usize) -> Option<Duration> {
        self.planes.get(index).map(|plane| plane.clocks.monotonic(self.now))
    }

    pub(super) fn plane(&mut self, index: usize, life: u64) -> Option<&mut Plane> {
        self.planes.get_mut(index).filter(|plane| plane.life == life && plane.runs)
    }

    pub(super) fn plane_ticks(&mut self, index: usize, life: u64) {
        let Some(now) = self.plane_now(index) else { return };
        if self.plane(index, life).is_none() {
            return;
        }
        self.queue.push(self.now + TICK, Event::PlaneTicks { plane: index, life });
        self.look_at_rows(index, now);
        self.look_at_log(index, now);
        self.write_row_if_due(index, now);
        self.after(index);
    }

    pub(super) fn plane_wakes(&mut self, index: usize, life: u64) {
        let Some(now) = self.plane_now(index) else { return };
        let at = self.now;
        let Some(plane) = self.plane(index, life).filter(|plane| plane.wakes.is_some_and(|wakes| wakes <= at)) else {
            return;
        };
        plane.wakes = None;
        self.write_row_if_due(index, now);
        self.after(index);
    }

    /// Reads the rows often while a logout waits for other control planes, because the rows may confirm it. Otherwise
    /// it is enough to see which rows do not change.
    fn look_at_rows(&mut self, index: usize, now: Duration) {
        let Some(plane) = self.planes.get(index) else { return };
        let seldom = self.scene.terms.lease / 2;
        let due = plane.rows_asked.is_none_or(|asked| now >= asked + seldom);
        if plane.barrier.wants_rows() || due {
            self.read_rows(index);
        }
    }

    pub(super) fn read_rows(&mut self, index: usize) {
        let Some(now) = self.plane_now(index) else { return };
        let Some(plane) = self.planes.get_mut(index) else { return };
        plane.rows_asked = Some(now);
        let life = plane.life;
        self.ask_database(index, life, Statement::Rows { began: now });
    }

    pub(super) fn rows_are_read(
        &mut self,
        index: usize,
        head: LogPosition,
        mut rows: Vec<ControlPlaneRow>,
        began: Duration,
    ) {
        let (Some(now), mutant) = (self.plane_now(index), self.scene.mutant) else { return };
        let Some(plane) = self.planes.get_mut(index) else { return };
        // A control plane reads the rows one time after the other, so none come that are older than those before.
        if plane.rows_taken.is_some_and(|taken| began < taken) {
            return;
        }
        plane.rows_taken = Some(began);
        let shown = rows.clone();
        match mutant {
            Some(Mutant::OthersIgnored | Mutant::RowsReadBeforeCommit) => rows.clear(),
            Some(Mutant::SilentOnesIgnored) => rows.retain(|row| !plane.last_rows.contains(row)),
            Some(Mutant::NobodyTellsTheOthers) => rows.iter_mut().for_each(|row| row.confirmed = None),
            _ => {}
        }
        rows.iter_mut().for_each(|row| row.confirmed = row.confirmed.map(|head| self.scene.seen_head(head)));
        let Some(plane) = self.planes.get_mut(index) else { return };
        let head = match mutant {
            Some(Mutant::RowsOfAnyEpoch) => plane.last_head.unwrap_or(head),
            _ => self.scene.seen_head(head),
        };
        plane.barrier.rows(head, &rows, began, now);
        plane.last_rows = shown;
        let (life, stale) = (plane.life, plane.barrier.stale_rows(began));
        for (id, beat) in stale.silent {
            let nobody = ControlPlaneId::from_bytes(self.dice.sixteen());
            let statement = match self.scene.is(Mutant::DeadOnesLeaveNoTrace) {
                true => Statement::RemoveRow { id, beat },
                false => Statement::ReplaceRow { id, beat, nobody },
            };
            self.ask_database(index, life, statement);
        }
        for (id, beat) in stale.over {
            self.ask_database(index, life, Statement::RemoveRow { id, beat });
        }
        self.after(index);
    }

    fn write_row_if_due(&mut self, index: usize, now: Duration) {
        let Some(plane) = self.planes.get_mut(index) else { return };
        let beat = match plane.barrier.beat(now) {
            None if plane.row_is_behind => plane.barrier.write(now),
            None => return,
            Some(beat) => beat,
        };
        plane.row_is_behind = false;
        plane.pending_beat = Some(beat.beat);
        let (id, life) = (plane.barrier.id(), plane.life);
        self.ask_database(index, life, Statement::WriteRow { id, beat });
    }

    pub(super) fn poll_arrives(&mut self, index: usize, call: Call, mut request: FeedRequest) {
        let Some(now) = self.plane_now(index) else { return };
        if !self.planes.get(index).is_some_and(|plane| plane.runs) {
            self.answer_worker(index, call, &Event::PollEnds { call, answer: None });
            return;
        }
        if self.scene.is(Mutant::EpochIgnored) && request.epoch.is_some() {
            request.epoch = Some(self.database.head.epoch);
        }
        let mut heard = self.scene.seen_request(&request);
        heard.leaving |= self.scene.is(Mutant::LeftWithoutLeaving);
        let Some(plane) = self.planes.get_mut(index) else { return };
        let told = plane.barrier.polled(&heard);
        let due = now + if request.leaving { Duration::ZERO } else { plane.barrier.hold(&request) };
        plane.held.push(Held { call, request, arrived: now, due, not_before: None });
        if let Some(ack) = told {
            self.tell_others(index, News::Ack(ack));
        }
        self.after(index);
    }

    /// Sends an answer back to the worker that asked.
    pub(super) fn answer_worker(&mut self, plane: usize, call: Call, event: &Event) {
        if let Some(proxy) = self.workers.get(call.worker).map(|worker| worker.proxy) {
            self.send(Route::Workers { proxy, plane }, event);
        }
    }

    pub(super) fn check_arrives(&mut self, index: usize, call: Call, facts: Arc<Facts>) {
        match self.planes.get(index) {
            Some(plane) if plane.runs => self.ask_database(index, plane.life, Statement::Check { call, facts }),
            _ => self.answer_worker(index, call, &Event::CheckEnds { call, answer: None }),
        }
    }

    pub(super) fn tell_others(&mut self, index: usize, news: News) {
        if self.scene.gossip == Gossip::None || self.scene.is(Mutant::NobodyTellsTheOthers) {
            return;
        }
        for plane in (0..self.planes.len()).filter(|plane| *plane != index) {
            self.send(Route::Others { plane: index }, &Event::PeerMessage { plane, news });
        }
    }

    pub(super) fn told(&mut self, index: usize, news: News) {
        let Some(plane) = self.planes.get_mut(index).filter(|plane| plane.runs) else { return };
        match news {
            News::Ack(ack) => plane.barrier.heard_ack(ack),
            News::Confirmed(id, head) => plane.barrier.heard_confirmation(id, head),
            News::Bell => plane.readings.wanted = true,
        }
        self.after(index);
    }

    /// The work of a control plane after any event.
    pub(super) fn after(&mut self, index: usize) {
        let Some(now) = self.plane_now(index) else { return };
        let Some(plane) = self.planes.get_mut(index).filter(|plane| plane.runs) else { return };
        let ended = plane.barrier.take_ended(now);
        let confirmed = plane.barrier.confirm(now);
        let grown = confirmed.filter(|head| plane.told != Some(*head));
        if let Some(head) = grown {
            plane.told = Some(head);
            plane.row_is_behind = self.scene.gossip == Gossip::None;
            let id = plane.barrier.id();
            self.checks.confirmed(id, head);
            self.tell_others(index, News::Confirmed(id, head));
        }
        for (wait, ended) in ended {
            self.logout_has_ended(index, wait, ended);
        }
        if self.scene.is(Mutant::TimeAloneConfirms) {
            self.end_by_time_alone(index, now);
        }
        self.serve(index, now);
        self.wake_plane_later(index, now);
    }

    fn wake_plane_later(&mut self, index: usize, now: Duration) {
        let Some(plane) = self.planes.get_mut(index) else { return };
        let due = plane.held.iter().map(|held| held.due).filter(|due| *due > now).min();
        let at = plane.barrier.wake_at(now);
        let at = plane.clocks.when(due.map_or(at, |due| due.min(at))).max(self.now);
        if plane.wakes.is_none_or(|wakes| at < wakes) {
            plane.wakes = Some(at);
            self.queue.push(at, Event::PlaneWakes { plane: index, life: plane.life });
        }
    }
}
