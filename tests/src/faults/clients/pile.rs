//! Requests that wait in front of an Envoy that is frozen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{PATIENCE, Shared};
use crate::faults::connection::Connection;
use crate::faults::ledger::{Exchange, Ledger};
use crate::faults::population::Token;

/// Requests with dead tokens, and with tokens whose key was taken away, sent to an Envoy that does not answer now, and read when it does again.
#[derive(Debug)]
pub(in crate::faults) struct Pile(Vec<Waiting>);

/// A request without an answer yet.
#[derive(Debug)]
struct Waiting {
    connection: Connection,
    started: Duration,
    token: Arc<Token>,
    enter: fn(&mut Ledger, &Exchange),
}

impl Pile {
    /// Sends up to so many of each, each on a connection of its own.
    pub(in crate::faults) fn send(shared: &Shared, entrance: SocketAddr, count: usize) -> Self {
        let of_ring = shared.ring.as_ref().map(|ring| ring.population.youngest_dead(count)).unwrap_or_default();
        let of_ring = of_ring.into_iter().map(|token| (token, Ledger::enter_of_key as fn(&mut Ledger, &Exchange)));
        let dead = shared.population.youngest_dead(count).into_iter();
        let dead = dead.map(|token| (token, Ledger::enter as fn(&mut Ledger, &Exchange)));
        let sent = dead.chain(of_ring).filter_map(|(token, enter)| {
            let mut connection = Connection::to(entrance, PATIENCE);
            connection.open().ok()?;
            let started = shared.clock.now();
            connection.send(&token.request).ok()?;
            Some(Waiting { connection, started, token, enter })
        });
        Self(sent.collect())
    }

    /// Reads the answers.
    pub(in crate::faults) fn read(self, shared: &Shared) -> Ledger {
        let mut ledger = shared.ledger();
        for Waiting { mut connection, started, token, enter } in self.0 {
            let reply = connection.receive();
            enter(&mut ledger, &shared.exchange(started, reply, &token));
        }
        ledger
    }
}
