//! The caches in a real Envoy after a flood of good tokens, each new: from the filter's own counters and Envoy's
//! memory.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::http::Request;
use curfew_testbed::measure::{Client, Supply, WorkerClock, resident_bytes};
use curfew_testbed::stack::Stack;
use serde_json::{Value, json};

use super::CURFEW;
use crate::tokens::{Keys, good, request};

/// Tokens that stay in use during the flood.
const IN_USE: usize = 1_000;

/// The filter's budget here, which is also its default.
pub(super) const CACHE_BYTES: u64 = 16 << 20;

/// Far longer than a flood takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Sends the flood, and after each of its tokens one of the tokens in use.
pub(super) fn measure(stack: &Stack, keys: &Keys, clock: &WorkerClock, flood: usize) -> Result<Value> {
    let in_use = good(&keys.hs256, IN_USE)?;
    let new = good(&keys.hs256, flood)?;
    let mut client = Client::connect(stack.envoy.listener(CURFEW)?, 16)?;
    let mut send = |requests: Vec<Vec<u8>>| -> Result<()> {
        let sent = requests.len();
        let statuses = client.run(&mut Supply::once(requests, 1).burst(), PATIENCE)?;
        ensure!(statuses.get(&200).copied() == u64::try_from(sent).ok(), "not all are admitted: {statuses:?}");
        Ok(())
    };
    send(in_use.iter().chain(&in_use).map(|token| request(token)).collect())?;
    let (before, memory_before) = (proofs(stack)?, resident_bytes(stack.envoy.process())?);
    let (start, spent) = (Instant::now(), clock.read()?);
    let turns = new.iter().zip(in_use.iter().cycle());
    send(turns.flat_map(|(new, known)| [request(new), request(known)]).collect())?;
    let (took, spent) = (start.elapsed().as_secs_f64(), clock.read()?.saturating_sub(spent).as_secs_f64());
    let (after, memory_after) = (proofs(stack)?, resident_bytes(stack.envoy.process())?);
    let (hits, misses) = (after.0 - before.0, after.1 - before.1);
    let share = hits as f64 / flood as f64;
    let grown = memory_after.saturating_sub(memory_before) as f64 / f64::from(1 << 20);
    println!("\n{flood} new tokens, and {IN_USE} in use between them, took {took:.1} s ({spent:.1} s of the worker):");
    println!("{:.2} % of the tokens in use were known; Envoy's memory grew by {grown:.1} MiB", share * 1e2);
    Ok(json!({
        "in_use": IN_USE, "new": flood, "proofs_hit": hits, "proofs_missed": misses, "known_share_of_tokens_in_use": share,
        "envoy_resident_bytes": {"before": memory_before, "after": memory_after},
        "cache_bytes": CACHE_BYTES, "seconds": took, "worker_cpu_seconds": spent,
    }))
}

/// Proofs found and not found, by the filter's counters. In strict mode it reports them with each poll.
fn proofs(stack: &Stack) -> Result<(u64, u64)> {
    std::thread::sleep(Duration::from_secs(1));
    let page = Request::get("/stats?filter=curfew_proofs").send(stack.envoy.admin())?.text();
    let count = |name: &str| {
        let line = page.lines().find_map(|line| line.split_once(name)?.1.strip_prefix(": "));
        line.with_context(|| format!("no {name}:\n{page}"))?.trim().parse::<u64>().context("a count")
    };
    Ok((count("curfew_proofs_hit")?, count("curfew_proofs_missed")?))
}
