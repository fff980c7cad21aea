//! Logouts and changes of keys, from the call to the answer.

use std::time::Duration;

use curfew_control_plane::leases::protocol::{Safe, Superseded, WaitId};
use curfew_control_plane::log::{Commit, ControlPlaneRow};
use curfew_control_plane::store::others::HeldOthers;
use curfew_core::wire::{CheckVerdict, FeedRevocation};
use curfew_core::{Kind, LogPosition, RevocationKey};

use super::World;
use crate::clocks::{Moment, unix};
use crate::events::{Event, News, Statement};
use crate::keys::Change;
use crate::mutant::Mutant;
use crate::scene::{Gossip, SKEW_SECONDS, ms};

/// How long a revocation is kept after the last moment at which its token could be admitted, in seconds.
const MARGIN_SECONDS: i64 = 4;

/// How much is logged out with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Token,
    Session,
    Others,
    All,
}

impl Scope {
    /// True if a logout of this scope with the caller's token reaches the other one, if that was issued before.
    pub(super) fn reaches(self, caller: &super::Token, other: &super::Token) -> bool {
        let is_own = caller.facts.check.session == other.facts.check.session;
        match self {
            Self::Token => caller.facts.check.token == other.facts.check.token,
            Self::Session => is_own,
            Self::Others => caller.user == other.user && !is_own,
            Self::All => caller.user == other.user,
        }
    }
}

pub(super) struct Logout {
    pub(super) token: usize,
    pub(super) scope: Scope,
    /// A change of keys instead of a logout, and how often the key had come when it was committed.
    pub(super) change: Option<Change>,
    pub(super) came: u64,
    /// The tokens that no worker may admit once it is answered.
    pub(super) covers: Vec<usize>,
    pub(super) called: Moment,
    /// When and to which control plane the commit returned.
    pub(super) committed: Option<(Moment, usize, u64)>,
    pub(super) ended: bool,
    /// True if the history that replaced the commit's own lacks the logout.
    pub(super) lost: bool,
    /// True if the connection broke before the commit returned.
    pub(super) broken: bool,
    /// What was committed, and when the commit returned, by the control plane's clock.
    pub(super) position: Option<(LogPosition, Duration)>,
    /// What its control plane has been shown since the commit returned: the history of the commit, and another one that it
    /// must take for a later one.
    pub(super) shown: bool,
    pub(super) told: bool,
}

impl Logout {
    pub(super) fn new(token: usize, scope: Scope, change: Option<Change>, called: Moment) -> Self {
        Self {
            token,
            scope,
            change,
            came: 0,
            covers: Vec::new(),
            called,
            committed: None,
            ended: false,
            lost: false,
            broken: false,
            position: None,
            shown: false,
            told: false,
        }
    }
}

impl World {
    pub(super) fn logouts_go_on(&mut self) {
        let pause = if self.is_stormy() { self.about(self.scene.logout_every) } else { ms(150) };
        self.queue.push(self.now + pause, Event::LogoutsGoOn);
        if self.dice.per_mille(600) {
            self.log_in();
        }
        if let Some(token) = self.draw_victim() {
            let scope = self.draw_scope();
            let many = matches!(scope, Scope::All | Scope::Others);
            // After a logout everywhere, users often log in again in the same second.
            if many && self.dice.per_mille(500) {
                (0..3).for_each(|_| self.log_in());
            }
            self.log_out(token, scope);
            if many && self.dice.per_mille(500) {
                (0..3).for_each(|_| self.log_in());
            }
        }
    }

    fn draw_scope(&mut self) -> Scope {
        if self.dice.per_mille(self.scene.all_devices) {
            return Scope::All;
        }
        match self.dice.per_mille(self.scene.of_sessions) {
            false => Scope::Token,
            true if self.dice.per_mille(500) => Scope::Session,
            true => Scope::Others,
        }
    }

    /// Draws the newest tokens first, because questions about those are under way.
    fn draw_victim(&mut self) -> Option<usize> {
        let now = unix(self.now);
        let alive = |(_, token): &(usize, &super::Token)| !token.asked && !token.spared && token.is_in_time(now);
        let alive: Vec<_> = self.tokens.iter().enumerate().rev().filter(alive).map(|(index, _)| index).collect();
        let among = alive.len().min(6);
        alive.get(self.dice.below(among.max(1))).copied()
    }

    fn log_out(&mut self, token: usize, scope: Scope) {
        if let Some(token) = self.tokens.get_mut(token) {
            token.asked = scope != Scope::Others;
        }
        self.call(Logout::new(token, scope, None, self.now));
    }

    pub(super) fn call(&mut self, logout: Logout) {
        self.logouts.push(logout);
        let plane = self.dice.below(self.planes.len());
        self.queue.push(self.now, Event::LogoutArrives { plane, logout: self.logouts.len() - 1 });
    }

    pub(super) fn logout_arrives(&mut self, index: usize, logout: usize) {
        let Some(now) = self.plane_now(index) else { return };
        match self.planes.get(index).filter(|plane| plane.runs) {
            Some(plane) => self.ask_database(index, plane.life, Statement::Commit { logout, began: now }),
            None => self.logout_failed(logout),
        }
    }

    pub(super) fn logout_failed(&mut self, logout: usize) {
        let again = self.dice.per_mille(500);
        let Some(logout) = self.logouts.get_mut(logout) else { return };
        logout.ended = true;
        let (token, scope, change) = (logout.token, logout.scope, logout.change);
        match change {
            Some(change) if again => self.change_keys(change),
            None if again => self.log_out(token, scope),
            _ => {}
        }
    }

    /// The revocations that a logout commits, given the rows at that moment.
    pub(super) fn revocations(&self, plane: usize, logout: usize) -> Option<Vec<FeedRevocation>> {
        let moment = self.planes.get(plane)?.wall.moment();
        let logout = self.logouts.get(logout)?;
        if logout.scope != Scope::Token && moment.is_lost() {
            return None;
        }
        let token = self.tokens.get(logout.token)?;
        let kept = |expires_at: i64| expires_at + SKEW_SECONDS + MARGIN_SECONDS;
        let named = |token: &super::Token| FeedRevocation {
            kind: Kind::Token,
            key: token.facts.check.token,
            cutoff: unix(self.now),
            expires_at: kept(token.facts.times.expires_at),
        };
        // A backend logs out all devices of a user with no token.
        if logout.scope != Scope::All && self.database.verdict(&token.facts.check) != CheckVerdict::Active {
            return Some(Vec::new());
        }
        let alive = |other: &&super::Token| {
            let check = &other.facts.check;
            logout.scope.reaches(token, other)
                && self.database.is_registered(&check.token)
                && self.database.verdict(check) == CheckVerdict::Active
        };
        let known = || self.tokens.iter().filter(alive).map(named);
        let cutoff = moment.latest();
        let of_all = |kind, key, cutoff: i64| FeedRevocation {
            kind,
            key,
            cutoff,
            expires_at: kept(cutoff + self.scene.token_seconds),
        };
        Some(match logout.scope {
            Scope::Token => vec![named(token)],
            Scope::Session => {
                let session = token.facts.check.session.map(|session| of_all(Kind::Session, session, cutoff));
                std::iter::once(named(token)).chain(session).collect()
            }
            Scope::All => known().chain([of_all(Kind::Subject, token.user, cutoff)]).collect(),
            Scope::Others => {
                known().chain(self.others(token, cutoff).map(|(kind, key, at)| of_all(kind, key, at))).collect()
            }
        })
    }

    /// The entries of a logout of all other sessions than this token's: the kind, the key and the cutoff of each.
    fn others(&self, token: &super::Token, cutoff: i64) -> impl Iterator<Item = (Kind, RevocationKey, i64)> {
        let session = token.facts.check.session.unwrap_or(token.facts.check.token);
        let (subject, spared) = (token.user, RevocationKey::spared(&token.user, &session));
        let held = HeldOthers {
            others: self.database.cutoff(Kind::Others, &subject),
            spared: self.database.cutoff(Kind::Spared, &spared),
        };
        let change = held.followed_by(cutoff);
        let all = change.all.filter(|_| !self.scene.is(Mutant::EarlierOthersForgotten));
        let all = all.map(|at| (Kind::Subject, subject, at));
        let mut pair =
            [change.spared.map(|at| (Kind::Spared, spared, at)), Some((Kind::Others, subject, change.others))];
        if self.scene.is(Mutant::SparedAfterOthers) {
            pair.reverse();
        }
        all.into_iter().chain(pair.into_iter().flatten())
    }

    pub(super) fn commit_has_returned(
        &mut self,
        index: usize,
        logout: usize,
        began: Duration,
        head: LogPosition,
        rows: Option<Vec<ControlPlaneRow>>,
    ) {
        let (Some(now), seen) = (self.plane_now(index), self.scene.seen_head(head)) else { return };
        let Some(plane) = self.planes.get_mut(index) else { return };
        if plane.newest_commit.is_none_or(|(newest, _)| newest <= began) {
            plane.newest_commit = Some((began, seen));
        }
        let newest = plane.newest_commit.filter(|_| self.scene.is(Mutant::NewestCommitAwaited));
        let awaited = newest.map_or(seen, |(_, head)| head);
        let wait = plane.barrier.committed(&Commit { before: awaited, head: awaited, began, returned: now }, now);
        plane.waits.insert(wait, logout);
        plane.last_head = Some(seen);
        plane.readings.learn(head, began);
        if let Some(rows) = rows {
            plane.barrier.rows(seen, &rows, now, now);
        }
        let life = plane.life;
        if let Some(logout) = self.logouts.get_mut(logout) {
            logout.committed = Some((self.now, index, life));
            logout.position = Some((head, now));
        }
        if self.dice.per_mille(10)
            && let Some(plane) = self.planes.get_mut(index)
        {
            // The caller has gone away.
            plane.barrier.forget(wait);
            plane.waits.remove(&wait);
        }
        self.tell_others(index, News::Bell);
        self.read_rows(index);
        self.after(index);
    }

    pub(super) fn logout_has_ended(&mut self, index: usize, wait: WaitId, ended: Result<Safe, Superseded>) {
        let Some(logout) = self.planes.get_mut(index).and_then(|plane| plane.waits.remove(&wait)) else { return };
        if self.is_lost(index, logout, ended) {
            return;
        }
        match ended {
            Ok(safe) => self.logout_is_safe(logout, safe),
            Err(Superseded) => self.logout_failed(logout),
        }
    }

    fn logout_is_safe(&mut self, logout: usize, safe: Safe) {
        let number = logout;
        let Some(logout) = self.logouts.get_mut(logout) else { return };
        logout.ended = true;
        let waited = logout.committed.map_or(Duration::ZERO, |(at, ..)| self.now - at);
        let (covers, called) = (logout.covers.clone(), logout.called);
        if let Some(Change { key, adds: false }) = logout.change {
            self.keys.removal_answered(key, logout.came, self.step);
        }
        let change = logout.change;
        self.trace(|_| format!("logout {number} is answered: {safe:?}, {covers:?} {change:?}"));
        match safe {
            Safe::Acknowledged => self.checks.reached.acknowledged += 1,
            Safe::Outlasted => self.checks.reached.outlasted += 1,
        }
        for token in covers {
            if let Some(token) = self.tokens.get_mut(token) {
                token.answered.get_or_insert(self.step);
            }
        }
        // Without messages between control planes, a worker that polls another control plane than the one that granted
        // its lease acknowledges too late for the latter, and the logout waits for the lease to end.
        let (soon, by_time) = match self.scene.gossip {
            Gossip::None if self.planes.len() > 1 => (self.longest_wait(), true),
            // A worker that is many pages behind gets a lease only with the last of them.
            _ if self.scene.page < 1000 => (self.longest_wait(), true),
            _ => (self.scene.terms.lease / 2, false),
        };
        let slow = self.scene.has_room()
            && called >= self.scene.calm
            && (waited > soon || (safe == Safe::Outlasted && !by_time));
        self.checks.hold(!slow, || format!("a logout waited {waited:?} though nothing was wrong: {safe:?}"));
        (0..self.workers.len()).for_each(|worker| self.probe(worker));
    }

    /// The longest wait by true clocks, with the time that it takes to notice the end.
    fn longest_wait(&self) -> Duration {
        self.scene.terms.lease_over() * 5 / 4 + ms(100)
    }

    /// Checks at the end that no caller still waits after the longest wait.
    pub(super) fn all_logouts_have_returned(&mut self) {
        let most = self.longest_wait();
        for logout in self.logouts.iter().filter(|logout| !logout.ended) {
            let Some((at, plane, life)) = logout.committed else { continue };
            let Some(plane) = self.planes.get(plane).filter(|plane| plane.life == life) else { continue };
            let forgotten = !plane
                .waits
                .values()
                .any(|waiting| self.logouts.get(*waiting).is_some_and(|other| std::ptr::eq(other, logout)));
            let late = !forgotten && self.now > at + most;
            self.checks.hold(!late, || format!("a logout committed at {at:?} has not returned"));
        }
    }

    pub(super) fn purge(&mut self) {
        self.queue.push(self.now + ms(500), Event::Purge);
        let early = if self.scene.is(Mutant::RetentionTooShort) { SKEW_SECONDS + MARGIN_SECONDS } else { 0 };
        let plane = self.dice.below(self.planes.len());
        if let Some(plane) = self.planes.get(plane).filter(|plane| plane.runs) {
            let certain = plane.wall.moment().earliest();
            self.database.purge(|revocation| revocation.expires_at - early, certain);
        }
    }
}
