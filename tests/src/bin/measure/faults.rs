//! The promise under faults: what each fault cost, and what it must never cost.

use anyhow::{Result, bail};
use clap::Args;
use curfew_testbed::faults::scenes::{ALL, Outcome, Scene};
use curfew_testbed::faults::{Load, Mesh, Promise, Setup};
use curfew_testbed::measure::description;
use curfew_testbed::workspace;
use serde_json::{Value, json};
use std::time::Duration;

/// How the scenes are played.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Plays only the scenes whose names contain this.
    scene: Option<String>,
    /// Plays each of them so many times.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// After them, goes on without a fault until so many logouts have returned 200 in all.
    #[arg(long, default_value_t = 0)]
    logouts: usize,
    /// Plays only the scenes of the shorter run.
    #[arg(long)]
    short: bool,
    /// Plays them with `consistency: bounded`, in which stale admits are found.
    #[arg(long)]
    bounded: bool,
}

impl Arguments {
    fn promise(&self) -> Promise {
        if self.bounded { Promise::BOUNDED_2S } else { Promise::STRICT }
    }
}

const LOAD: Load = Load { tokens: 10_000, users: 2, leavers: 16, pause: Duration::from_millis(1), ..Load::MESH };

const CALM: Duration = Duration::from_secs(3);

/// Plays the scenes, prints a row for each as it ends, and fails if the promise was broken.
pub(crate) fn measure(arguments: &Arguments) -> Result<Value> {
    let named = |scene: &&Scene| arguments.scene.as_ref().is_none_or(|name| scene.name.contains(name));
    let chosen: Vec<_> = ALL.iter().filter(named).filter(|scene| scene.short || !arguments.short).collect();
    if chosen.is_empty() {
        bail!(
            "no such scene; there are:\n{}",
            ALL.iter().map(|scene| format!("  {}\n", scene.name)).collect::<String>()
        );
    }
    println!(
        "{:<48}{:>9}{:>6}{:>10}{:>7}{:>7}{:>10}{:>8}{:>10}{:>13}",
        "fault", "logouts", "keys", "requests", "stale", "wrong", "s of 503", "failed", "p99, ms", "slowest, ms"
    );
    let mut outcomes = Vec::new();
    for trapping in [false, true] {
        let mut scenes: Vec<_> = chosen.iter().filter(|scene| scene.trapping == trapping).collect();
        let more = arguments.rounds.saturating_sub(1) * scenes.len();
        scenes = scenes.iter().copied().cycle().take(scenes.len() + more).collect();
        if scenes.is_empty() {
            continue;
        }
        let mut mesh = Mesh::start(Setup { trapping, promise: arguments.promise(), ..Setup::MESH })?;
        for scene in scenes {
            outcomes.push(shown(scene.play(&mut mesh, LOAD, CALM)?));
        }
        let nothing = ALL.iter().find(|scene| scene.name == "nothing" && !trapping);
        while let Some(nothing) = nothing.filter(|_| count(&outcomes) < arguments.logouts) {
            outcomes.push(shown(nothing.play(&mut mesh, LOAD, CALM)?));
        }
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let (stale, wrong) = (sum(|outcome| outcome.ledger.stale_admits), sum(|outcome| outcome.wrong_refusals));
    println!(
        "{:<48}{:>9}{:>6}{:>10}{stale:>7}{wrong:>7}",
        "in all",
        count(&outcomes),
        outcomes.iter().map(|outcome| outcome.ledger.key_change_times.len()).sum::<usize>(),
        sum(|outcome| outcome.ledger.requests())
    );
    let scenes: Vec<_> = outcomes.iter().map(row).collect();
    let numbers = json!({ "machine": description(), "logouts": count(&outcomes), "stale_admits": stale, "wrong_refusals": wrong, "scenes": scenes });
    if stale + wrong + sum(|outcome| outcome.ledger.strange) > 0 {
        bail!("the promise was broken: {numbers:#}");
    }
    let late: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_late()).map(|outcome| outcome.name).collect();
    if !late.is_empty() && !arguments.bounded {
        bail!("a logout took longer than the length of a lease and a tenth: {late:?}");
    }
    Ok(numbers)
}

fn count(outcomes: &[Outcome]) -> usize {
    outcomes.iter().map(|outcome| outcome.ledger.logout_times.len()).sum()
}

fn shown(outcome: Outcome) -> Outcome {
    let (slowest, p99) = outcome.ledger.slowest_logouts();
    println!(
        "{:<48}{:>9}{:>6}{:>10}{:>7}{:>7}{:>10.1}{:>8}{:>10.1}{:>13.1}",
        outcome.name,
        outcome.ledger.logout_times.len(),
        outcome.ledger.key_change_times.len(),
        outcome.ledger.requests(),
        outcome.ledger.stale_admits,
        outcome.wrong_refusals,
        outcome.ledger.seconds_unavailable(),
        outcome.ledger.failed_logouts(),
        p99.as_secs_f64() * 1e3,
        slowest.as_secs_f64() * 1e3,
    );
    if outcome.ledger.unanswered > 0 {
        workspace::progress(&format!("{} requests had no answer", outcome.ledger.unanswered));
    }
    outcome
}

fn row(outcome: &Outcome) -> Value {
    let (slowest, p99) = outcome.ledger.slowest_logouts();
    json!({
        "fault": outcome.name,
        "logouts": outcome.ledger.logout_times.len(),
        "key_changes": outcome.ledger.key_change_times.len(),
        "failed_key_changes": outcome.ledger.failed_key_changes,
        "slowest_key_change_ms": outcome.ledger.key_change_times.iter().max().map(|took| took.as_secs_f64() * 1e3),
        "refusals_by_key": outcome.ledger.refusals_by_key,
        "stale_by_key": outcome.ledger.stale_by_key,
        "failed_logouts": outcome.ledger.failed_logouts(),
        "requests": outcome.ledger.requests(),
        "right_refusals": outcome.ledger.right_refusals,
        "stale_admits": outcome.ledger.stale_admits,
        "wrong_refusals": outcome.wrong_refusals,
        "unanswered": outcome.ledger.unanswered,
        "seconds_of_503": outcome.ledger.seconds_unavailable(),
        "logout_p99_ms": p99.as_secs_f64() * 1e3,
        "slowest_logout_ms": slowest.as_secs_f64() * 1e3,
    })
}
