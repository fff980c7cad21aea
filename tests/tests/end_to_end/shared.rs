//! The stack that most stories share, and the requests that they often send.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use curfew_testbed::http::{Answer, Request};
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{ALGORITHMS, ISSUER, Signer, claims, jwks, signers, with};
use serde_json::json;

/// The issuer with keys of every algorithm.
pub(crate) const KEYED_ISSUER: &str = "https://keys.example";

/// `max_staleness` of the shared stack.
pub(crate) const BOUND: Duration = Duration::from_secs(1);

/// How long an event without a promise of its own may take, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Shared {
    pub(crate) stack: Stack,
    pub(crate) demo: Signer,
    pub(crate) keyed: BTreeMap<&'static str, Signer>,
}

/// Started by the first story that needs it. The kernel ends its children with this process.
pub(crate) fn shared() -> &'static Shared {
    static SHARED: OnceLock<Result<Shared>> = OnceLock::new();
    match SHARED.get_or_init(start) {
        Ok(shared) => shared,
        Err(error) => panic!("the shared stack does not start: {error:#}"),
    }
}

fn start() -> Result<Shared> {
    let mut plan = Plan::shipped()?;
    // The stories would use up one another's allowed failures.
    plan.settings.set("CURFEW_FAILED_LOGOUTS_PER_MINUTE", "0");
    plan.settings.set("CURFEW_FAILED_LOGOUTS_PER_TOKEN", "0");
    let secret = plan.settings.required("JWT_SECRET")?.to_owned();
    let keyed = signers(&ALGORITHMS)?;
    let issuers = json!([
        {"issuer": ISSUER, "secret": secret, "algorithm": "HS256"},
        {"issuer": KEYED_ISSUER, "jwks": jwks(keyed.values())},
    ]);
    let plan = plan.bounded("1s")?.with_issuers(issuers)?.change_filter(|filter| {
        if let Some(rules) = filter["rules"].as_array_mut() {
            rules.push(json!({"prefix": "/public/", "action": "optional"}));
        }
    })?;
    Ok(Shared { stack: plan.start()?, demo: Signer::from_secret(&secret), keyed })
}

impl Shared {
    /// A registered token of the demo's issuer.
    pub(crate) fn log_in(&self, user: &str) -> Result<String> {
        let token = self.demo.sign(&claims(user))?;
        self.register(&token)?;
        Ok(token)
    }

    pub(crate) fn register(&self, token: &str) -> Result<()> {
        let answer = self.stack.control_plane.register(&[token])?;
        ensure!(answer.status == 200, "registration: {} {}", answer.status, answer.text());
        Ok(())
    }

    /// A token of the issuer with keys.
    pub(crate) fn keyed_token(&self, algorithm: &str, user: &str) -> Result<String> {
        let signer = self.keyed.get(algorithm).with_context(|| format!("no signer for {algorithm}"))?;
        signer.sign(&with(claims(user), json!({"iss": KEYED_ISSUER})))
    }

    pub(crate) fn send(&self, request: &Request) -> Answer {
        self.stack.send(request).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// `GET /orders` with a token.
    pub(crate) fn use_token(&self, token: &str) -> Answer {
        self.send(&Request::get("/orders").bearer(token))
    }

    pub(crate) fn log_out(&self, token: &str) -> Answer {
        self.send(&Request::post("/api/v2/logout").bearer(token))
    }
}

/// Asserts the promise of bounded mode: after the bound, only refusals, on any worker.
pub(crate) fn dies_within_the_bound(stack: &Stack, token: &str, logged_out: Instant, bound: Duration) -> Result<()> {
    thread::sleep((logged_out + bound).saturating_duration_since(Instant::now()));
    for _ in 0..20 {
        let answer = stack.send(&Request::get("/orders").bearer(token))?;
        if (answer.status, answer.code().as_str()) != (401, "token_revoked") {
            bail!("{:?} after its logout: {} {}", logged_out.elapsed(), answer.status, answer.text());
        }
    }
    Ok(())
}

/// Status and code, for short assertions.
pub(crate) fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

/// Tells clients to stop, also if the story fails: it must not leave them running.
pub(crate) struct StopAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
