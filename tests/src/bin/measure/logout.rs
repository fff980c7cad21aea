//! Logouts through the whole stack: how long the call takes, and how long the token lives after it.
//!
//! The token is used without a pause until it is refused, on new connections, so both workers of Envoy are asked. In
//! bounded mode the time to the first refusal lies anywhere between 0 and `max_staleness`, depending on when each worker
//! last asked.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use curfew_testbed::http::Request;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use serde_json::{Value, json};

/// Measures this many logouts.
pub(crate) fn measure(rounds: usize) -> Result<Value> {
    let plan = Plan::shipped()?;
    let bound = plan.bootstrap.filter()?.get("max_staleness").cloned();
    let stack = plan.start()?;
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET")?);
    let (mut logouts, mut refusals) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (logout, refusal) = round(&stack, &signer)?;
        logouts.push(logout);
        refusals.push(refusal);
    }
    println!("{:<34}{:>12}{:>12}{:>12}", format!("{rounds} logouts, milliseconds"), "p50", "p99", "max");
    let logout = row("logout call", &mut logouts);
    let refusal = row("200 to first refusal", &mut refusals);
    Ok(
        json!({"mode": "bounded", "max_staleness": bound, "rounds": rounds, "logout_ms": logout, "first_refusal_ms": refusal}),
    )
}

fn round(stack: &Stack, signer: &Signer) -> Result<(Duration, Duration)> {
    let token = signer.sign(&claims("alice"))?;
    let use_it = || stack.send(&Request::get("/").bearer(&token));
    // Enough requests for both workers to have a cached answer.
    for _ in 0..8 {
        use_it()?;
    }
    let start = Instant::now();
    let answer = stack.send(&Request::post("/api/v2/logout").bearer(&token))?;
    let logout = start.elapsed();
    if answer.status != 200 {
        bail!("logout: {} {}", answer.status, answer.text());
    }
    let done = Instant::now();
    while use_it()?.status == 200 {
        if done.elapsed() > Duration::from_secs(60) {
            bail!("a token lived for a minute after its logout");
        }
    }
    Ok((logout, done.elapsed()))
}

fn row(name: &str, times: &mut [Duration]) -> Value {
    times.sort();
    let at = |percent: usize| {
        let position = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(position).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    let (p50, p99, most) = (at(50), at(99), at(100));
    println!("{name:<34}{p50:>12.2}{p99:>12.2}{most:>12.2}");
    json!({"p50": p50, "p99": p99, "max": most})
}
