//! The clients: those who use tokens, and those who log them out and look at once whether it is so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::connection::Connection;
use super::dice::Dice;
use super::ledger::{Exchange, Ledger};
use super::population::{Clock, Population, Token};

/// How long clients wait for an answer: longer than any fault lasts, so that what comes late is judged too.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long somebody who has just logged out waits for the refusal. Others look after what comes later.
const LOOK: Duration = Duration::from_secs(3);

/// Connections of a client to one Envoy: more than one, so that each worker has some.
const CONNECTIONS: usize = 4;

/// What all clients share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) population: Population,
    pub(super) stop: AtomicBool,
    /// Between two requests of one client.
    pub(super) pause: Duration,
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    /// One request on a connection, judged by what is known after it.
    fn request(&self, connection: &mut Connection, token: &Token) -> Exchange {
        let opened = connection.open();
        let started = self.clock.now();
        let status = opened.and_then(|()| connection.exchange(&token.request)).ok().map(|answer| answer.status);
        self.exchange(started, status, token)
    }

    /// What is known of a request that was sent at `started` and has ended just now.
    pub(super) fn exchange(&self, started: Duration, status: Option<u16>, token: &Token) -> Exchange {
        let ended = self.clock.now();
        let (logout_begun, logout_returned) = token.logout();
        Exchange { started, ended, status, logout_begun, logout_returned }
    }
}

fn connections(address: SocketAddr, patience: Duration) -> Vec<Connection> {
    (0..CONNECTIONS).map(|_| Connection::to(address, patience)).collect()
}

/// Uses tokens at one Envoy until told to stop; every other one was logged out before.
pub(super) fn use_tokens(shared: &Shared, entrance: SocketAddr) -> Ledger {
    let (mut ledger, mut dice) = (Ledger::default(), Dice::new());
    let mut connections = connections(entrance, PATIENCE);
    while shared.goes_on() {
        let dead = if dice.below(2) == 0 { shared.population.dead(&mut dice) } else { None };
        let Some(token) = dead.or_else(|| shared.population.alive(&mut dice)) else { break };
        let place = dice.below(connections.len());
        let Some(connection) = connections.get_mut(place) else { break };
        let exchange = shared.request(connection, &token);
        if exchange.status.is_none() {
            // Nobody listens, perhaps: not a reason to spin.
            thread::sleep(Duration::from_millis(20));
        }
        ledger.enter(&exchange);
        thread::sleep(shared.pause);
    }
    ledger
}

/// Logs tokens out until told to stop, now at one control plane and now at the other; after each 200 looks at every Envoy
/// whether the token is refused.
pub(super) fn log_out(
    shared: &Shared,
    exits: &[SocketAddr],
    entrances: &[SocketAddr],
    wait_for_turn: impl Fn(),
) -> Result<Ledger> {
    let (mut ledger, mut dice) = (Ledger::default(), Dice::new());
    let mut ways_out: Vec<_> = exits.iter().map(|address| Connection::to(*address, PATIENCE)).collect();
    let mut looks: Vec<_> = entrances.iter().map(|address| connections(*address, LOOK)).collect();
    let mut unfinished: Option<Arc<Token>> = None;
    loop {
        wait_for_turn();
        if !shared.goes_on() {
            return Ok(ledger);
        }
        let token = match unfinished.take() {
            Some(token) => token,
            None => shared.population.take(&mut dice)?,
        };
        let place = dice.below(ways_out.len());
        let Some(way_out) = ways_out.get_mut(place) else { return Ok(ledger) };
        let (status, took) = log_one_out(shared, way_out, &token);
        ledger.enter_logout(status, took);
        match status {
            Some(200) => {
                shared.population.bury(token.clone());
                for connections in &mut looks {
                    let place = dice.below(connections.len());
                    let Some(connection) = connections.get_mut(place) else { continue };
                    ledger.enter(&shared.request(connection, &token));
                }
            }
            // An attempt before this one was committed, though nobody said so. No promise was made for it.
            Some(401) => {}
            _ => {
                unfinished = Some(token);
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Logs a token out at a control plane: how long it took, and when the 200 was there.
///
/// # Errors
/// When it was not 200.
pub(super) fn log_one_out_at(shared: &Shared, exit: SocketAddr, token: &Token) -> Result<(Duration, Duration)> {
    let (status, took) = log_one_out(shared, &mut Connection::to(exit, PATIENCE), token);
    let (_, returned) = token.logout();
    returned.map(|returned| (took, returned)).with_context(|| format!("the logout came to {status:?}"))
}

/// Uses a token on one connection until it is refused: when the last request began that was admitted.
///
/// # Errors
/// When there was an answer of another kind, or none.
pub(super) fn use_until_refused(shared: &Shared, entrance: SocketAddr, token: &Token) -> Result<Duration> {
    let mut connection = Connection::to(entrance, PATIENCE);
    let mut last = Duration::ZERO;
    loop {
        let exchange = shared.request(&mut connection, token);
        match exchange.status {
            Some(200) => last = exchange.started,
            Some(401) => return Ok(last),
            other => bail!("a request came to {other:?}"),
        }
        if !shared.goes_on() && exchange.logout_begun.is_none() {
            bail!("the logout was never begun");
        }
    }
}

fn log_one_out(shared: &Shared, way_out: &mut Connection, token: &Token) -> (Option<u16>, Duration) {
    let begun = shared.clock.now();
    token.logout_begins(begun);
    let answer = way_out.open().and_then(|()| way_out.exchange(&token.logout)).ok();
    let ended = shared.clock.now();
    let status = answer.map(|answer| answer.status);
    if status == Some(200) {
        token.logout_returned(ended);
    }
    (status, ended.saturating_sub(begun))
}

/// Requests with tokens that were logged out, sent to an Envoy that does not answer now, and read when it does again.
#[derive(Debug)]
pub(super) struct Pile(Vec<(Connection, Duration, Arc<Token>)>);

impl Pile {
    /// Sends them, each on a connection of its own.
    pub(super) fn send(shared: &Shared, entrance: SocketAddr, count: usize) -> Self {
        let sent = shared.population.youngest_dead(count).into_iter().filter_map(|token| {
            let mut connection = Connection::to(entrance, PATIENCE);
            connection.open().ok()?;
            let started = shared.clock.now();
            connection.send(&token.request).ok()?;
            Some((connection, started, token))
        });
        Self(sent.collect())
    }

    /// Reads the answers.
    pub(super) fn read(self, shared: &Shared) -> Ledger {
        let mut ledger = Ledger::default();
        for (mut connection, started, token) in self.0 {
            let status = connection.receive().ok().map(|answer| answer.status);
            ledger.enter(&shared.exchange(started, status, &token));
        }
        ledger
    }
}
