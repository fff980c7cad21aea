//! A control plane's readings of the log, and the answers to polls from them. One reading serves many polls. Several
//! readings may be under way, and they end in any order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use curfew_control_plane::leases::protocol::{Barrier, Grant, Reading};
use curfew_control_plane::log::LogPosition;
use curfew_core::wire::{FeedAnswer, FeedRequest};

use super::World;
use super::planes::Plane;
use crate::database::Snapshot;
use crate::events::{Call, Event, Statement};
use crate::mutant::Mutant;
use crate::scene::{Scene, ms};

/// The most readings that may be under way at a time.
const AT_A_TIME: usize = 3;

/// The interval between readings of the log while polls are held, to find the commits of other control planes.
const WATCH: Duration = ms(60);

/// A poll that waits for its answer.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) call: Call,
    pub(super) request: FeedRequest,
    pub(super) arrived: Duration,
    /// When it is answered, with or without news.
    pub(super) due: Duration,
    /// Readings that began before this are too old for it; `None` as long as there is nothing to answer.
    pub(super) not_before: Option<Duration>,
}

#[derive(Default)]
pub(super) struct Readings {
    /// When each reading began.
    under_way: BTreeMap<u64, Duration>,
    flights: u64,
    last: Option<(Duration, Arc<Snapshot>)>,
    /// The newest head, and when the reading or the commit began that showed it.
    known: Option<(LogPosition, Duration)>,
    began_last: Duration,
    /// True if a control plane has committed something.
    pub(super) wanted: bool,
}

impl Readings {
    pub(super) fn learn(&mut self, head: LogPosition, began: Duration) {
        let newer = |(known, since): &(LogPosition, Duration)| {
            if known.epoch == head.epoch { known.seq < head.seq } else { *since < began }
        };
        if self.known.as_ref().is_none_or(newer) {
            self.known = Some((head, began));
        }
    }

    /// True if there is a revocation that this worker lacks.
    fn has_news(&self, request: &FeedRequest) -> bool {
        self.known.is_some_and(|(head, _)| request.epoch != Some(head.epoch) || head.seq > request.applied)
    }

    /// The last reading, if it is new enough for this poll.
    fn last_for(&self, not_before: Duration) -> Option<(Duration, Arc<Snapshot>)> {
        let (began, snapshot) = self.last.clone()?;
        let shows_news = self.known.is_none_or(|(head, since)| snapshot.head.covers(head) || began >= since);
        (began >= not_before && shows_news).then_some((began, snapshot))
    }
}

impl World {
    /// Reads the log from time to time, because other control planes commit too.
    pub(super) fn look_at_log(&mut self, index: usize, now: Duration) {
        let Some(plane) = self.planes.get(index) else { return };
        let due = now >= plane.readings.began_last + WATCH && !plane.held.is_empty();
        if due || plane.readings.wanted {
            self.begin_reading(index, now);
        }
    }

    fn begin_reading(&mut self, index: usize, now: Duration) {
        let Some(plane) = self.planes.get_mut(index) else { return };
        if plane.readings.under_way.len() >= AT_A_TIME {
            return;
        }
        let flight = plane.readings.flights;
        plane.readings.flights += 1;
        plane.readings.under_way.insert(flight, now);
        plane.readings.began_last = now;
        plane.readings.wanted = false;
        let life = plane.life;
        self.ask_database(index, life, Statement::Reading { began: now, flight });
    }

    pub(super) fn reading_failed(&mut self, index: usize, flight: u64) {
        if let Some(plane) = self.planes.get_mut(index) {
            plane.readings.under_way.remove(&flight);
        }
    }

    pub(super) fn reading_has_ended(&mut self, index: usize, flight: u64, began: Duration, snapshot: Snapshot) {
        let Some(now) = self.plane_now(index) else { return };
        let Some(plane) = self.planes.get_mut(index) else { return };
        plane.readings.under_way.remove(&flight);
        let reading = reading(&self.scene, &snapshot, began);
        let usable = plane.barrier.reading_ended(&reading, now);
        if usable {
            plane.readings.learn(snapshot.head, began);
        }
        let newer = plane.readings.last.as_ref().is_none_or(|(last, _)| *last < began);
        if (usable && newer) || self.scene.is(Mutant::GrantedFromReadingUnderWay) {
            plane.readings.last = Some((began, Arc::new(snapshot)));
        }
        self.after(index);
    }

    /// Answers the polls for which there is news, and those that have waited long enough.
    pub(super) fn serve(&mut self, index: usize, now: Duration) {
        let Some(plane) = self.planes.get_mut(index) else { return };
        let (held, shared_for) = (std::mem::take(&mut plane.held), self.scene.shared_for);
        let dates_old_readings = self.scene.grants_from_old_readings();
        let mut wanted = None;
        for mut held in held {
            let Some(plane) = self.planes.get_mut(index) else { return };
            if now < held.due && !plane.readings.has_news(&held.request) {
                plane.held.push(held);
                continue;
            }
            let recently = now.saturating_sub(shared_for);
            let recently = if dates_old_readings { recently } else { recently.max(held.arrived) };
            let not_before = *held.not_before.get_or_insert(recently);
            let reading = plane.readings.last_for(not_before);
            let tried = reading.is_some();
            let answer = reading.and_then(|(began, snapshot)| answer(&self.scene, plane, &held, began, &snapshot, now));
            match answer {
                Some(answer) => {
                    let event = Event::PollEnds { call: held.call, answer: Some(answer) };
                    self.answer_worker(index, held.call, &event);
                }
                None => {
                    held.not_before = if tried { Some(now) } else { held.not_before };
                    wanted = wanted.max(held.not_before);
                    plane.held.push(held);
                }
            }
        }
        let Some(plane) = self.planes.get(index) else { return };
        if wanted.is_some_and(|since| !plane.readings.under_way.values().any(|began| *began >= since)) {
            self.begin_reading(index, now);
        }
    }
}

fn reading(scene: &Scene, snapshot: &Snapshot, began: Duration) -> Reading {
    Reading { began, head: scene.seen_head(snapshot.head), own_beat: snapshot.own_beat }
}

/// The answer to a poll from a reading; `None` if the log has to be read again.
fn answer(
    scene: &Scene,
    plane: &mut Plane,
    held: &Held,
    began: Duration,
    snapshot: &Snapshot,
    now: Duration,
) -> Option<FeedAnswer> {
    let (request, arrived) = (&held.request, held.arrived);
    // These mutants act as if the poll had arrived when the reading began.
    let taken = if scene.grants_from_old_readings() { arrived.min(began) } else { arrived };
    let mut reading = reading(scene, snapshot, began);
    if scene.is(Mutant::GrantBeforeRow) {
        // This mutant acts as if the row existed as soon as its write begins.
        reading.own_beat = plane.pending_beat.or(reading.own_beat);
    }
    let after = Barrier::page_after(request, snapshot.head);
    let (revocations, to, mut more) = after.map_or((Vec::new(), 0, true), |from| snapshot.page(from, scene.page));
    let last = !more || (scene.is(Mutant::LeaseForUnfinishedPages) && after.is_some());
    more = more && !last;
    let grant = match after {
        None if scene.is(Mutant::SeqsOfTwoEpochsCompared) => Grant::PageOnly,
        _ => plane.barrier.answer(&scene.seen_request(request), taken, &reading, last, now),
    };
    // The barrier takes the history of the reading for the present one up to now.
    plane.histories.insert(snapshot.head.epoch, now);
    let (lease_ms, mut fresh_ms) = match grant {
        Grant::Lease { lease_ms, fresh_ms } => (lease_ms, fresh_ms),
        Grant::PageOnly => (0, 0),
        Grant::ReadAgain if scene.is(Mutant::GrantedFromReadingUnderWay) && after.is_some() => {
            let fresh_ms = scene.terms.fresh_ms(arrived, began)?;
            (u64::try_from(scene.terms.lease.as_millis()).ok()?, fresh_ms)
        }
        Grant::ReadAgain => return None,
    };
    if scene.is(Mutant::OldReadingDatedByOwnClock) && began < arrived && lease_ms > 0 {
        fresh_ms = -i64::try_from((arrived - began).as_millis() + 1).ok()?;
    }
    if scene.is(Mutant::FreshNotShrunk) && began > arrived {
        fresh_ms = i64::try_from((began - arrived).as_millis()).ok()?;
    }
    if scene.is(Mutant::AckBeforeApply) && after.is_some() {
        let applied = FeedRequest { epoch: Some(reading.head.epoch), applied: to, ..request.clone() };
        plane.barrier.polled(&applied);
    }
    Some(FeedAnswer {
        epoch: snapshot.head.epoch,
        from: after.unwrap_or(0),
        to,
        more,
        keys_seq: snapshot.keys_seq,
        revocations,
        lease_ms,
        fresh_ms,
    })
}
