//! The size of the module, the time that Envoy takes to start its VM, and the memory of tokens in a running Envoy.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::bootstrap::Bootstrap;
use curfew_testbed::measure::{Client, Supply, date, description, resident_bytes, spread, write_to_page};
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::{envoy, wasm};
use serde_json::{Value, json};

use crate::tokens::{Keys, good, requests};

const COMMAND: &str = "cargo measure sizes";

/// How often Envoy is started to measure the start of a VM.
const STARTS: usize = 5;

const WORKERS: u32 = 2;

const PATIENCE: Duration = Duration::from_secs(300);

/// Measures with this many tokens, prints the table, and with `write` writes it into the page of measurements.
pub(crate) fn measure(tokens: usize, write: bool) -> Result<Value> {
    let module = wasm::build()?;
    let (raw, packed) = (std::fs::metadata(&module)?.len(), gzipped(&module)?);
    let start = vm_start(&module)?;
    let keys = Keys::generate()?;
    let stack = stack(&keys, &module)?;
    let process = stack.envoy.process();
    send(&stack, &good(&keys.hs256, 1)?)?;
    let before = resident_bytes(process)?;
    send(&stack, &good(&keys.hs256, tokens)?)?;
    let after = resident_bytes(process)?;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let table = format!(
        "| | |\n|---|---|\n\
         | the module, raw and packed by `gzip -9` | {:.2} MB, {:.2} MB |\n\
         | start of the first VM: what `envoy --mode validate` takes longer with the filter | {} ms |\n\
         | Envoy's memory with {WORKERS} workers before {tokens} tokens, and after | {:.0} MB, {:.0} MB |\n\n\
         Envoy {}, {}, {}.",
        megabytes(raw),
        megabytes(packed),
        start.as_millis(),
        megabytes(before),
        megabytes(after),
        envoy::VERSION,
        date(),
        description().get("processor").and_then(Value::as_str).unwrap_or("?"),
    );
    println!("{table}");
    if write {
        write_to_page(COMMAND, &table)?;
    }
    Ok(json!({
        "command": COMMAND, "machine": description(), "envoy": envoy::VERSION, "module_bytes": raw, "gzip_bytes": packed,
        "vm_start_ms": start.as_millis() as f64, "tokens": tokens, "workers": WORKERS,
        "envoy_resident_bytes": {"before": before, "after": after},
    }))
}

fn gzipped(module: &Path) -> Result<u64> {
    let output = Command::new("gzip").args(["-9", "-c"]).arg(module).stderr(Stdio::inherit()).output();
    let output = output.context("gzip does not run")?;
    ensure!(output.status.success(), "gzip fails");
    Ok(output.stdout.len() as u64)
}

/// Medians of runs that only check a configuration, with the filter and without.
fn vm_start(module: &Path) -> Result<Duration> {
    let mut with = Bootstrap::shipped()?;
    with.load_filter_from(module)?;
    let mut without = with.clone();
    without.remove_filter()?;
    let directory = tempfile::tempdir()?;
    let time = |bootstrap: &Bootstrap| -> Result<f64> {
        let start = Instant::now();
        let validation = envoy::validate(bootstrap, directory.path())?;
        ensure!(validation.accepted, "Envoy refuses its configuration: {}", validation.output);
        Ok(start.elapsed().as_secs_f64())
    };
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        times.0.push(time(&with)?);
        times.1.push(time(&without)?);
    }
    let longer = spread(times.0).median - spread(times.1).median;
    Ok(Duration::from_secs_f64(longer.max(0.0)))
}

fn stack(keys: &Keys, module: &Path) -> Result<Stack> {
    let mut plan = Plan::shipped()?.with_issuers(keys.issuers())?;
    plan.workers = WORKERS;
    plan.bootstrap.load_filter_from(module)?;
    plan.start()
}

/// Sends each token once, over enough connections for both workers to get some.
fn send(stack: &Stack, tokens: &[String]) -> Result<()> {
    let mut client = Client::connect(stack.address(), 16)?;
    let statuses = client.run(&mut Supply::once(requests(tokens), 1).burst(), PATIENCE)?;
    ensure!(statuses.get(&200).copied() == u64::try_from(tokens.len()).ok(), "not all are admitted: {statuses:?}");
    Ok(())
}
