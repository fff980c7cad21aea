//! The cost of a request for Envoy's worker with Curfew, with Envoy's own `jwt_authn` and `ext_authz`, and with
//! neither.
//!
//! All variants are listeners of one Envoy with one worker, and get requests in short bursts in turn. The figures are
//! the worker's processor time and its ratio to that of the bare listener in the same round (see
//! `curfew_testbed::measure`).
//!
//! "Cold" tokens are unknown to the filter: they are far more than its smallest cache holds, and the counters show that
//! each is proven again. In strict mode the worker's copy decides about them too. Under `consistency: bounded` an
//! unknown token also raises a question, which costs more than the proof. To tell the two apart, the cold listener
//! names a cluster that does not exist, so that the host refuses the question at once, and admits such requests;
//! `curfew_unasked` shows the cost of that alone, and the variants named `_asked` have the real question.

mod latency;
mod listeners;
mod paths;
mod report;
mod revoked;
mod variants;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use curfew_testbed::envoy;
use curfew_testbed::measure::{Behind, Bench, WorkerClock, description, write_to_page};
use serde_json::{Value, json};

use crate::tokens::Keys;

/// The options.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How long all bursts take together.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Bursts of each variant that count. One more, before them, does not.
    #[arg(long, default_value_t = 15)]
    rounds: u32,
    /// The filter's `consistency`.
    #[arg(long, value_enum, default_value_t = Consistency::Strict)]
    consistency: Consistency,
    /// Then logs out so many users, and measures again with their revocations in the copy (strict mode only).
    #[arg(long, default_value_t = 100_000)]
    revocations: u32,
    /// Lets a real upstream answer, instead of Envoy itself.
    #[arg(long)]
    upstream: bool,
    /// Measures only variants with one of these in their names, beside the bare one.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Also writes the tables in docs/measurements.md.
    #[arg(long)]
    write: bool,
    /// Also measures latencies, at so many requests a second.
    #[arg(long)]
    rate: Option<u32>,
}

impl Arguments {
    /// The name of the file with the figures.
    pub(crate) const fn name(&self) -> &'static str {
        if self.upstream { "hot-path-upstream" } else { "hot-path" }
    }

    const fn command(&self) -> &'static str {
        if self.upstream { "cargo measure hot-path --upstream" } else { "cargo measure hot-path" }
    }
}

/// The filter's setting of this name.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Consistency {
    Bounded,
    Strict,
}

impl Consistency {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bounded => "bounded",
            Self::Strict => "strict",
        }
    }
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Value> {
    if arguments.rounds == 0 {
        bail!("--rounds must be at least 1");
    }
    if arguments.write && !(arguments.only.is_empty() && arguments.consistency == Consistency::Strict) {
        bail!("the page has all variants in strict mode");
    }
    let before = description();
    let keys = Keys::generate()?;
    let behind = if arguments.upstream { Behind::Upstream } else { Behind::DirectResponse };
    let running = listeners::start(&keys, arguments.consistency, behind)?;
    let clock = WorkerClock::of(running.stack.envoy.process())?;
    let pinned = clock.pin()?;
    let rows = variants::rows(&keys, &running.stack, arguments)?;
    let mut bench = Bench::new(clock, variants::of(&rows, &running.stack)?)?;
    let bursts = u32::try_from(rows.len())? * (arguments.rounds + 1);
    let burst = Duration::from_secs(arguments.seconds) / bursts;
    bench.warm_up(burst)?;
    let counted = paths::Counted::read(&running.stack)?;
    for _ in 0..arguments.rounds {
        bench.round(burst)?;
    }
    if arguments.consistency == Consistency::Strict {
        counted.hold(&rows, &bench, &running.stack)?;
    }
    let mut table = report::table(&bench);
    let compared = report::compared(&bench);
    let questions = running.stack.envoy.metric("curfew_checks_sent")?;
    println!(
        "\nmedians of {} bursts; load {}",
        arguments.rounds,
        before.get("load_average").cloned().unwrap_or_default()
    );
    if arguments.consistency == Consistency::Strict && arguments.revocations > 0 {
        let clock = WorkerClock::of(running.stack.envoy.process())?;
        table.extend(revoked::measure(clock, &rows, &running.stack, arguments)?);
    }
    let latencies = arguments.rate.map(|rate| latency::measure(&rows, &running.stack, rate)).transpose()?;
    if arguments.write {
        let text = report::page(&table, &compared, latencies.as_deref().unwrap_or_default(), arguments, &before);
        write_to_page(arguments.command(), &text)?;
    }
    Ok(json!({
        "command": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        "envoy": envoy::VERSION, "consistency": arguments.consistency.as_str(), "upstream": arguments.upstream,
        "rounds": arguments.rounds, "questions_sent": questions, "cores_of_their_own": pinned,
        "machine_before": before, "machine_after": description(),
        "variants": table, "compared": compared, "latency": latencies,
    }))
}
