//! The first request of an Envoy that has just started, where the issuer has many keys.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::http::Request;
use curfew_testbed::tokens::{ISSUER, Signer, base64, claims, sha256};
use serde_json::{Value, json};

use super::scene::{Another, Scene};
use super::tap::Tap;

/// How many keys the issuer has.
pub(super) const KEYS: u16 = 50;

const MODULUS_BYTES: usize = 256;

/// The times of all starts.
#[derive(Default)]
pub(super) struct Starts {
    /// From the answer with the keys until the first request was answered.
    pub(super) after_keys: Vec<Duration>,
    /// The first request, with keys from the control plane.
    pub(super) handed_out: Vec<Duration>,
    /// The first request, with the same keys in the configuration.
    pub(super) inline: Vec<Duration>,
}

pub(super) fn measure(scene: &Scene, starts: usize) -> Result<Starts> {
    let signer = Signer::generate("RS256")?;
    let set = many_keys(&signer);
    scene.change_keys(set.clone())?;
    let internal = scene.stack.control_plane.internal();
    let tap = Tap::to(internal)?;
    let mut times = Starts::default();
    for number in 0..starts {
        let token = signer.sign(&claims(&format!("user-{number}")))?;
        let handed_out = scene.another(tap.address(), |_| {})?;
        let (took, answered) = first_request(&handed_out, &token)?;
        let keys = tap.take().context("the control plane was not asked for keys")?;
        times.handed_out.push(took);
        times.after_keys.push(answered.saturating_duration_since(keys));
        drop(handed_out);
        let inline = scene.another(tap.address(), |filter| {
            filter["issuers"] = json!([{"issuer": ISSUER, "jwks": set}]);
        })?;
        times.inline.push(first_request(&inline, &token)?.0);
        ensure!(tap.take().is_none(), "a filter with keys in its configuration has asked for keys");
    }
    Ok(times)
}

/// How long it took, and when it was answered.
fn first_request(another: &Another, token: &str) -> Result<(Duration, Instant)> {
    let request = Request::get("/orders").bearer(token);
    let began = Instant::now();
    let answer = request.send(another.envoy.address())?;
    let answered = Instant::now();
    ensure!(answer.status == 200, "not admitted: {} {}", answer.status, answer.text());
    Ok((answered.duration_since(began), answered))
}

/// A set of RSA keys of 2,048 bits. Only that of the signer belongs to somebody; reading the others costs as much.
fn many_keys(signer: &Signer) -> Value {
    let others = (1..KEYS).map(|number| {
        let blocks = (0_u16..).flat_map(|block| sha256(&[number.to_be_bytes(), block.to_be_bytes()].concat()));
        let mut modulus: Vec<u8> = blocks.take(MODULUS_BYTES).collect();
        if let [first, .., last] = modulus.as_mut_slice() {
            *first |= 0x80;
            *last |= 1;
        }
        json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": format!("other-{number}"), "n": base64(&modulus), "e": "AQAB"})
    });
    json!({"keys": others.chain([signer.jwk()]).collect::<Vec<_>>()})
}
