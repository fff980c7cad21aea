//! Database servers: primaries, standbys that lag, forks, restored copies, and servers that start again.

use super::{Dice, Mutant};
use crate::log::{Epoch, LogPosition};
use crate::store::identity::Identity;
use crate::store::trust::{Distrust, History, Seen};

/// A server and its run.
type Place = (u64, u64);

#[derive(Debug, Clone)]
pub(super) struct Server {
    epoch: u64,
    /// Each commit has a number of its own in the whole world.
    pub(super) log: Vec<u64>,
    /// The place where the epoch was made.
    known: Place,
    place: Place,
    pub(super) follows: bool,
    pub(super) is_up: bool,
}

/// The answer of a server to one statement.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) epoch: u64,
    pub(super) log: Vec<u64>,
    pub(super) history: History,
}

/// Why a transaction did not take place.
pub(super) enum Refused {
    Away,
    Distrusted(Distrust),
}

pub(super) struct Servers {
    pub(super) all: Vec<Server>,
    /// Where new connections lead.
    pub(super) name: usize,
    next: u64,
    hides_places: bool,
}

impl Servers {
    /// A primary, and a standby of it.
    pub(super) fn new(mutant: Option<Mutant>) -> Self {
        let primary = Server { epoch: 0, log: vec![], known: (0, 0), place: (0, 0), follows: false, is_up: true };
        let standby = Server { place: (1, 0), follows: true, ..primary.clone() };
        let hides_places = mutant == Some(Mutant::PlaceIgnored);
        Self { all: vec![primary, standby], name: 0, next: 2, hides_places }
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A statement that reads; `None` if the server does not answer.
    pub(super) fn read(&self, server: usize) -> Option<Answer> {
        let server = &self.all[server];
        let head = LogPosition { epoch: epoch(server.epoch), seq: server.log.len() as u64 };
        let seen = if self.hides_places { Identity::default() } else { named(server.place) };
        let history = History { head, follows: server.follows, known: named(server.known), seen };
        server.is_up.then(|| Answer { epoch: server.epoch, log: server.log.clone(), history })
    }

    /// A transaction of the writer, by the rules of `Batch::begin`; returns the number of its commit as well.
    pub(super) fn commit(
        &mut self,
        server: usize,
        is_kept: bool,
        before: Option<&Seen>,
    ) -> Result<(Answer, u64), Refused> {
        let history = self.read(server).ok_or(Refused::Away)?.history;
        if history.follows {
            return Err(Refused::Distrusted(Distrust::Follows));
        }
        let went_back = before.is_some_and(|before| history.went_back(before));
        if went_back && is_kept {
            return Err(Refused::Distrusted(Distrust::WentBack));
        }
        let (epoch, commit) = (self.fresh(), self.fresh());
        let own = &mut self.all[server];
        if went_back || history.known.contradicts(&history.seen) {
            (own.epoch, own.known) = (epoch, own.place);
        }
        own.log.push(commit);
        Ok((self.read(server).ok_or(Refused::Away)?, commit))
    }

    pub(super) fn pick(&self, dice: &mut Dice, wanted: impl Fn(&Server) -> bool) -> Option<usize> {
        let found: Vec<usize> = (0..self.all.len()).filter(|index| wanted(&self.all[*index])).collect();
        (!found.is_empty()).then(|| found[dice.roll(found.len())])
    }

    /// A standby gets what the present primary has. One that has something else has to be made anew, which takes a start.
    pub(super) fn replicate(&mut self, dice: &mut Dice) {
        let Some(standby) = self.pick(dice, |server| server.follows) else { return };
        let (primary, run) = (self.all[self.name].clone(), self.fresh());
        if primary.follows || !primary.is_up {
            return;
        }
        let own = &mut self.all[standby];
        let place = if primary.log.starts_with(&own.log) { own.place } else { (own.place.0, run) };
        *own = Server { place, follows: true, is_up: true, ..primary };
    }

    /// A standby becomes a primary. The old primary may live on, and the name may still lead to it for a while.
    pub(super) fn promote(&mut self, dice: &mut Dice) {
        let Some(standby) = self.pick(dice, |server| server.follows && server.is_up) else { return };
        let old = std::mem::replace(&mut self.name, standby);
        self.all[standby].follows = false;
        match dice.roll(4) {
            0 => self.name = old,
            1 => self.all[old].follows = true,
            2 => self.all[old].is_up = false,
            _ => {}
        }
        let place = (self.fresh(), 0);
        self.all.push(Server { place, follows: true, ..self.all[standby].clone() });
    }

    /// The name leads to another server.
    pub(super) fn rename(&mut self, dice: &mut Dice) {
        if let Some(server) = self.pick(dice, |server| server.is_up) {
            self.name = server;
        }
    }

    /// A server starts again, and may lose its latest commits; returns which.
    pub(super) fn restart(&mut self, dice: &mut Dice) -> usize {
        let server = dice.roll(self.all.len());
        let run = self.fresh();
        let own = &mut self.all[server];
        own.place.1 = run;
        own.is_up = true;
        let lost = if own.follows { 0 } else { dice.roll(3) };
        own.log.truncate(own.log.len().saturating_sub(lost));
        server
    }

    /// A backup takes the place of a server; returns which.
    pub(super) fn restore(&mut self, dice: &mut Dice) -> usize {
        let server = dice.roll(self.all.len());
        let place = (self.fresh(), 0);
        let own = &mut self.all[server];
        let length = dice.roll(own.log.len() + 1);
        own.log.truncate(length);
        (own.place, own.is_up) = (place, true);
        server
    }

    /// One primary is left, and the name leads to it.
    pub(super) fn calm(&mut self, dice: &mut Dice) {
        self.name = self.pick(dice, |server| server.is_up).unwrap_or_default();
        for (index, server) in self.all.iter_mut().enumerate() {
            server.is_up = index == self.name;
            server.follows &= !server.is_up;
        }
    }
}

fn epoch(number: u64) -> Epoch {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Epoch::from_bytes(bytes)
}

fn named((server, run): Place) -> Identity {
    Identity::parse(&format!("run={run} server={server}"))
}
