//! Clients that log tokens out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{LOOK, PATIENCE, Shared};
use crate::faults::connection::{Connection, Connections};
use crate::faults::dice::Dice;
use crate::faults::ledger::{Ledger, Reply};
use crate::faults::population::Token;

/// Through one Envoy, until the run ends: makes a token, uses it once, and logs it out once. A logout that fails is
/// left for the audit.
///
/// A logout that is refused because its token is logged out already has happened: Envoy has repeated it, and the answer
/// to the first attempt was lost. It counts as confirmed here, because in bounded mode no worker has to hear of it
/// first.
pub(super) fn leave_once(shared: &Shared, entrance: SocketAddr) -> Result<Ledger> {
    let (mut ledger, mut dice) = (shared.ledger(), Dice::new());
    let mut connections = Connections::to(entrance, PATIENCE);
    while shared.goes_on() {
        let token = Arc::new(shared.outside.token()?);
        let Some(connection) = connections.any(&mut dice) else { break };
        ledger.enter(&shared.request(connection, &token));
        let (reply, took) = log_out(shared, connection, &token);
        ledger.enter_logout(&reply, took);
        if reply.is_already_logged_out() {
            token.logout_returned(shared.clock.now());
        }
        if reply.is_ok() || reply.is_already_logged_out() {
            shared.population.bury(token);
        } else {
            shared.population.leave_unconfirmed(token);
        }
        thread::sleep(shared.pause);
    }
    Ok(ledger)
}

/// At the control planes, each time at one of them, until the run ends: takes a token out of use and logs it out,
/// repeating a logout that failed. After each 200 it looks at the given Envoys whether the token is refused.
///
/// A repeated logout that is refused because its token is logged out already ends without a promise: an earlier attempt
/// was committed, and its answer was lost before any worker had to know of it.
pub(in crate::faults) fn leave_until_done(
    shared: &Shared,
    looked_at: &[SocketAddr],
    wait_for_turn: impl Fn(),
) -> Result<Ledger> {
    let (mut ledger, mut dice) = (shared.ledger(), Dice::new());
    let mut exits: Vec<_> = shared.outside.public.iter().map(|address| Connection::to(*address, PATIENCE)).collect();
    let mut looks: Vec<_> = looked_at.iter().map(|address| Connections::to(*address, LOOK)).collect();
    let mut unfinished: Option<Arc<Token>> = None;
    loop {
        wait_for_turn();
        if !shared.goes_on() {
            return Ok(ledger);
        }
        let token = match unfinished.take() {
            Some(token) => token,
            None => shared.population.take(&shared.outside, &mut dice)?,
        };
        let place = dice.below(exits.len());
        let exit = exits.get_mut(place).context("there is no control plane")?;
        let (reply, took) = log_out(shared, exit, &token);
        ledger.enter_logout(&reply, took);
        if reply.is_ok() {
            shared.population.bury(token.clone());
            for connections in &mut looks {
                let Some(connection) = connections.any(&mut dice) else { continue };
                ledger.enter(&shared.request(connection, &token));
            }
        } else if reply.status() != Some(401) {
            unfinished = Some(token);
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Logs a token out at a control plane: how long it took, and when the 200 was there.
///
/// # Errors
/// When the answer was not 200.
pub(in crate::faults) fn log_one_out_at(
    shared: &Shared,
    exit: SocketAddr,
    token: &Token,
) -> Result<(Duration, Duration)> {
    let (reply, took) = log_out(shared, &mut Connection::to(exit, PATIENCE), token);
    let (_, returned) = token.logout();
    returned.map(|returned| (took, returned)).with_context(|| format!("the logout got {reply}"))
}

fn log_out(shared: &Shared, connection: &mut Connection, token: &Token) -> (Reply, Duration) {
    let begun = shared.clock.now();
    token.logout_begins(begun);
    let reply = connection.open().map_or(Reply::none(), |()| connection.exchange(&token.logout));
    let ended = shared.clock.now();
    if reply.is_ok() {
        token.logout_returned(ended);
        shared.count_logout();
    }
    (reply, ended.saturating_sub(begun))
}
