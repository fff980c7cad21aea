//! Logouts, from the call to the answer, and the ways in which clients learn how theirs ended.

use std::sync::Arc;
use std::time::Duration;

use curfew_control_plane::leases::Pending;
use curfew_control_plane::log::LogPosition;
use curfew_core::wire::CheckRequest;
use curfew_core::{Keyspace, RevocationKey};
use tokio::time::sleep;

use crate::mutant::Mutant;
use crate::plane::Running;
use crate::scene::{Scene, ms};
use crate::world::{Inner, World};

pub(crate) struct Logout {
    key: RevocationKey,
    pub(crate) called: Duration,
    /// The server that carried it out, and its place in the log.
    pub(crate) entry: Option<(usize, u64)>,
    /// The first server that lacks it.
    pub(crate) lost: Option<usize>,
    /// The control plane that waits, and since when it has had to see the log as it is.
    waits: Option<(usize, u64, Duration, LogPosition)>,
    /// It was confirmed before its client asked.
    was_confirmed: bool,
    /// It was answered with 200.
    pub(crate) answered: bool,
    pub(crate) ended: bool,
    /// It waits for what another control plane may have committed.
    is_of_others: bool,
}

impl Logout {
    pub(crate) fn check(&self) -> CheckRequest {
        CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token: self.key,
            jti: None,
            session: None,
            subject: None,
            issued_at: Some(1_600_000_000),
        }
    }

    /// The control plane whose process has not ended, if the caller waits there.
    pub(crate) fn waits_at(&self) -> Option<(usize, u64)> {
        self.waits.map(|(plane, life, ..)| (plane, life))
    }
}

/// What a control plane has read since it began to wait for a position. Waits for one position are one wait: what was read
/// since the first of their commits serves all of them, even if its client has gone away.
pub(crate) struct Readings {
    at: (usize, u64),
    position: LogPosition,
    since: Duration,
    /// The oldest server that has shown the log or the rows since then.
    of: Option<usize>,
}

/// How a client waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Waits,
    GoesAway,
    AsksElsewhere,
}

impl World {
    pub(crate) async fn log_out_again_and_again(self: Arc<Self>) {
        loop {
            let pause = self.with(|world| {
                let calm = self.now() >= self.scene.healed || self.scene.is_quiet(self.now());
                let about = if calm { self.scene.calm_every } else { self.scene.logout_every };
                world.dice.between(about / 4, about * 7 / 4)
            });
            sleep(pause).await;
            tokio::spawn(Arc::clone(&self).log_out());
        }
    }

    async fn log_out(self: Arc<Self>) {
        let begun = self.with(|world| world.begin_logout(self.now(), &self.scene));
        let Some((index, key, plane, running, client)) = begun else { return };
        let committed = tokio::select! {
            commit = running.store.commit(key, index) => commit,
            () = running.dead.cancelled() => None,
        };
        let Some(mut commit) = committed else {
            return self.with(|world| {
                world.reached.failed_commits += 1;
                world.logouts[index].ended = true;
            });
        };
        self.with(|world| world.wait_begins(index, (plane, running.life), commit.head, self.now()));
        let late = self.with(|world| if world.dice.per_mille(200) { world.dice.below(80) } else { 0 });
        sleep(ms(late as u64)).await;
        if self.scene.is(Mutant::WaitCountsFromLater) {
            commit.returned = running.store.clock().now();
        }
        let pending = running.leases.wait_for(commit);
        match client {
            Client::Waits => self.wait(index, (plane, running), pending).await,
            Client::GoesAway => self.with(|world| world.logouts[index].ended = true),
            Client::AsksElsewhere => self.ask_elsewhere(index, pending.position()).await,
        }
    }

    async fn wait(&self, index: usize, at: (usize, Running), mut pending: Pending) {
        let confirmed = tokio::select! {
            confirmed = pending.confirmed() => confirmed.is_ok(),
            () = at.1.dead.cancelled() => false,
        };
        let now = self.now();
        self.trace(|| format!("logout {index} at control plane {}: {confirmed}", at.0));
        self.with(|world| {
            let Some((plane, life, since, _)) = world.logouts[index].waits else { return };
            if !confirmed {
                world.reached.unconfirmed += 1;
                world.logouts[index].ended = true;
                return;
            }
            world.answered(index, (plane, life), since, now);
            world.ended_soon(index, since, now, &self.scene);
        });
    }

    /// Takes the ticket to any control plane, which may be the same.
    async fn ask_elsewhere(&self, index: usize, mut position: LogPosition) {
        let pause = self.with(|world| world.dice.between(ms(0), ms(400)));
        sleep(pause).await;
        if self.scene.is(Mutant::TicketOfAnyEpoch) {
            position.epoch = self.with(|world| world.present().head.epoch);
        }
        let at = self.with(|world| {
            let plane = world.dice.below(world.planes.len());
            Some((plane, world.planes[plane].running.clone()?))
        });
        let Some(at) = at else { return self.with(|world| world.logouts[index].ended = true) };
        let pending = at.1.leases.wait_for_position(position);
        let now = self.now();
        self.trace(|| format!("logout {index} asks control plane {}", at.0));
        self.with(|world| {
            world.reached.redeemed += 1;
            world.wait_begins(index, (at.0, at.1.life), position, now);
            let logout = &mut world.logouts[index];
            // Another history counts against it whenever this control plane was shown it.
            logout.waits = Some((at.0, at.1.life, Duration::ZERO, position));
            logout.called = now;
            logout.is_of_others = true;
            logout.was_confirmed = pending.is_confirmed();
        });
        self.wait(index, at, pending).await;
    }
}

impl Inner {
    fn begin_logout(&mut self, now: Duration, scene: &Scene) -> Option<(usize, RevocationKey, usize, Running, Client)> {
        let plane = self.dice.below(self.planes.len());
        let running = self.planes[plane].running.clone().filter(|running| !running.is_closing)?;
        // Now and then a token that was logged out before: nothing is written then.
        let again = self.dice.per_mille(150) && !self.logouts.is_empty();
        let recent = self.logouts.len().min(4);
        let key = match again {
            true => self.logouts[self.logouts.len() - 1 - self.dice.below(recent)].key,
            false => RevocationKey::from_bytes(self.dice.sixteen()),
        };
        let client = match self.dice.below(20) {
            0 => Client::GoesAway,
            1..4 => Client::AsksElsewhere,
            _ if scene.is(Mutant::TicketOfAnyEpoch) => Client::AsksElsewhere,
            _ => Client::Waits,
        };
        let logout = Logout {
            key,
            called: now,
            entry: None,
            lost: None,
            waits: None,
            was_confirmed: false,
            answered: false,
            ended: false,
            is_of_others: again,
        };
        self.logouts.push(logout);
        Some((self.logouts.len() - 1, key, plane, running, client))
    }

    fn wait_begins(&mut self, index: usize, at: (usize, u64), position: LogPosition, now: Duration) {
        self.logouts[index].waits = Some((at.0, at.1, now, position));
        if !self.readings.iter().any(|readings| (readings.at, readings.position) == (at, position)) {
            self.readings.push(Readings { at, position, since: now, of: None });
        }
    }

    /// True if the log or the rows were read since the commit, before the loss.
    pub(crate) fn is_shown(&self, logout: &Logout) -> bool {
        let Some((plane, life, _, position)) = logout.waits else { return false };
        let mut readings = self.readings.iter().filter(|it| (it.at, it.position) == ((plane, life), position));
        let server = readings.next().and_then(|readings| readings.of);
        logout.was_confirmed || server.is_some_and(|server| logout.lost.is_none_or(|lost| server < lost))
    }

    /// A control plane has got an answer about the log or the rows.
    pub(crate) fn taught(&mut self, at: (usize, u64), server: usize, began: Duration, now: Duration) {
        let (plane, life) = at;
        self.shows(at, server, began);
        if self.planes[plane].life == life {
            self.planes[plane].has_answer_of(server, now);
            self.planes[plane].is_told(life, server, began, now);
        }
    }

    /// A reading or a commit has shown that the history of earlier commits was there after them.
    pub(crate) fn shows(&mut self, at: (usize, u64), server: usize, began: Duration) {
        for readings in self.readings.iter_mut().filter(|it| it.at == at && began >= it.since) {
            readings.of = Some(readings.of.map_or(server, |of| of.min(server)));
        }
    }

    /// Once all faults are over, nothing but the workers is waited for.
    fn ended_soon(&mut self, index: usize, since: Duration, now: Duration, scene: &Scene) {
        let logout = &self.logouts[index];
        if logout.called < scene.calm || since < scene.calm {
            return;
        }
        let hear = self.planes.iter().all(|plane| plane.running.as_ref().is_some_and(|it| it.leases.hears_itself()));
        let quick = if scene.lines { hear } else { scene.sticky };
        let most = if quick { ms(120) + scene.statement * 16 } else { scene.longest_wait() };
        // The control plane that has made a commit tells the others with its next beat that it confirms it.
        let most = if logout.is_of_others { most.max(most + scene.times.row_life() / 3) } else { most };
        let waited = now.saturating_sub(since.max(logout.called));
        if waited > most {
            self.violated(|| format!("{now:?}: logout {index} waited {waited:?} though nothing is wrong"));
        }
    }

    /// At the end, no caller still waits.
    pub(crate) fn all_have_ended(&mut self, scene: &Scene) {
        let open = self.logouts.iter().enumerate().find(|(_, logout)| {
            let at = logout.waits_at();
            let runs = at.is_some_and(|(plane, life)| {
                self.planes[plane].running.as_ref().is_some_and(|running| running.life == life)
            });
            !logout.ended && runs && logout.called < scene.calm
        });
        if let Some(index) = open.map(|(index, _)| index) {
            self.violated(|| format!("logout {index} has not ended"));
        }
    }
}

impl Scene {
    /// The longest wait by true clocks, with the time that it takes to notice the end.
    fn longest_wait(&self) -> Duration {
        self.times.lease_over() * 5 / 4 + ms(100)
    }
}
