//! How long a change of an issuer's keys takes to every worker, and what keys from the control plane add to the start of a
//! worker.
//!
//! One control plane on SQLite fetches the keys from a URL, where this process publishes them. Envoys have the shipped
//! configuration with the issuer's name and nothing else about keys.
//!
//! 1. **Rotation.** Two Envoys of two workers each are under light load over connections that stay open and reach every worker.
//!    The only key is replaced by another one, and the control plane is told to fetch. Half of the clients send the token of the
//!    old key all the time, and the others that of the new one as soon as the changed set was handed out. Both times count from
//!    that moment: the publisher's answer to the control plane, before it is on its way. Each round is printed.
//! 2. **Start.** Envoys are started one after the other, and each gets one request with a good token. The issuer has 50 RSA
//!    keys. What passes between Envoy and the control plane passes through a relay that notes when the answer with the keys
//!    has passed. The same with the same keys in the filter's configuration shows what a first request takes anyway.

mod publisher;
mod rotation;
mod scene;
mod start;
mod tap;

use anyhow::Result;
use clap::Args;
use curfew_testbed::envoy;
use curfew_testbed::measure::{date, description, write_to_page};
use serde_json::{Value, json};

use scene::Scene;

const COMMAND: &str = "cargo measure keys";

/// How much is measured.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Rotations, one after the other.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// Starts of an Envoy, with keys from the control plane and with the same keys in its configuration.
    #[arg(long, default_value_t = 10)]
    starts: usize,
    /// Also writes the table in docs/measurements.md.
    #[arg(long)]
    write: bool,
}

/// Measures both, prints the table, and with `write` writes it into the page of measurements.
pub(crate) fn measure(arguments: &Arguments) -> Result<Value> {
    let before = description();
    let scene = Scene::start()?;
    let rotations = rotation::measure(&scene, arguments.rounds)?;
    let starts = start::measure(&scene, arguments.starts)?;
    let rows = [
        ("a dropped key: until no worker of two Envoys admits its token", &rotations.refused),
        ("a new key: until all workers admit its token", &rotations.admitted),
        ("the answer to `curfew keys refresh`", &rotations.answered),
        (
            "an Envoy just started: from the answer with the keys until its first request is admitted",
            &starts.after_keys,
        ),
        ("its whole first request", &starts.handed_out),
        ("the same with these keys in the configuration", &starts.inline),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(name, times)| (name, Figures::of(times))).collect();
    let line = |(name, figures): &(&str, Figures)| format!("| {name} | {:.1} | {:.1} |", figures.median, figures.most);
    let lines: Vec<_> = rows.iter().map(line).collect();
    let load = before.get("load_average").cloned().unwrap_or_default();
    let processor = before.get("processor").and_then(Value::as_str).unwrap_or("?");
    let table = format!(
        "| milliseconds | median | most |\n|---|---|---|\n{}\n\n\
         Envoy {}, {}, {processor}, load {load} before; {} rotations, {} starts with {} keys. {} of {} requests with a new \
         key's token were refused before all workers had the key.",
        lines.join("\n"),
        envoy::VERSION,
        date(),
        arguments.rounds,
        arguments.starts,
        start::KEYS,
        rotations.early_refusals,
        rotations.new_requests,
    );
    println!("{table}");
    if arguments.write {
        write_to_page(COMMAND, &table)?;
    }
    let figures: serde_json::Map<_, _> =
        rows.iter().map(|(name, figures)| ((*name).to_owned(), figures.json())).collect();
    Ok(json!({
        "command": COMMAND, "machine_before": before, "machine_after": description(), "envoy": envoy::VERSION,
        "rounds": arguments.rounds, "starts": arguments.starts, "keys": start::KEYS, "milliseconds": figures,
        "new_requests": rotations.new_requests, "early_refusals": rotations.early_refusals,
        "old_unavailable": rotations.unavailable,
    }))
}

/// Milliseconds.
struct Figures {
    median: f64,
    most: f64,
    /// In the order of the rounds.
    all: Vec<f64>,
}

impl Figures {
    fn of(times: &[std::time::Duration]) -> Self {
        let milliseconds: Vec<_> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        let most = milliseconds.iter().copied().fold(0.0, f64::max);
        let median = curfew_testbed::measure::spread(milliseconds.iter().copied()).median;
        Self { median, most, all: milliseconds }
    }

    fn json(&self) -> Value {
        json!({"median": self.median, "most": self.most, "all": self.all})
    }
}
