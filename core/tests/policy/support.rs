//! What the stories share: an issuer, a secret, and tokens that are signed without a library for tokens.

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use curfew_core::{KeySets, Policy, ProvenToken, SignatureCheck, TokenError, verify_natively};
use jwt_simple::prelude::Clock;
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "a secret of at least sixty-four bytes, so that it does for HS512 too";
pub(crate) const ISSUER: &str = "https://issuer.example.com";
pub(crate) const NOW: i64 = 1_700_000_000;

/// A policy and the keys of its issuers.
pub(crate) struct Rules {
    pub(crate) policy: Policy,
    pub(crate) keys: KeySets,
}

impl Rules {
    pub(crate) fn read(document: &Value) -> Self {
        let (policy, keys) = Policy::from_document(document).unwrap();
        Self { policy, keys }
    }

    pub(crate) fn prove(
        &self,
        token: &[u8],
        now: i64,
        verify: impl FnMut(&SignatureCheck<'_>) -> bool,
    ) -> Result<ProvenToken, TokenError> {
        self.policy.prove(token, now, &self.keys, verify)
    }
}

pub(crate) fn rules(issuers: Value) -> Rules {
    Rules::read(&json!({ "issuers": issuers }))
}

pub(crate) fn shop() -> Rules {
    rules(json!([{"issuer": ISSUER, "audiences": ["shop"], "secret": SECRET}]))
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

pub(crate) fn prove(rules: &Rules, token: &str) -> Result<ProvenToken, TokenError> {
    rules.prove(token.as_bytes(), NOW, verify_natively)
}

/// The time of the system: jwt-simple writes the times of its claims itself.
pub(crate) fn clock() -> i64 {
    i64::try_from(Clock::now_since_epoch().as_secs()).unwrap()
}
