//! Requests that wait in front of an Envoy that is frozen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{PATIENCE, Shared};
use crate::faults::connection::Connection;
use crate::faults::ledger::Ledger;
use crate::faults::population::Token;

/// Requests with dead tokens, sent to an Envoy that does not answer now, and read when it does again.
#[derive(Debug)]
pub(in crate::faults) struct Pile(Vec<(Connection, Duration, Arc<Token>)>);

impl Pile {
    /// Sends them, each on a connection of its own.
    pub(in crate::faults) fn send(shared: &Shared, entrance: SocketAddr, count: usize) -> Self {
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
    pub(in crate::faults) fn read(self, shared: &Shared) -> Ledger {
        let mut ledger = shared.ledger();
        for (mut connection, started, token) in self.0 {
            let reply = connection.receive();
            ledger.enter(&shared.exchange(started, reply, &token));
        }
        ledger
    }
}
