//! Keys that the control plane fetches, from an issuer whose answers the story decides.

mod away;
mod files;
mod flood;
mod removed;
mod returning;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use curfew_testbed::http::{Answer, Request};
use curfew_testbed::key_server::KeyServer;
use curfew_testbed::stack::{Plan, Stack, runs};
use curfew_testbed::tokens::{Signer, claims, with};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::shared::PATIENCE;

const ISSUER: &str = "https://login.example.com";

/// A control plane's file of issuers, which a story can change.
struct Issuers {
    directory: TempDir,
}

impl Issuers {
    fn new(issuers: &Value) -> Self {
        let new = Self { directory: tempfile::tempdir_in(runs().unwrap()).unwrap() };
        new.write(issuers);
        new
    }

    /// The next start of the control plane reads these.
    fn write(&self, issuers: &Value) {
        std::fs::write(self.path("issuers.json"), issuers.to_string()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The shipped demo with these issuers at the control plane. The filter knows their names, and gets the keys of all.
    fn plan(&self, names: &[&str]) -> Plan {
        let mut plan = Plan::shipped().unwrap();
        plan.settings.unset("JWT_SECRET");
        plan.settings.unset("CURFEW_ISSUER");
        plan.settings.set("CURFEW_ISSUERS_FILE", self.path("issuers.json").to_string_lossy());
        let issuers: Vec<_> = names.iter().map(|name| json!({"issuer": name})).collect();
        let plan = plan.change_filter(|filter| {
            filter["issuers"] = issuers.into();
            // On a busy machine a call may take longer than half a second.
            filter["control_plane"]["timeout"] = "5s".into();
        });
        plan.unwrap()
    }
}

/// One issuer that is asked at a URL.
fn asked(issuer: &KeyServer) -> Issuers {
    Issuers::new(&json!([{"issuer": ISSUER, "jwks_url": issuer.url()}]))
}

fn token(signer: &Signer, issuer: &str) -> String {
    signer.sign(&with(claims("alice"), json!({"iss": issuer}))).unwrap()
}

/// The token with another header, so that its signature does not fit.
fn with_kid(token: &str, kid: &str) -> String {
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}).to_string();
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", curfew_testbed::tokens::base64(header.as_bytes()))
}

fn get(stack: &Stack, path: &str, token: &str) -> Answer {
    stack.send(&Request::get(path).bearer(token)).unwrap()
}

fn until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    begun.elapsed()
}
