//! One control plane's connections and statements: its readers, its writer, and its watch. What they believe is decided
//! by the shipped [`Trust`]; the order of their steps follows `sql/reader`, `write_attempt` and `watch`.

use super::rules::Rules;
use super::servers::{Answer, Refused, Servers};
use super::{Dice, Mutant};
use crate::store::trust::{Distrust, Seen, Trust};

/// The most readers' connections, and the most readers' statements under way.
const POOL: usize = 3;

/// The purpose of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The first statement over a new connection of the pool.
    Connect,
    Read,
    Commit,
    /// The watch's statement.
    Look,
    /// The watch has the writer take the history over.
    TakeOver,
    /// The watch's statement after that.
    LookAgain,
}

/// A statement that is under way.
struct Flight {
    what: What,
    server: usize,
    /// True if its connection was used before.
    is_kept: bool,
    asked: usize,
    before: Seen,
    falls: u64,
    answer: Option<Result<(Answer, Option<u64>), Refused>>,
}

#[derive(Default)]
pub(super) struct Process {
    pub(super) trust: Trust,
    pool: Vec<usize>,
    /// The server at the other end of the writer's kept connection.
    writer: Option<usize>,
    flights: Vec<Flight>,
    pub(super) rules: Rules,
    mutant: Option<Mutant>,
}

impl Process {
    pub(super) fn with(mutant: Option<Mutant>) -> Self {
        Self { mutant, ..Self::default() }
    }

    fn count(&self, wanted: impl Fn(What) -> bool) -> usize {
        self.flights.iter().filter(|flight| wanted(flight.what)).count()
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn ask(&mut self, what: What, server: usize, is_kept: bool, now: usize) {
        let mut before = self.trust.seen();
        if self.is(Mutant::OnlyEqualEpochsCompared) {
            before.ended.clear();
        }
        let falls = self.trust.falls();
        self.flights.push(Flight { what, server, is_kept, asked: now, before, falls, answer: None });
    }

    /// A reader asks, over a connection of the pool or a new one.
    pub(super) fn read(&mut self, servers: &Servers, dice: &mut Dice, now: usize) {
        if self.trust.is_fenced() || self.count(|what| matches!(what, What::Read | What::Connect)) >= POOL {
            return;
        }
        if self.pool.len() < POOL && (self.pool.is_empty() || dice.roll(4) == 0) {
            return self.ask(What::Connect, servers.name, false, now);
        }
        self.ask(What::Read, self.pool[dice.roll(self.pool.len())], true, now);
    }

    pub(super) fn write(&mut self, servers: &Servers, now: usize) {
        if self.count(|what| matches!(what, What::Commit | What::TakeOver)) == 0 {
            self.transact(What::Commit, servers, now);
        }
    }

    fn transact(&mut self, what: What, servers: &Servers, now: usize) {
        let kept = self.writer.take();
        self.ask(what, kept.unwrap_or(servers.name), kept.is_some(), now);
    }

    pub(super) fn look(&mut self, servers: &Servers, dice: &mut Dice, now: usize) {
        if self.count(|what| matches!(what, What::Look | What::TakeOver | What::LookAgain)) == 0 {
            self.look_for(What::Look, servers, dice, now);
        }
    }

    fn look_for(&mut self, what: What, servers: &Servers, dice: &mut Dice, now: usize) {
        let kept = (!self.pool.is_empty()).then(|| self.pool[dice.roll(self.pool.len())]);
        self.ask(what, kept.unwrap_or(servers.name), kept.is_some(), now);
    }

    /// The connections to a server break, and what is under way there gets no answer.
    pub(super) fn cut(&mut self, server: usize) {
        self.pool.retain(|other| *other != server);
        self.writer = self.writer.filter(|other| *other != server);
        for flight in self.flights.iter_mut().filter(|flight| flight.server == server && flight.answer.is_none()) {
            flight.answer = Some(Err(Refused::Away));
        }
    }

    /// Some statement reaches its server.
    pub(super) fn arrive(&mut self, servers: &mut Servers, dice: &mut Dice) {
        let waiting: Vec<usize> =
            (0..self.flights.len()).filter(|index| self.flights[*index].answer.is_none()).collect();
        if waiting.is_empty() {
            return;
        }
        let flight = &mut self.flights[waiting[dice.roll(waiting.len())]];
        let answer = match flight.what {
            What::Commit | What::TakeOver => {
                match servers.commit(flight.server, flight.is_kept, Some(&flight.before)) {
                    Err(Refused::Distrusted(Distrust::WentBack)) => {
                        // Over a new connection.
                        (flight.server, flight.is_kept) = (servers.name, false);
                        servers.commit(flight.server, false, Some(&flight.before))
                    }
                    ended => ended,
                }
                .map(|(answer, commit)| (answer, Some(commit)))
            }
            _ => servers.read(flight.server).map(|answer| (answer, None)).ok_or(Refused::Away),
        };
        flight.answer = Some(answer);
    }

    /// Some answer comes back.
    pub(super) fn return_one(&mut self, servers: &Servers, dice: &mut Dice, now: usize) -> Result<(), String> {
        let answered: Vec<usize> =
            (0..self.flights.len()).filter(|index| self.flights[*index].answer.is_some()).collect();
        if answered.is_empty() {
            return Ok(());
        }
        let flight = self.flights.swap_remove(answered[dice.roll(answered.len())]);
        self.end(flight, servers, dice, now)
    }

    fn end(&mut self, mut flight: Flight, servers: &Servers, dice: &mut Dice, now: usize) -> Result<(), String> {
        match (flight.what, flight.answer.take()) {
            (_, None) => Ok(()),
            (What::Commit | What::TakeOver, Some(Ok((answer, commit)))) => {
                self.writer = Some(flight.server);
                self.trust.observe(&flight.before, answer.history.head);
                self.rules.committed(commit, &answer, flight.asked, now);
                if flight.what == What::TakeOver {
                    self.look_for(What::LookAgain, servers, dice, now);
                }
                Ok(())
            }
            (What::Commit | What::TakeOver, Some(Err(Refused::Distrusted(distrust)))) => {
                self.fence(distrust, now);
                Ok(())
            }
            (_, Some(Err(_))) => {
                let server = flight.server;
                self.pool.retain(|other| *other != server);
                Ok(())
            }
            (_, Some(Ok((answer, _)))) => self.weigh(&flight, &answer, servers, now),
        }
    }

    /// What becomes of an answer to a reader or to the watch.
    fn weigh(&mut self, flight: &Flight, answer: &Answer, servers: &Servers, now: usize) -> Result<(), String> {
        let judged = match flight.what {
            What::Connect => answer.history.judge(&flight.before),
            _ => self.trust.weigh(&flight.before, &answer.history),
        };
        if let Err(distrust) = judged {
            if flight.what != What::Connect {
                self.pool.clear();
            }
            self.fence(distrust, now);
            if flight.what == What::Look {
                self.transact(What::TakeOver, servers, now);
            }
            return Ok(());
        }
        match flight.what {
            What::Connect if self.pool.len() < POOL => {
                self.pool.push(flight.server);
                Ok(())
            }
            What::Look | What::LookAgain => {
                self.rules.believed(answer, flight.asked, now)?;
                let lifted = self.lift(flight.falls);
                if lifted { self.rules.lifted(flight.asked) } else { Ok(()) }
            }
            What::Read => self.rules.believed(answer, flight.asked, now),
            _ => Ok(()),
        }
    }

    fn lift(&mut self, falls: u64) -> bool {
        let falls = if self.is(Mutant::LiftedByAnyLook) { self.trust.falls() } else { falls };
        self.trust.lift(falls)
    }

    fn fence(&mut self, distrust: Distrust, now: usize) {
        self.trust.fence(distrust);
        self.rules.distrusted(now);
    }

    /// True if nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.flights.is_empty()
    }
}
