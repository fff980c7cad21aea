//! The same known token again, with many revocations in the worker's copy: shows if a look-up among them costs more.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::measure::{Bench, Client, Supply, WorkerClock, resident_bytes};
use curfew_testbed::stack::Stack;
use serde_json::{Value, json};

use super::listeners::BARE;
use super::variants::{self, Row};
use super::{Arguments, report};

/// Far longer than the logouts and the transfer of their revocations take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Longer than two polls that are held as long as possible.
const LAG: Duration = Duration::from_secs(3);

/// The variant whose requests keep the worker's VM at the feed: a VM without requests leaves it after ten seconds.
const WARM: &str = "curfew_warm";

/// Measures; nothing if the known token is not among the rows.
pub(super) fn measure(clock: WorkerClock, rows: &[Row], stack: &Stack, arguments: &Arguments) -> Result<Vec<Value>> {
    let named = |name: &str| rows.iter().find(|row| row.name == name);
    let (Some(bare), Some(warm)) = (named(BARE), named(WARM)) else { return Ok(Vec::new()) };
    let memory = resident_bytes(stack.envoy.process())?;
    log_out(stack, arguments.revocations)?;
    wait_for(stack, warm, arguments.revocations)?;
    let grown = resident_bytes(stack.envoy.process())?.saturating_sub(memory);
    let again = format!("{WARM}_{}", short(arguments.revocations));
    let variants = [variants::one(bare, "bare, again", stack)?, variants::one(warm, &again, stack)?];
    let mut bench = Bench::new(clock, variants.into())?;
    let burst = Duration::from_secs(arguments.seconds) / (rows.len().try_into().unwrap_or(u32::MAX) * arguments.rounds);
    bench.warm_up(burst)?;
    for _ in 0..arguments.rounds {
        bench.round(burst)?;
    }
    println!("\nwith {} revocations; Envoy's memory grew by {grown} bytes for all its VMs", arguments.revocations);
    Ok(report::table(&bench))
}

/// Logs out users without tokens, and does not wait for the workers.
fn log_out(stack: &Stack, users: u32) -> Result<()> {
    let (id, key) = (stack.settings.required("APP_ID")?, stack.settings.required("APP_KEY")?);
    let request = |user: u32| {
        let body = json!({"user_id": format!("nobody-{user}"), "app_id": id, "app_key": key}).to_string();
        format!(
            "POST /api/v2/lgt-all HTTP/1.1\r\nhost: curfew\r\ncontent-type: application/json\r\nprefer: respond-async\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let requests = (0..users).map(|user| request(user).into_bytes()).collect();
    let mut client = Client::connect(stack.control_plane.internal(), 64)?;
    let statuses = client.run(&mut Supply::once(requests, 1).burst(), PATIENCE)?;
    let done: u64 = [200, 202].iter().filter_map(|status| statuses.get(status)).sum();
    ensure!(done == u64::from(users), "not all users are logged out: {statuses:?}");
    Ok(())
}

/// Waits until the VM that wrote the gauge last has applied them, and then for as long as other VMs may lag behind it.
fn wait_for(stack: &Stack, warm: &Row, revocations: u32) -> Result<()> {
    let (start, mut client) = (Instant::now(), Client::connect(stack.envoy.listener(warm.listener)?, 1)?);
    let mut ask = || client.run(&mut Supply::once(warm.requests.iter().take(1).cloned().collect(), 1).burst(), LAG);
    let entries = || stack.envoy.metric("curfew_replica_entries")?.context("no gauge curfew_replica_entries");
    while entries()? < u64::from(revocations) {
        ensure!(start.elapsed() < PATIENCE, "the copy holds only {} revocations", entries()?);
        ask()?;
        thread::sleep(Duration::from_millis(200));
    }
    ask()?;
    thread::sleep(LAG);
    Ok(())
}

/// `100k` for 100,000.
fn short(number: u32) -> String {
    if number.is_multiple_of(1_000) { format!("{}k", number / 1_000) } else { number.to_string() }
}
