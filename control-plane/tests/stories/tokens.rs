//! Tokens made by hand, so that they can be wrong in any way.

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use hmac_sha256::HMAC;
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://issuer.example.com";
pub(crate) const OTHER_ISSUER: &str = "https://other.example.com";
pub(crate) const SECRET: &str = "a token signing secret of 32 bytes or more";

/// The time when the stories begin, seconds of Unix time.
pub(crate) const NOW: i64 = 1_800_000_000;

/// The claims of an ordinary token of `user`, with a `jti` of its own.
pub(crate) fn claims(user: &str, jti: &str) -> Value {
    json!({"iss": ISSUER, "sub": user, "jti": jti, "iat": NOW, "exp": NOW + 3600})
}

/// The claims with some of them replaced. A null removes a claim.
pub(crate) fn with(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        let claims = claims.as_object_mut().unwrap();
        match value {
            Value::Null => claims.remove(name),
            value => claims.insert(name.clone(), value.clone()),
        };
    }
    claims
}

pub(crate) fn token(claims: &Value) -> String {
    signed(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string())
}

/// An ordinary token.
pub(crate) fn token_of(user: &str, jti: &str) -> String {
    token(&claims(user, jti))
}

/// A token with this header and payload, signed with the right secret.
pub(crate) fn signed(header: &str, payload: &str) -> String {
    let input = format!("{}.{}", encoded(header.as_bytes()), encoded(payload.as_bytes()));
    let mac = HMAC::mac(input.as_bytes(), SECRET.as_bytes());
    format!("{input}.{}", encoded(&mac))
}

pub(crate) fn encoded(bytes: &[u8]) -> String {
    Base64UrlSafeNoPadding::encode_to_string(bytes).unwrap()
}
