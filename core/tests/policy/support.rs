//! What the stories share: an issuer, a secret, and tokens signed by hand.

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use curfew_core::{Policy, ProvenToken, TokenError, verify_natively};
use jwt_simple::prelude::Clock;
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "a secret of at least sixty-four bytes, so that it does for HS512 too";
pub(crate) const ISSUER: &str = "https://issuer.example.com";
pub(crate) const NOW: i64 = 1_700_000_000;

pub(crate) fn policy(issuers: Value) -> Policy {
    Policy::from_document(&json!({ "issuers": issuers })).unwrap()
}

pub(crate) fn shop() -> Policy {
    policy(json!([{"issuer": ISSUER, "audiences": ["shop"], "secret": SECRET}]))
}

pub(crate) fn encode(part: impl AsRef<[u8]>) -> String {
    Base64UrlSafeNoPadding::encode_to_string(part).unwrap()
}

pub(crate) fn sign(header: &Value, payload: &Value) -> String {
    let signing_input = format!("{}.{}", encode(header.to_string()), encode(payload.to_string()));
    let signature = hmac_sha256::HMAC::mac(&signing_input, SECRET);
    format!("{signing_input}.{}", encode(signature))
}

pub(crate) fn claims_with(changes: Value) -> Value {
    let mut claims = json!({"iss": ISSUER, "aud": "shop", "sub": "42", "iat": NOW, "exp": NOW + 600});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

pub(crate) fn prove(policy: &Policy, token: &str) -> Result<ProvenToken, TokenError> {
    policy.prove(token.as_bytes(), NOW, verify_natively)
}

/// jwt-simple dates its claims itself.
pub(crate) fn clock() -> i64 {
    i64::try_from(Clock::now_since_epoch().as_secs()).unwrap()
}
