//! Keys that are replaced while the filter runs: which proofs stay, and which tokens are proven.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::time::Duration;

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use curfew_core::wire::CheckVerdict;
use curfew_core::{KeySet, KeySets, verify_natively};
use curfew_filter::config::Config;
use curfew_filter::gate::{Gate, Step};
use curfew_filter::knowledge::Answer;
use curfew_filter::metrics::Metric;
use curfew_filter::now::Now;
use curfew_filter::request::Request;
use serde_json::{Value, json};

const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "fedcba9876543210fedcba9876543210";
const UNIX: i64 = 1_700_000_000;

fn encode(part: impl AsRef<[u8]>) -> String {
    Base64UrlSafeNoPadding::encode_to_string(part).unwrap()
}

fn jwks(keys: &[(&str, &str)]) -> Value {
    let jwk = |(kid, secret): &(&str, &str)| json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": encode(secret)});
    json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()})
}

fn token(kid: &str, secret: &str) -> String {
    let claims = json!({"sub": "alice", "iat": UNIX, "exp": UNIX + 600});
    let header = json!({"alg": "HS256", "kid": kid});
    let signing_input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let mac = hmac_sha256::HMAC::mac(&signing_input, secret);
    format!("{signing_input}.{}", encode(mac))
}

/// A gate that remembers answers for a long time, so that only proofs decide.
struct Story {
    gate: Gate,
    keys: KeySets,
    signatures: usize,
}

impl Story {
    /// The issuer has one key, [`OLD`], which is named "old".
    fn new() -> Self {
        let document = json!({
            "issuers": [{"jwks": jwks(&[("old", OLD)])}],
            "control_plane": {"cluster": "curfew", "secret": "0123456789abcdef"},
            "consistency": "bounded",
            "max_staleness": "1h",
        });
        let config = Config::parse(document.to_string().as_bytes()).unwrap();
        let keys = config.keys.clone();
        Self { gate: Gate::new(config, [1, 2]), keys, signatures: 0 }
    }

    fn replace(&mut self, keys: &[(&str, &str)]) {
        let set = KeySet::read(&jwks(keys), &[]).unwrap().0;
        self.keys = self.keys.with(0, set).unwrap();
        self.gate.replace_keys(self.keys.clone());
    }

    /// "admitted" or the code of the refusal. The control plane calls every token active.
    fn get(&mut self, token: &str) -> &'static str {
        let authorization = format!("Bearer {token}");
        let headers: [(&[u8], &[u8]); 2] = [(b":path", b"/orders"), (b"authorization", authorization.as_bytes())];
        let now = Now { monotonic: Duration::from_secs(1), unix: UNIX };
        let signatures = &mut self.signatures;
        let step = self.gate.arrive(1, &Request::new(&headers), now, |check| {
            *signatures += 1;
            verify_natively(check)
        });
        match step {
            Step::Admit(_) => "admitted",
            Step::Refuse(refusal) => refusal.denial.code(),
            Step::Wait { question, .. } => {
                self.gate.sent(question.unwrap().id, 7);
                let answer = Answer { verdict: CheckVerdict::Active, read_at: None, keys_seq: 0, same_second: false };
                let released = self.gate.answered(7, Ok(answer), now);
                if released.streams.iter().all(|(_, decision)| decision.is_ok()) { "admitted" } else { "refused" }
            }
        }
    }
}

#[test]
fn a_set_without_the_old_key_refuses_what_it_had_proven() {
    let mut story = Story::new();
    let token = token("old", OLD);
    assert_eq!((story.get(&token), story.get(&token)), ("admitted", "admitted"));
    story.replace(&[("new", NEW)]);
    assert_eq!(story.get(&token), "token_invalid");
    story.replace(&[("old", NEW)]);
    assert_eq!(story.get(&token), "token_invalid", "another key under the same name");
}

#[test]
fn a_set_that_keeps_the_key_keeps_the_proof_without_another_signature_check() {
    let mut story = Story::new();
    let token = token("old", OLD);
    assert_eq!(story.get(&token), "admitted");
    for others in 0..3 {
        story.replace(&[("old", OLD), ("new", NEW)][..1 + others % 2]);
        assert_eq!((story.get(&token), story.get(&token)), ("admitted", "admitted"));
    }
    assert_eq!(story.signatures, 1);
    assert_eq!(story.gate.take_counted().filter(|metric| *metric == Metric::ProofHit).count(), 6);
}

#[test]
fn an_added_key_proves_new_tokens() {
    let mut story = Story::new();
    let new = token("new", NEW);
    assert_eq!(story.get(&new), "token_invalid");
    story.replace(&[("old", OLD), ("new", NEW)]);
    assert_eq!((story.get(&new), story.get(&token("old", OLD))), ("admitted", "admitted"));
}

#[test]
fn a_key_that_comes_back_proves_anew() {
    let mut story = Story::new();
    let token = token("old", OLD);
    assert_eq!(story.get(&token), "admitted");
    story.replace(&[("new", NEW)]);
    assert_eq!(story.get(&token), "token_invalid");
    story.replace(&[("old", OLD)]);
    assert_eq!(story.get(&token), "admitted");
    assert_eq!(story.signatures, 2, "the proof was dropped with its key");
}

#[test]
fn without_keys_nothing_is_proven_whatever_the_policy_for_an_unavailable_control_plane() {
    let document = json!({
        "issuers": [{"secret": OLD}],
        "control_plane": {"cluster": "curfew", "secret": "0123456789abcdef"},
        "on_unavailable": "allow",
    });
    let config = Config::parse(document.to_string().as_bytes()).unwrap();
    let keys = config.keys.with(0, KeySet::default()).unwrap();
    let mut story = Story { gate: Gate::new(config, [1, 2]), keys: keys.clone(), signatures: 0 };
    story.gate.replace_keys(keys);
    assert_eq!(story.get(&token("old", OLD)), "token_invalid");
    assert_eq!(story.signatures, 0);
}
