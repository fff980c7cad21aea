//! How long a logout takes in a healthy mesh of two Envoys with two workers each, and how much of that is waiting for
//! the workers. Control planes are as `cargo build --release` makes them.
//!
//! 1. Without any worker that follows the feed, because no request has come yet: a logout is its commit alone.
//! 2. One logout after the other while each token is in use at both Envoys without a pause: this shows when the last
//!    request was admitted.
//! 3. At a pace, and as fast as the callers can, each with a look at both Envoys right after the 200. The control planes
//!    count how long the barrier takes of these, from a commit to the last worker's acknowledgement.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use curfew_testbed::control_plane::Profile;
use curfew_testbed::faults::pace::{Pace, last_admission, log_out_at};
use curfew_testbed::faults::{Mesh, Setup};
use curfew_testbed::http::Request;
use curfew_testbed::measure::{Histogram, Waits, description};
use serde_json::{Map, Value, json};

/// How long logouts are not counted, after the first requests have come to the workers. Envoy compiles the filter's module once
/// more while it runs, and on a machine with few cores that takes the processor from the workers for some seconds: they
/// acknowledge tens of milliseconds later.
const WARM_UP: Duration = Duration::from_secs(10);

/// How much is measured.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Logouts one after the other, a second apart.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// How long logouts go on at each other pace.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// With control planes as tests build them, which takes no time to build.
    #[arg(long)]
    quick: bool,
}

/// Measures with one control plane on SQLite and with two on PostgreSQL and Redis.
pub(crate) fn measure(arguments: &Arguments) -> Result<Value> {
    let mut all = Map::new();
    all.insert("machine".to_owned(), json!(description()));
    let setups = [
        ("one control plane, SQLite", Setup::SINGLE),
        ("two control planes, PostgreSQL and Redis", Setup { keyed: false, ..Setup::MESH }),
    ];
    for (name, setup) in setups {
        println!("{name}\n{:<34}{:>9}{:>10}{:>10}{:>10}", "  logouts, milliseconds", "count", "p50", "p99", "max");
        let profile = if arguments.quick { Profile::Test } else { Profile::Release };
        let mesh = Mesh::start(Setup { profile, ..setup })?;
        all.insert(name.to_owned(), in_mesh(&mesh, arguments)?);
    }
    Ok(Value::Object(all))
}

fn in_mesh(mesh: &Mesh, arguments: &Arguments) -> Result<Value> {
    let pace =
        |per_second, callers, used| Pace { per_second, callers, time: Duration::from_secs(arguments.seconds), used };
    let alone = at_pace(mesh, "no worker, 100 a second", pace(Some(100), 16, false))?;
    let alone_fast = at_pace(mesh, "no worker, 16 callers", pace(None, 16, false))?;
    let mut logouts = Vec::new();
    let mut margins = Vec::new();
    let mut slowest = Slowest::default();
    let began = Instant::now();
    while began.elapsed() < WARM_UP {
        last_admission(mesh)?;
    }
    for round in 1..=arguments.rounds {
        std::thread::sleep(Duration::from_secs(1));
        let before = waits(mesh)?;
        let (logout, margin) = last_admission(mesh)?;
        if logout > slowest.took {
            slowest = Slowest { took: logout, round, waits: &waits(mesh)? - &before };
        }
        logouts.push(logout.as_secs_f64());
        margins.push(margin);
    }
    let one = row("one a second, token in use", &mut logouts);
    println!("    the slowest: {slowest}");
    let last = row("  last admission began before 200", &mut margins);
    if margins.iter().any(|margin| *margin <= 0.0) {
        bail!("a request that began after the 200 was admitted: {margins:?}");
    }
    let (paced, paced_barrier) = with_barrier(mesh, "100 a second", pace(Some(100), 16, true))?;
    let (fast, fast_barrier) = with_barrier(mesh, "16 callers, without a pause", pace(None, 16, true))?;
    let within = margins.first().copied().unwrap_or_default() * 1e3;
    println!("  the latest admitted request of all began {within:.2} ms before the 200 of its logout");
    Ok(json!({
        "slowest_one_a_second": slowest.to_string(),
        "no_worker_100_a_second": alone, "no_worker_16_callers": alone_fast, "one_a_second": one,
        "last_admission_before_200": last, "100_a_second": paced, "16_callers": fast,
        "100_a_second_barrier": paced_barrier, "16_callers_barrier": fast_barrier,
    }))
}

/// The slowest of some logouts.
#[derive(Default)]
struct Slowest {
    took: Duration,
    /// Which of them it was, counted from one.
    round: usize,
    waits: Waits,
}

impl fmt::Display for Slowest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { took, round, waits } = self;
        let (took, barrier) = (took.as_secs_f64() * 1e3, waits.seconds() * 1e3);
        write!(formatter, "round {round}, {took:.1} ms, {barrier:.1} ms of it in the barrier ({waits})")
    }
}

/// As [`at_pace`], with the time that the control planes waited for the workers.
fn with_barrier(mesh: &Mesh, name: &str, pace: Pace) -> Result<(Value, Value)> {
    let (before, earlier) = (propagation(mesh)?, waits(mesh)?);
    let logouts = at_pace(mesh, name, pace)?;
    let (since, outcomes) = (propagation(mesh)? - before, &waits(mesh)? - &earlier);
    let at = |part| since.quantile(part).unwrap_or_default() * 1e3;
    let (commits, p50, p99) = (since.count(), at(0.5), at(0.99));
    println!("{:<34}{commits:>9}{p50:>10.2}{p99:>10.2}", "    commit to the last worker");
    println!("    outcomes: {outcomes}");
    Ok((logouts, json!({"commits": commits, "p50_ms": p50, "p99_ms": p99, "outcomes": outcomes.to_string()})))
}

/// How the waits have ended so far, at all control planes.
fn waits(mesh: &Mesh) -> Result<Waits> {
    let mut all = Waits::default();
    for plane in &mesh.planes {
        all += Waits::read(&plane.process.ask(Request::get("/metrics"))?.text());
    }
    Ok(all)
}

/// From a commit to the moment when its callers may get their answer, at all control planes.
fn propagation(mesh: &Mesh) -> Result<Histogram> {
    let mut all = Histogram::default();
    for plane in &mesh.planes {
        let page = plane.process.ask(Request::get("/metrics"))?.text();
        all += Histogram::read(&page, "curfew_propagation_seconds");
    }
    Ok(all)
}

fn at_pace(mesh: &Mesh, name: &str, pace: Pace) -> Result<Value> {
    let ledger = log_out_at(mesh, pace)?;
    if ledger.stale_admits + ledger.wrong_refusals > 0 || !ledger.unavailable.is_empty() {
        bail!("{name}: {ledger:?}");
    }
    let mut times: Vec<_> = ledger.logout_times.iter().map(Duration::as_secs_f64).collect();
    Ok(row(name, &mut times))
}

/// Prints and returns the figures of some times, given in seconds, as milliseconds.
fn row(name: &str, times: &mut [f64]) -> Value {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let position = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(position).copied().unwrap_or_default() * 1e3
    };
    let (count, p50, p99, most) = (times.len(), at(50), at(99), at(100));
    println!("{:<34}{count:>9}{p50:>10.2}{p99:>10.2}{most:>10.2}", format!("  {name}"));
    json!({"count": count, "p50_ms": p50, "p99_ms": p99, "max_ms": most})
}
