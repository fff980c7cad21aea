//! Logouts through the whole stack, with two Envoys of two workers each: how long the call takes, and whether a request that
//! is sent after its 200 is admitted anywhere. In strict mode none may be.
//!
//! Requests after the 200 go to both Envoys on new connections, so all four workers are met; the first one leaves as soon as
//! the answer is there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use curfew_testbed::envoy::{self, Envoy};
use curfew_testbed::http::Request;
use curfew_testbed::measure::description;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use serde_json::{Value, json};

/// Logouts that are under way at a time, at most.
const CLIENTS: usize = 16;

/// Requests to each Envoy after each 200.
const PROBES: usize = 4;

struct Scene {
    stack: Stack,
    other: Envoy,
    signer: Signer,
}

/// What logouts at one pace came to.
#[derive(Default)]
struct Taken {
    logouts: Vec<Duration>,
    admitted: Vec<Duration>,
    probes: usize,
}

/// Measures this many logouts at each pace.
pub(crate) fn measure(rounds: usize) -> Result<Value> {
    let scene = Scene::start()?;
    let before = description();
    println!("{:<22}{:>9}{:>9}{:>9}{:>9}   admitted after the 200", "milliseconds", "p50", "p99", "max", "a second");
    let paces = [("1 a second", Some(1)), ("100 a second", Some(100)), ("as fast as it goes", None)];
    let rows: Result<Vec<Value>> = paces.iter().map(|(name, rate)| scene.row(name, *rate, rounds)).collect();
    Ok(json!({
        "command": format!("cargo measure logout --rounds {rounds}"),
        "mode": "strict", "envoys": 2, "workers_each": 2, "envoy": envoy::VERSION,
        "machine_before": before, "machine_after": description(), "rows": rows?,
    }))
}

impl Scene {
    fn start() -> Result<Self> {
        let stack = Plan::shipped()?.start()?;
        let other = stack.another_envoy()?;
        let signer = Signer::from_secret(stack.settings.required("JWT_SECRET")?);
        Ok(Self { stack, other, signer })
    }

    fn envoys(&self) -> [SocketAddr; 2] {
        [self.stack.address(), self.other.address()]
    }

    fn token(&self) -> Result<String> {
        self.signer.sign(&claims("alice"))
    }

    /// Waits until all four workers decide by their copies.
    fn warm_up(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let asked = self.asked()?;
            for address in self.envoys().repeat(20) {
                Request::get("/").bearer(&self.token()?).send(address)?;
            }
            if self.asked()? == asked {
                return Ok(());
            }
            ensure!(begun.elapsed() < Duration::from_secs(60), "the workers still ask");
        }
    }

    fn asked(&self) -> Result<u64> {
        let of = |envoy: &Envoy| Ok::<_, anyhow::Error>(envoy.metric("curfew_checks_sent")?.unwrap_or(0));
        Ok(of(&self.stack.envoy)? + of(&self.other)?)
    }

    fn row(&self, name: &str, rate: Option<u32>, rounds: usize) -> Result<Value> {
        self.warm_up()?;
        let begun = Instant::now();
        let Taken { mut logouts, admitted, probes } = self.pace(rate, rounds)?;
        let a_second = logouts.len() as f64 / begun.elapsed().as_secs_f64();
        logouts.sort();
        let at = |percent: usize| {
            let position = (logouts.len() * percent).div_ceil(100).saturating_sub(1);
            logouts.get(position).copied().unwrap_or_default().as_secs_f64() * 1e3
        };
        let (p50, p99, most) = (at(50), at(99), at(100));
        let latest = admitted.iter().max().copied().unwrap_or_default().as_secs_f64() * 1e3;
        println!("{name:<22}{p50:>9.2}{p99:>9.2}{most:>9.2}{a_second:>9.1}   {} of {probes}", admitted.len());
        Ok(json!({
            "pace": name, "logouts": logouts.len(), "a_second": a_second,
            "logout_ms": {"p50": p50, "p99": p99, "max": most},
            "requests_after": probes, "admitted_after": admitted.len(), "last_admitted_ms": latest,
        }))
    }

    /// Begins a logout whenever its time has come, or as soon as a client is free.
    fn pace(&self, rate: Option<u32>, rounds: usize) -> Result<Taken> {
        let (next, taken, begun) = (AtomicUsize::new(0), Mutex::new(Taken::default()), Instant::now());
        let client = || -> Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= rounds {
                    return Ok(());
                }
                if let (Some(rate), Ok(number)) = (rate, u32::try_from(number)) {
                    let at = begun + Duration::from_secs(1) * number / rate;
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                }
                self.log_out(&taken)?;
            }
        };
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
            clients
                .into_iter()
                .try_for_each(|client| client.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked"))))
        })?;
        Ok(taken.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn log_out(&self, taken: &Mutex<Taken>) -> Result<()> {
        let token = self.token()?;
        for address in self.envoys() {
            let answer = Request::get("/").bearer(&token).send(address)?;
            ensure!(answer.status == 200, "a good token: {} {}", answer.status, answer.text());
        }
        let begun = Instant::now();
        let answer = Request::post("/api/v2/logout").bearer(&token).send(self.stack.address())?;
        let done = Instant::now();
        ensure!(answer.status == 200, "logout: {} {}", answer.status, answer.text());
        let mut admitted = Vec::new();
        for address in self.envoys().repeat(PROBES) {
            if Request::get("/").bearer(&token).send(address)?.status == 200 {
                admitted.push(done.elapsed());
            }
        }
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.logouts.push(done - begun);
        taken.probes += 2 * PROBES;
        taken.admitted.extend(admitted);
        Ok(())
    }
}
