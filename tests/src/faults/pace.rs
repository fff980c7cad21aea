//! Logouts at a given pace in a mesh without fault: how long each takes, and when the last request with its token was
//! admitted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::clients::{self, Shared};
use super::ledger::Ledger;
use super::mesh::Mesh;
use super::population::{Clock, Population};
use crate::tokens::Signer;

/// Workers join in that time.
const JOINING: Duration = Duration::from_secs(2);

/// How fast, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Logouts a second; `None` for as fast as the callers can.
    pub per_second: Option<u32>,
    /// How many callers there are.
    pub callers: usize,
    /// How long.
    pub time: Duration,
    /// Whether requests with the tokens go on beside: without any, no worker joins.
    pub used: bool,
}

/// Plays it.
///
/// # Errors
/// When a logout did not return 200.
pub fn log_out_at(mesh: &Mesh, pace: Pace) -> Result<Ledger> {
    let population = Population::new(Signer::from_secret(mesh.secret()?), 500)?;
    let pause = Duration::from_millis(2);
    let shared = Shared { clock: Clock::start(), population, stop: AtomicBool::new(false), pause };
    let (entrances, exits, tickets) = (mesh.entrances(), mesh.exits(), AtomicU64::new(0));
    let looked_at = if pace.used { entrances.as_slice() } else { &[] };
    let interval = pace.per_second.map(|rate| Duration::from_secs(1) / rate.max(1));
    let begin = shared.clock.now() + JOINING;
    let turn = || {
        let ticket = u32::try_from(tickets.fetch_add(1, Ordering::SeqCst)).unwrap_or(u32::MAX);
        let due = interval.map_or(begin, |interval| begin + interval.saturating_mul(ticket));
        thread::sleep(due.saturating_sub(shared.clock.now()));
    };
    let ledgers = thread::scope(|scope| {
        let using = |entrance| {
            let shared = &shared;
            scope.spawn(move || Ok(clients::use_tokens(shared, entrance)))
        };
        let mut clients: Vec<_> = looked_at.iter().copied().map(using).collect();
        thread::sleep(JOINING);
        let leave = || scope.spawn(|| clients::log_out(&shared, &exits, looked_at, turn));
        clients.extend((0..pace.callers).map(|_| leave()));
        thread::sleep(pace.time);
        shared.stop.store(true, Ordering::SeqCst);
        clients.into_iter().map(|client| client.join()).collect::<Vec<_>>()
    });
    let mut ledger = Ledger::default();
    for client in ledgers {
        ledger.add(client.map_err(|_| anyhow!("a client panicked"))??);
    }
    if ledger.failed_logouts > 0 {
        bail!("{} logouts failed", ledger.failed_logouts);
    }
    Ok(ledger)
}

/// One logout while its token is in use at every Envoy without a pause: how long the call took, and how long before its 200
/// the last request began that was admitted (negative if after it).
///
/// # Errors
/// When the logout did not return 200, or a request had no answer.
pub fn last_admission(mesh: &Mesh) -> Result<(Duration, f64)> {
    let population = Population::new(Signer::from_secret(mesh.secret()?), 1)?;
    let shared = Shared { clock: Clock::start(), population, stop: AtomicBool::new(false), pause: Duration::ZERO };
    let token = shared.population.take(&mut super::dice::Dice::new())?;
    let exit = mesh.exits().first().copied().ok_or_else(|| anyhow!("no control plane"))?;
    thread::scope(|scope| {
        let entrances = mesh.entrances().into_iter().flat_map(|entrance| [entrance; 4]);
        let using = |entrance| {
            let (shared, token) = (&shared, &token);
            scope.spawn(move || clients::use_until_refused(shared, entrance, token))
        };
        let users: Vec<_> = entrances.map(using).collect();
        thread::sleep(Duration::from_millis(100));
        let logout = clients::log_one_out_at(&shared, exit, &token);
        shared.stop.store(true, Ordering::SeqCst);
        let last = users.into_iter().map(|user| user.join().map_err(|_| anyhow!("a client panicked"))?);
        let last = last.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or_default();
        let (took, returned) = logout?;
        Ok((took, returned.as_secs_f64() - last.as_secs_f64()))
    })
}
