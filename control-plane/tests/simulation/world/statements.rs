//! Statements that arrive at the database, are carried out, and come back.

use std::sync::Arc;
use std::time::Duration;

use curfew_control_plane::log::{ControlPlaneId, ControlPlaneRow};
use curfew_core::wire::{CheckVerdict, FeedRevocation};
use curfew_filter::knowledge::Answer;

use super::World;
use crate::clocks::unix;
use crate::events::{Event, Half, Returned, Statement};
use crate::mutant::Mutant;

impl World {
    /// A statement arrives at the database and is carried out.
    pub(super) fn carry_out(&mut self, plane: usize, life: u64, statement: Statement, answer_is_lost: bool) {
        let failed = statement.failed();
        let done = match statement {
            Statement::Reading { began, flight } => self.read_log(plane, life, began, flight),
            Statement::Rows { began } => {
                let head = self.database.head;
                Some(Returned::Rows { began, head, rows: self.database.rows() })
            }
            Statement::WriteRow { id, beat } => {
                self.database.write_row(id, beat);
                None
            }
            Statement::RemoveRow { id, beat } => {
                self.database.remove_row(id, beat);
                None
            }
            Statement::ReplaceRow { id, beat, nobody } => {
                self.database.replace_row(id, beat, nobody);
                None
            }
            Statement::Check { call, facts } => {
                let read_at = Some(self.database.head);
                let (verdict, keys_seq) = (self.database.verdict(&facts.check), self.database.keys.seq);
                let answer = Answer { verdict, read_at, keys_seq, same_second: false };
                Some(Returned::Check { call, answer: Some(answer) })
            }
            Statement::Keys { call } => Some(Returned::Keys { call, answer: Some(Arc::new(self.read_keys())) }),
            Statement::Commit { logout, began } => self.commit(plane, life, logout, began),
            Statement::SecondHalf(half) => self.second_half(*half),
        };
        let returned = if answer_is_lost { done.and(failed) } else { done };
        if let Some(returned) = returned {
            let at = self.now + self.weather.statement(self.now, &mut self.dice);
            self.queue.push(at, Event::Returned { plane, life, returned });
        }
    }

    fn read_log(&mut self, plane: usize, life: u64, began: Duration, flight: u64) -> Option<Returned> {
        let id = self.planes.get(plane)?.barrier.id();
        let snapshot = self.database.snapshot(id);
        if self.scene.is(Mutant::HeadAndRowsFromTwoSnapshots) {
            self.later(plane, life, Half::Reading { began, flight, snapshot });
            return None;
        }
        Some(Returned::Reading { began, flight, snapshot })
    }

    fn later(&mut self, plane: usize, life: u64, half: Half) {
        let at = self.now + self.weather.statement(self.now, &mut self.dice);
        let statement = Statement::SecondHalf(Box::new(half));
        self.queue.push(at, Event::Statement { plane, life, statement, answer_is_lost: false });
    }

    fn commit(&mut self, plane: usize, life: u64, logout: usize, began: Duration) -> Option<Returned> {
        if let Some(change) = self.logouts.get(logout).and_then(|logout| logout.change) {
            return Some(self.change_committed(logout, began, change));
        }
        let Some(revocations) = self.revocations(plane, logout) else {
            return Some(Returned::CommitFailed { logout });
        };
        match self.scene.mutant {
            Some(mutant) if mutant.acts_before_the_commit() => {
                let first = self.database.take_numbers(revocations.len());
                let rows = self.database.rows();
                if self.scene.is(Mutant::PublishBeforeCommit) {
                    self.database.commit(&revocations, Some(first));
                }
                self.later(plane, life, Half::Commit { logout, began, first, rows, revocations });
                None
            }
            _ => Some(self.committed(logout, began, &revocations, None, None)),
        }
    }

    fn second_half(&mut self, half: Half) -> Option<Returned> {
        match half {
            Half::Reading { began, flight, mut snapshot } => {
                let now = self.database.snapshot(ControlPlaneId::from_bytes([0; 16]));
                snapshot.rows = now.rows.into_iter().filter(|(seq, _)| *seq <= snapshot.head.seq).collect();
                Some(Returned::Reading { began, flight, snapshot })
            }
            Half::Commit { logout, first, revocations, .. }
                if self.scene.is(Mutant::PublishBeforeCommit) && self.dice.per_mille(300) =>
            {
                self.database.roll_back(&revocations, first);
                Some(Returned::CommitFailed { logout })
            }
            Half::Commit { logout, began, first, rows, revocations } => {
                let first = (!self.scene.is(Mutant::RowsReadBeforeCommit)).then_some(first);
                let rows = self.scene.is(Mutant::RowsReadBeforeCommit).then_some(rows);
                Some(self.committed(logout, began, &revocations, first, rows))
            }
        }
    }

    /// Makes a logout durable, and records the tokens that are revoked from then on.
    fn committed(
        &mut self,
        logout: usize,
        began: Duration,
        revocations: &[FeedRevocation],
        first: Option<u64>,
        rows: Option<Vec<ControlPlaneRow>>,
    ) -> Returned {
        self.database.before_commit_of(logout);
        let mut head = self.database.commit(revocations, first);
        if let Some(first) = first {
            head.seq = first + (revocations.len() as u64).saturating_sub(1);
        }
        let now = unix(self.now);
        let dead = |token: &super::Token| {
            token.is_in_time(now) && self.database.verdict(&token.facts.check) == CheckVerdict::Revoked
        };
        let of = self.logouts.get(logout).map(|logout| (logout.scope, self.tokens.get(logout.token)));
        let of = of.and_then(|(scope, token)| Some((scope, token?))).filter(|_| !revocations.is_empty());
        let issued_before = |token: &&super::Token| token.facts.check.issued_at < Some(now) && token.is_in_time(now);
        let reached = |token: &super::Token| of.is_some_and(|(scope, caller)| scope.reaches(caller, token));
        let missed = self.tokens.iter().filter(issued_before).find(|token| reached(token) && !dead(token));
        let missed = missed.map(|token| token.facts.check.token);
        self.checks.hold(missed.is_none(), || format!("a logout misses {missed:?}"));
        let concerned = self.tokens.iter().enumerate().filter(|(_, token)| reached(token) && dead(token));
        let covers: Vec<_> = concerned.map(|(index, _)| index).collect();
        for token in covers.iter().filter_map(|token| self.tokens.get(*token)) {
            self.database.note_revoked(token.facts.check.token);
        }
        if let Some(logout) = self.logouts.get_mut(logout) {
            logout.covers = covers;
        }
        Returned::Committed { logout, began, head, rows }
    }

    /// A result comes back from the database.
    pub(super) fn returned(&mut self, index: usize, life: u64, returned: Returned) {
        if self.plane(index, life).is_none() {
            if let Returned::Committed { logout, .. } | Returned::CommitFailed { logout } = returned {
                self.logout_failed(logout);
            }
            return;
        }
        let is_broken = |logout: usize| self.logouts.get(logout).is_some_and(|logout| logout.broken);
        match &returned {
            // The connection broke, and the control plane has seen nothing.
            Returned::Committed { logout, .. } if is_broken(*logout) => return self.logout_failed(*logout),
            Returned::Reading { began, snapshot, .. } => self.shows(index, life, snapshot.head, *began),
            Returned::Rows { began, head, .. } | Returned::Committed { began, head, .. } => {
                self.shows(index, life, *head, *began);
            }
            _ => {}
        }
        match returned {
            Returned::Reading { began, flight, snapshot } => self.reading_has_ended(index, flight, began, snapshot),
            Returned::ReadingFailed { flight } => self.reading_failed(index, flight),
            Returned::Rows { began, head, rows } => self.rows_are_read(index, head, rows, began),
            Returned::RowsFailed => {}
            Returned::Check { call, answer } => self.answer_worker(index, call, &Event::CheckEnds { call, answer }),
            Returned::Keys { call, answer } => self.answer_with_keys(index, call, answer),
            Returned::Committed { logout, began, head, rows } => {
                self.commit_has_returned(index, logout, began, head, rows)
            }
            Returned::CommitFailed { logout } => self.logout_failed(logout),
        }
    }
}
