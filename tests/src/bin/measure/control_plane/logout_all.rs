//! The logout of all devices of a user with many known tokens.

use std::time::Instant;

use anyhow::{Result, ensure};
use curfew_testbed::control_plane::ControlPlane;
use curfew_testbed::http::Request;
use serde_json::{Value, json};

use super::requests::Requests;

/// Tokens in one registration.
const PORTION: usize = 500;

/// Registers the tokens, and logs all of them out with one of them.
pub(super) fn measure(requests: &Requests, server: &ControlPlane, count: usize) -> Result<Value> {
    let tokens: Vec<String> = (0..count).map(|_| requests.token("everywhere")).collect::<Result<_>>()?;
    for portion in tokens.chunks(PORTION) {
        let portion: Vec<&str> = portion.iter().map(String::as_str).collect();
        let answer = server.register(&portion)?;
        ensure!(answer.status == 200, "register: {} {}", answer.status, answer.text());
    }
    let own = requests.token("everywhere")?;
    let started = Instant::now();
    let answer = Request::post("/api/v2/logout-all-device").bearer(&own).send(server.public())?;
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    ensure!(answer.status == 200, "logout-all-device: {} {}", answer.status, answer.text());
    println!("{:<44}{milliseconds:>12.1}", format!("logout of all {count} tokens of a user, ms"));
    Ok(json!({"tokens": count, "milliseconds": milliseconds}))
}
