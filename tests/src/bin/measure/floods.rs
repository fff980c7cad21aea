//! The cost of a flood: processor time of Envoy's worker for each request that is refused, and for tokens that are new
//! to it, beside Envoy's own `jwt_authn` with the same keys and tokens; and the state of the caches after a flood.
//!
//! The filter is in strict mode, its default, and follows the feed of a real control plane: while its lease runs, its
//! own copy of the revocations decides, and it asks about no token, new or not.

mod caches;
mod kinds;
mod report;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::measure::{Behind, Bench, Cost, Guard, Supply, Variant, WorkerClock, description, listener};
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::{envoy, wasm};
use serde_json::{Value, json};

use crate::tokens::Keys;
use kinds::{Kind, kinds};

const BARE: &str = "bare";
const CURFEW: &str = "curfew";
const JWT_AUTHN: &str = "jwt_authn";
const JWT_AUTHN_CACHE: &str = "jwt_authn, cache";

/// Bursts of each variant that are counted. One more burst, before them, is not.
const ROUNDS: u32 = 11;

/// Measures for about `seconds`, and sends a flood of this many tokens through the caches.
pub(crate) fn measure(seconds: u64, flood: usize) -> Result<Value> {
    let before = description();
    let keys = Keys::generate()?;
    let stack = start(&keys)?;
    let clock = WorkerClock::of(stack.envoy.process())?;
    let pinned = clock.pin()?;
    let kinds = kinds(&keys, &stack, usize::try_from(ROUNDS)? + 1)?;
    let mut bench = Bench::new(clock, variants(&stack, &kinds)?)?;
    let bursts = u32::try_from(bench.costs().len())? * (ROUNDS + 1);
    let burst = Duration::from_secs(seconds) / bursts.max(1);
    bench.warm_up(burst)?;
    for _ in 0..ROUNDS {
        bench.round(burst)?;
    }
    let rows = table(&bench);
    let asked = asked(&stack)?;
    println!(
        "\nProcessor time of Envoy's worker thread, medians of {ROUNDS} bursts; other programs ran too (load {}).",
        before.get("load_average").cloned().unwrap_or_default()
    );
    let caches = caches::measure(&stack, &keys, bench.clock(), flood)?;
    println!("\n{}", report::markdown(&rows));
    Ok(json!({
        "command": format!("cargo measure floods --seconds {seconds} --flood {flood}"),
        "envoy": envoy::VERSION, "rounds": ROUNDS, "cores_of_their_own": pinned,
        "machine_before": before, "machine_after": description(),
        "consistency": "strict", "share_of_questions": asked, "variants": rows, "caches": caches,
    }))
}

fn start(keys: &Keys) -> Result<Stack> {
    let plan = Plan::shipped()?.with_issuers(keys.issuers())?;
    let mut plan = plan.change_filter(|filter| filter["cache_bytes"] = caches::CACHE_BYTES.into())?;
    plan.workers = 1;
    plan.bootstrap.load_filter_from(&wasm::build()?)?;
    let guards = [
        (BARE, Guard::Nobody),
        (CURFEW, Guard::Curfew),
        (JWT_AUTHN, Guard::JwtAuthn(keys.jwt_authn(false))),
        (JWT_AUTHN_CACHE, Guard::JwtAuthn(keys.jwt_authn(true))),
    ];
    for (name, guard) in guards {
        let listener = listener(&plan.bootstrap, name, &guard, Behind::DirectResponse)?;
        plan.bootstrap.add_listener(listener)?;
    }
    plan.start()
}

/// Every kind of request for every guard that supports it, the bare listener first.
fn variants(stack: &Stack, kinds: &[Kind]) -> Result<Vec<Variant>> {
    let bare = Supply::repeated(kinds::good_requests(kinds));
    let mut variants = vec![Variant::new("a good token", BARE, stack.envoy.listener(BARE)?, bare, kinds::ADMITTED)?];
    for kind in kinds {
        let guards = [(CURFEW, Some(kind.curfew)), (JWT_AUTHN, kind.jwt_authn), (JWT_AUTHN_CACHE, kind.jwt_authn)];
        for (guard, expected) in guards {
            if let Some(expected) = expected {
                let address = stack.envoy.listener(guard)?;
                variants.push(Variant::new(kind.name, guard, address, kind.supply(), expected)?);
            }
        }
    }
    Ok(variants)
}

/// The share of decisions for which the filter asked the control plane: at the start, and whenever it had no lease.
fn asked(stack: &Stack) -> Result<f64> {
    let count = |name| stack.envoy.metric(name)?.with_context(|| format!("no counter {name}"));
    let (asked, decided) = (count("curfew_checks_sent")?, count("curfew_replica_decided")?);
    ensure!(
        asked.saturating_mul(100) <= decided,
        "without a lease: {asked} questions, {decided} decided by the replica"
    );
    Ok(asked as f64 / asked.saturating_add(decided).max(1) as f64)
}

fn table(bench: &Bench) -> Vec<Value> {
    println!(
        "{:<34}{:<18}{:>8}{:>9}{:>8}{:>14}{:>10}",
        "", "", "cpu us", "added us", "ratio", "(p25 - p75)", "requests"
    );
    let row = |(variant, cost): (&Variant, Cost)| {
        let Cost { microseconds, added, ratio, requests, .. } = cost;
        let spread = format!("({:.2} - {:.2})", ratio.low, ratio.high);
        let (name, guard) = (&variant.name, &variant.guard);
        let (total, more, times) = (microseconds.median, added.median, ratio.median);
        println!("{name:<34}{guard:<18}{total:>8.1}{more:>9.1}{times:>8.2}{spread:>14}{requests:>10}");
        json!({
            "variant": name, "guard": guard, "cpu_us": microseconds.json(), "added_us": added.json(),
            "ratio_to_bare": ratio.json(), "requests": requests, "per_second_and_core": (1e6 / total).round(),
        })
    };
    bench.costs().into_iter().map(row).collect()
}
