//! The control planes: the barrier between polls, the database and other control planes.

use std::time::Duration;

use curfew_control_plane::leases::protocol::{Barrier, Grant, LeaseTimes, Reading, StaleRows};
use curfew_control_plane::log::{Beat, Commit, ControlPlaneId, ControlPlaneRow, LogPosition};
use curfew_core::wire::{FeedAnswer, FeedRequest};

use super::{Action, Sent, World};
use crate::mutant::Mutant;
use crate::scene::{Readings, Scene};
use crate::store::Snapshot;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Plane {
    pub(crate) barrier: Barrier,
    pub(super) reading: Option<(Duration, Snapshot)>,
    pub(super) last: Option<(Duration, Snapshot)>,
    pub(super) held: Vec<Held>,
    pub(super) beat: Option<Beat>,
    pub(super) logout: Logout,
    pub(super) logouts: usize,
    pub(super) restarts: usize,
    pub(super) last_rows: Vec<ControlPlaneRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) worker: usize,
    pub(super) call: u32,
    pub(super) request: FeedRequest,
    pub(super) arrived: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Logout {
    Idle,
    /// For mutants that act before the commit: the seq that they took, and the rows that they saw.
    Numbered {
        seq: u64,
        rows: Vec<ControlPlaneRow>,
    },
    Committed {
        head: LogPosition,
        began: Duration,
        rows: Vec<ControlPlaneRow>,
    },
    Waiting,
}

impl World {
    pub(super) fn plane_actions(&self, scene: &Scene, index: usize, actions: &mut Vec<Action>) {
        let Some(plane) = self.planes.get(index) else { return };
        let now = scene.plane_now(index, self.tick);
        match &plane.reading {
            _ if scene.readings == Readings::Fresh => {}
            Some(_) => actions.push(Action::ReadingEnds { plane: index }),
            // A second reading of the same content at the same time adds no new state.
            None if plane
                .last
                .as_ref()
                .is_none_or(|(began, shown)| *began < now || *shown != self.store.snapshot(plane.barrier.id()))
                && (scene.readings == Readings::Shared || !plane.held.is_empty()) =>
            {
                actions.push(Action::ReadingBegins { plane: index });
            }
            None => {}
        }
        if plane.last.is_some() || scene.readings == Readings::Fresh {
            actions.extend((0..plane.held.len()).map(|held| Action::PollIsAnswered { plane: index, index: held }));
        }
        match plane.beat {
            Some(_) => actions.push(Action::RowArrives { plane: index }),
            None if scene.slow_rows && plane.barrier.clone().beat(now).is_some() => {
                actions.push(Action::RowIsWritten { plane: index });
            }
            None => {}
        }
        match &plane.logout {
            Logout::Idle if scene.logout(index, plane.logouts).is_some() => {
                if scene.mutant.is_some_and(Mutant::acts_before_the_commit) {
                    actions.push(Action::LogoutIsNumbered { plane: index });
                } else {
                    actions.push(Action::LogoutIsCommitted { plane: index });
                }
            }
            Logout::Idle => {}
            Logout::Numbered { .. } => {
                actions.push(Action::LogoutIsCommitted { plane: index });
                if scene.is(Mutant::PublishBeforeCommit) {
                    actions.push(Action::LogoutFails { plane: index });
                }
            }
            Logout::Committed { .. } => actions.push(Action::CommitReturns { plane: index }),
            Logout::Waiting if scene.slow_rows && plane.barrier.wants_rows() => {
                actions.push(Action::RowsAreRead { plane: index })
            }
            Logout::Waiting => {}
        }
        if self.planes.len() > 1 {
            if plane.barrier.stale_rows(now) != StaleRows::default() {
                actions.push(Action::RowsAreCleaned { plane: index });
            }
            actions.extend((0..self.gossip.len()).map(|ack| Action::PlaneHearsAck { plane: index, index: ack }));
            let others = (0..self.planes.len()).filter(|from| *from != index && plane.barrier.wants_rows());
            actions.extend(others.map(|from| Action::PlaneHearsConfirmation { plane: index, from }));
        }
        if plane.restarts < scene.plane_restarts {
            actions.push(Action::PlaneStartsAgain { plane: index });
        }
    }

    pub(super) fn poll_arrives(&mut self, scene: &Scene, index: usize) -> Option<()> {
        if index >= self.polls.len() {
            return None;
        }
        let Sent { worker, call, plane: to, mut request } = self.polls.remove(index);
        if scene.is(Mutant::EpochIgnored) && request.epoch.is_some() {
            request.epoch = Some(self.store.head().epoch);
        }
        let mut heard = FeedRequest { epoch: request.epoch.map(|epoch| scene.seen_epoch(epoch)), ..request.clone() };
        heard.leaving |= scene.is(Mutant::LeftWithoutLeaving);
        let now = scene.plane_now(to, self.tick);
        let awaited = self.workers.get(worker)?.poll.as_ref().is_some_and(|poll| poll.call == call);
        let plane = self.plane_mut(to)?;
        let told = plane.barrier.polled(&heard);
        // The worker would not receive the answer, but the lease counts as granted.
        if !request.leaving && (awaited || scene.timeouts > 0) {
            plane.held.push(Held { worker, call, request, arrived: now });
        }
        if self.planes.len() > 1
            && let Some(ack) = told
            && !self.gossip.contains(&ack)
        {
            self.gossip.push(ack);
            self.gossip.sort_unstable_by_key(|ack| (*ack.worker.as_bytes(), ack.held.map(|head| head.seq)));
        }
        Some(())
    }

    pub(super) fn reading_begins(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let began = scene.plane_now(index, self.tick);
        let snapshot = self.shown_to(scene, index)?;
        self.plane_mut(index)?.reading = Some((began, snapshot));
        if scene.readings == Readings::Shared {
            self.reading_ends(scene, index)?;
        }
        Some(())
    }

    pub(super) fn shown_to(&self, scene: &Scene, index: usize) -> Option<Snapshot> {
        let asker = self.planes.get(index)?.barrier.id();
        let mut snapshot = self.store.snapshot(asker);
        if scene.is(Mutant::PublishBeforeCommit) {
            for (from, plane) in self.planes.iter().enumerate() {
                if let Logout::Numbered { seq, .. } = plane.logout {
                    snapshot.revoked.push((seq, scene.logout(from, plane.logouts)?));
                    snapshot.head.seq = snapshot.head.seq.max(seq);
                }
            }
        }
        Some(snapshot)
    }

    pub(super) fn reading_ends(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let now = scene.plane_now(index, self.tick);
        let torn = scene.is(Mutant::HeadAndRowsFromTwoSnapshots);
        let rows = self.shown_to(scene, index)?.revoked;
        let plane = self.plane_mut(index)?;
        let (began, mut snapshot) = plane.reading.take()?;
        if torn {
            // The head was read at the beginning of the reading, and the rows up to it at the end.
            snapshot.revoked = rows.into_iter().filter(|(seq, _)| *seq <= snapshot.head.seq).collect();
        }
        let reading = snapshot.reading(scene, began);
        if plane.barrier.reading_ended(&reading, now) || scene.is(Mutant::GrantedFromReadingUnderWay) {
            plane.last = Some((began, snapshot));
        }
        Some(())
    }

    pub(super) fn poll_is_answered(&mut self, scene: &Scene, index: usize, held: usize) -> Option<()> {
        let now = scene.plane_now(index, self.tick);
        if scene.readings == Readings::Fresh {
            self.reading_begins(scene, index)?;
            self.reading_ends(scene, index)?;
        }
        let plane = self.plane_mut(index)?;
        let (began, snapshot) =
            if scene.readings == Readings::Fresh { plane.last.take()? } else { plane.last.clone()? };
        let Held { worker, call, request, arrived } = plane.held.get(held)?.clone();
        let mut reading = snapshot.reading(scene, began);
        if scene.is(Mutant::GrantBeforeRow) {
            // This mutant acts as if the row existed as soon as its write begins.
            reading.own_beat = plane.beat.map(|beat| beat.beat).or(reading.own_beat);
        }
        let after = Barrier::page_after(&request, snapshot.head);
        let (tokens, to, mut more) = after.map_or((Vec::new(), 0, true), |from| snapshot.page(from, scene.page));
        let last = !more || (scene.is(Mutant::LeaseForUnfinishedPages) && after.is_some());
        more = more && !last;
        let seen = FeedRequest { epoch: request.epoch.map(|epoch| scene.seen_epoch(epoch)), ..request.clone() };
        // This mutant acts as if the poll had arrived when the reading began.
        let taken = if scene.is(Mutant::OldReadingTakenForNew) { arrived.min(began) } else { arrived };
        let grant = match after {
            None if scene.is(Mutant::SeqsOfTwoEpochsCompared) => Grant::PageOnly,
            _ => plane.barrier.answer(&seen, taken, &reading, last, now),
        };
        let lease_ms = u64::try_from(scene.terms.lease.as_millis()).ok()?;
        let (lease_ms, mut fresh_ms) = match grant {
            Grant::Lease { lease_ms, fresh_ms } => (lease_ms, fresh_ms),
            Grant::PageOnly => (0, 0),
            Grant::ReadAgain if scene.is(Mutant::GrantedFromReadingUnderWay) && after.is_some() => {
                (lease_ms, scene.terms.fresh_ms(arrived, began)?)
            }
            Grant::ReadAgain => return None,
        };
        if scene.is(Mutant::FreshNotShrunk) && began > arrived {
            fresh_ms = i64::try_from((began - arrived).as_millis()).ok()?;
        }
        if scene.is(Mutant::AckBeforeApply) && after.is_some() {
            let applied = FeedRequest { epoch: Some(reading.head.epoch), applied: to, ..request.clone() };
            plane.barrier.polled(&applied);
        }
        plane.held.remove(held);
        let answer = FeedAnswer {
            epoch: snapshot.head.epoch,
            from: after.unwrap_or(0),
            to,
            more,
            keys_seq: snapshot.keys_seq,
            revocations: tokens.into_iter().map(|token| scene.revocation(token)).collect(),
            lease_ms,
            fresh_ms,
        };
        if let Some(poll) = self.worker_mut(worker)?.poll.as_mut().filter(|poll| poll.call == call) {
            poll.answer = Some(answer);
        }
        Some(())
    }

    pub(super) fn row_is_written(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let now = scene.plane_now(index, self.tick);
        let plane = self.plane_mut(index)?;
        plane.beat = Some(plane.barrier.beat(now)?);
        if !scene.slow_rows {
            self.row_arrives(index)?;
        }
        Some(())
    }

    /// In scenes that are not about rows, each row is written as soon as it is due.
    pub(super) fn write_rows_in_time(&mut self, scene: &Scene, index: usize) {
        let due = self.planes.get(index).is_some_and(|plane| {
            plane.barrier.wake_at(scene.plane_now(index, self.tick)) <= scene.plane_now(index, self.tick)
        });
        if due {
            let _ = self.row_is_written(scene, index);
        }
    }

    pub(super) fn row_arrives(&mut self, index: usize) -> Option<()> {
        let plane = self.plane_mut(index)?;
        let (id, beat) = (plane.barrier.id(), plane.beat.take()?);
        self.store_mut().write_row(id, beat);
        Some(())
    }

    pub(super) fn next_seq(&self) -> u64 {
        let numbered = self.planes.iter().filter_map(|plane| match plane.logout {
            Logout::Numbered { seq, .. } => Some(seq + 1),
            _ => None,
        });
        numbered.max().unwrap_or(0).max(self.store.next_seq())
    }

    pub(super) fn logout_is_committed(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let began = scene.plane_now(index, self.tick);
        let next = self.store.next_seq();
        let plane = self.planes.get(index)?;
        let (seq, rows) = match &plane.logout {
            Logout::Numbered { rows, .. } if scene.is(Mutant::RowsReadBeforeCommit) => (next, rows.clone()),
            Logout::Numbered { seq, .. } => (*seq, Vec::new()),
            _ => (next, Vec::new()),
        };
        let token = scene.logout(index, plane.logouts)?;
        self.beside_a_dead_one = self.a_row_is_dead();
        let head = match scene.keys {
            true => self.store_mut().commit_removal(token, seq),
            false => self.store_mut().commit(token, seq),
        };
        let head = if scene.is(Mutant::DatabaseSequence) { LogPosition { seq, ..head } } else { head };
        self.plane_mut(index)?.logout = Logout::Committed { head, began, rows };
        if !scene.slow_commits {
            self.commit_returns(scene, index)?;
        }
        Some(())
    }

    pub(super) fn commit_returns(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let now = scene.plane_now(index, self.tick);
        let plane = self.plane_mut(index)?;
        let Logout::Committed { head, began, rows } = std::mem::replace(&mut plane.logout, Logout::Waiting) else {
            return None;
        };
        let head = scene.seen_head(head);
        plane.barrier.committed(&Commit { before: head, head, began, returned: now }, now);
        if scene.is(Mutant::RowsReadBeforeCommit) {
            plane.barrier.rows(head, &rows, now, now);
        } else if !scene.slow_rows {
            self.rows_are_read(scene, index);
        }
        Some(())
    }

    pub(super) fn rows_are_read(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let now = scene.plane_now(index, self.tick);
        let (head, rows) = (scene.seen_head(self.store.head()), self.store.rows());
        let plane = self.plane_mut(index)?;
        let shown: Vec<_> = match scene.mutant {
            Some(Mutant::OthersIgnored) => Vec::new(),
            Some(Mutant::SilentOnesIgnored) => {
                rows.iter().filter(|row| !plane.last_rows.contains(row)).copied().collect()
            }
            _ => rows.clone(),
        };
        let before = plane.clone();
        plane.barrier.rows(head, &shown, now, now);
        if scene.is(Mutant::SilentOnesIgnored) {
            plane.last_rows = rows;
        }
        (*plane != before).then_some(())
    }

    pub(super) fn rows_are_cleaned(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let now = scene.plane_now(index, self.tick);
        let stale = self.planes.get(index)?.barrier.stale_rows(now);
        let before = self.store.clone();
        for (id, beat) in stale.silent {
            match scene.is(Mutant::DeadOnesLeaveNoTrace) {
                true => self.store_mut().remove_row(id, beat),
                false => self.store_mut().replace_row(id, beat),
            }
        }
        stale.over.into_iter().for_each(|(id, beat)| self.store_mut().remove_row(id, beat));
        (self.store != before).then_some(())
    }

    pub(super) fn plane_hears(&mut self, scene: &Scene, index: usize, from: usize) -> Option<()> {
        let then = scene.plane_now(from, self.tick);
        let teller = self.plane_mut(from)?;
        let told = teller.barrier.confirm(then)?;
        let id = teller.barrier.id();
        let plane = self.plane_mut(index)?;
        let before = plane.barrier.clone();
        plane.barrier.heard_confirmation(id, told);
        (plane.barrier != before).then_some(())
    }

    pub(super) fn plane_starts_again(&mut self, scene: &Scene, index: usize) -> Option<()> {
        let id = ControlPlaneId::from_bytes([self.fresh_id(); 16]);
        let plane = self.plane_mut(index)?;
        // A logout that was under way gets no answer. Its caller does not learn whether it was committed.
        let given_up = usize::from(plane.logout != Logout::Idle);
        let (restarts, logouts) = (plane.restarts + 1, plane.logouts + given_up);
        *plane = Plane { restarts, logouts, ..Plane::new(id, scene) };
        Some(())
    }
}

impl Plane {
    pub(super) fn new(id: ControlPlaneId, scene: &Scene) -> Self {
        let drift_ppm = if scene.is(Mutant::DeadlineWithoutDrift) { 0 } else { scene.terms.drift_ppm };
        Self {
            barrier: Barrier::new(id, LeaseTimes { drift_ppm, ..scene.terms }),
            reading: None,
            last: None,
            held: Vec::new(),
            beat: None,
            logout: Logout::Idle,
            logouts: 0,
            restarts: 0,
            last_rows: Vec::new(),
        }
    }
}

impl Snapshot {
    fn reading(&self, scene: &Scene, began: Duration) -> Reading {
        Reading { began, head: scene.seen_head(self.head), own_beat: self.own_beat }
    }
}
