//! Headers that bring or name a key, and tokens of many sizes.

use curfew_core::{Policy, TokenError};
use serde_json::{Value, json};

use crate::support::{ISSUER, Rules, SECRET, claims_with, encode, prove, shop, sign};

/// No reader of ours follows them, so they are harmless.
#[test]
fn a_header_that_points_to_its_issuer_s_keys_is_admitted() {
    for extra in [
        json!({"jku": "https://uaa.example/token_keys"}),
        json!({"x5u": "https://uaa.example/cert.pem", "x5t": "AA"}),
        json!({"x5c": ["M".repeat(4000)]}),
        json!({"jwk": {"kty": "oct", "k": encode(SECRET)}}),
    ] {
        let mut header = json!({"alg": "HS256", "kid": "k1"});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert_eq!(prove(&shop(), &sign(&header, &claims_with(json!({})))).err(), None, "{extra}");
    }
}

#[test]
fn a_header_cannot_choose_a_key() {
    let own = "a secret of the attacker, long enough for HS256 as well";
    for extra in [
        json!({"jwk": {"kty": "oct", "alg": "HS256", "kid": "k1", "k": encode(own)}}),
        json!({"jku": "https://attacker.example/keys", "kid": "k1"}),
        json!({"x5c": [encode(own)], "x5u": "https://attacker.example/cert"}),
    ] {
        let mut header = json!({"alg": "HS256"});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let input = format!("{}.{}", encode(header.to_string()), encode(claims_with(json!({})).to_string()));
        let forged = format!("{input}.{}", encode(hmac_sha256::HMAC::mac(&input, own)));
        assert_eq!(prove(&shop(), &forged).err(), Some(TokenError::Signature), "{extra}");
    }
}

fn of_size(bytes: usize) -> String {
    let claims = |roles: usize| claims_with(json!({"roles": "r".repeat(roles)}));
    let token = |roles: usize| sign(&json!({"alg": "HS256"}), &claims(roles));
    let rest = bytes.saturating_sub(token(0).len()) / 4 * 3;
    token(rest)
}

#[test]
fn a_token_may_have_16_kib_or_what_is_configured() {
    let by = |settings: Value| {
        let mut document = json!({"issuers": [{"issuer": ISSUER, "secret": SECRET}]});
        document.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        Rules::read(&document)
    };
    let outcome = |rules: &Rules, bytes: usize| prove(rules, &of_size(bytes)).err();
    let usual = by(json!({}));
    assert_eq!(usual.policy.max_token_bytes(), 16_384);
    assert_eq!(outcome(&usual, 9_000), None);
    assert_eq!(outcome(&usual, 16_300), None);
    assert_eq!(outcome(&usual, 16_500), Some(TokenError::TooLong));
    let large = by(json!({"max_token_bytes": 49_152}));
    assert_eq!(outcome(&large, 49_000), None);
    assert_eq!(outcome(&large, 49_500), Some(TokenError::TooLong));
    assert_eq!(outcome(&by(json!({"max_token_bytes": 2_048})), 9_000), Some(TokenError::TooLong));
    for wrong in [json!(1_023), json!(49_153), json!("many")] {
        let document = json!({"issuers": [{"secret": SECRET}], "max_token_bytes": wrong});
        let mistakes = Policy::from_document(&document).unwrap_err().to_string();
        assert!(mistakes.starts_with("max_token_bytes: must be "), "{mistakes}");
    }
}
