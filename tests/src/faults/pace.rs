//! Logouts at a given pace in a mesh without a fault: how long each takes, and when the last request with its token was
//! admitted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::clients::{self, Leaving, Load, Shared, joined};
use super::dice::Dice;
use super::ledger::Ledger;
use super::mesh::Mesh;

/// Workers join in that time.
const JOINING: Duration = Duration::from_secs(2);

const TOKENS: usize = 500;

/// Requests with each token at each Envoy while it is logged out.
const USERS: usize = 4;

/// How fast, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Logouts a second; `None` for as fast as the callers can.
    pub per_second: Option<u32>,
    /// How many callers there are.
    pub callers: usize,
    /// How long.
    pub time: Duration,
    /// True if clients use the tokens meanwhile. Without any request, no worker joins.
    pub used: bool,
}

/// No client but the ones that are started here.
const LOAD: Load = Load {
    tokens: TOKENS,
    users: 0,
    key_users: 0,
    leavers: 0,
    leaving: Leaving::UntilDoneAtControlPlanes,
    pause: Duration::from_millis(2),
    ..Load::MESH
};

/// Logs tokens out at that pace.
///
/// # Errors
/// When a logout did not return 200.
pub fn log_out_at(mesh: &Mesh, pace: Pace) -> Result<Ledger> {
    let shared = Shared::new(mesh.outside()?, LOAD)?;
    let entrances = shared.outside.entrances.as_slice();
    let (looked_at, tickets) = (if pace.used { entrances } else { &[] }, AtomicU64::new(0));
    let interval = pace.per_second.map(|rate| Duration::from_secs(1) / rate.max(1));
    let begin = shared.clock.now() + JOINING;
    let turn = || {
        let ticket = u32::try_from(tickets.fetch_add(1, Ordering::SeqCst)).unwrap_or(u32::MAX);
        let due = interval.map_or(begin, |interval| begin + interval.saturating_mul(ticket));
        thread::sleep(due.saturating_sub(shared.clock.now()));
    };
    let ledger = thread::scope(|scope| {
        let using = |entrance: &std::net::SocketAddr| {
            let (shared, entrance) = (&shared, *entrance);
            scope.spawn(move || Ok(clients::use_tokens(shared, entrance)))
        };
        let mut clients: Vec<_> = looked_at.iter().map(using).collect();
        thread::sleep(JOINING);
        let leave = || scope.spawn(|| clients::leave_until_done(&shared, looked_at, turn));
        clients.extend((0..pace.callers).map(|_| leave()));
        thread::sleep(pace.time);
        shared.end();
        joined(clients)
    })?;
    if ledger.failed_logouts() > 0 {
        bail!("{} logouts failed", ledger.failed_logouts());
    }
    Ok(ledger)
}

/// One logout while its token is in use at every Envoy without a pause: how long the call took, and how long before its
/// 200 the last request began that was admitted (negative if after it).
///
/// # Errors
/// When the logout did not return 200, or a request had no answer.
pub fn last_admission(mesh: &Mesh) -> Result<(Duration, f64)> {
    let shared = Shared::new(mesh.outside()?, Load { tokens: 1, pause: Duration::ZERO, ..LOAD })?;
    let token = shared.population.take(&shared.outside, &mut Dice::new())?;
    let exit = shared.outside.public.first().copied().context("no control plane")?;
    thread::scope(|scope| {
        let entrances = shared.outside.entrances.iter().flat_map(|entrance| [*entrance; USERS]);
        let using = |entrance| {
            let (shared, token) = (&shared, &token);
            scope.spawn(move || clients::use_until_refused(shared, entrance, token))
        };
        let users: Vec<_> = entrances.map(using).collect();
        thread::sleep(Duration::from_millis(100));
        let logout = clients::log_one_out_at(&shared, exit, &token);
        shared.end();
        let last = users.into_iter().map(|user| user.join().map_err(|_| anyhow!("a client panicked"))?);
        let last = last.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or_default();
        let (took, returned) = logout?;
        Ok((took, returned.as_secs_f64() - last.as_secs_f64()))
    })
}
