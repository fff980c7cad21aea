//! What a policy's document may say, and which mistakes in it are named.

use curfew_core::{Policy, RevocationKey, TokenError};
use serde_json::{Value, json};

use crate::support::{ISSUER, NOW, Rules, SECRET, claims_with, encode, prove, rules, shop, sign};

#[test]
fn the_user_claim_and_the_cutoff_claim_can_be_others() {
    let document = json!({
        "issuers": [{"issuer": ISSUER, "secret": SECRET}],
        "user_claim": "user_id", "issued_at_claim": "auth_time",
    });
    let rules = Rules::read(&document);
    let claims = claims_with(json!({"user_id": 7, "auth_time": NOW - 50}));
    let token = prove(&rules, &sign(&json!({"alg": "HS256"}), &claims)).unwrap();
    assert_eq!(token.user.as_deref(), Some("7"));
    assert_eq!(token.times.cutoff_time, Some(NOW - 50));
    assert!(rules.policy.knows(token.keyspace) && !shop().policy.knows(token.keyspace));
}

#[test]
fn a_keyspace_depends_on_what_makes_keys_and_on_how_long_revocations_are_kept() {
    let keyspace = |name: &str, value: Value| {
        let mut document = json!({"issuers": [{"secret": SECRET}]});
        document[name] = value;
        Rules::read(&document).policy.keyspace("")
    };
    let plain = keyspace("token_types", json!(["JWT"]));
    assert_eq!(plain, keyspace("token_types", json!(["JWT", "at+jwt"])));
    for (name, value) in [
        ("user_claim", json!("uid")),
        ("issued_at_claim", json!("auth_time")),
        ("max_token_ttl", json!("31d")),
        ("clock_skew", json!("6s")),
        ("allow_missing_exp", json!(true)),
    ] {
        assert_ne!(plain, keyspace(name, value), "{name}");
    }
}

#[test]
fn an_issuer_without_a_name_accepts_any_iss_and_keeps_one_namespace() {
    let rules = rules(json!([{"secret": SECRET}]));
    let keys = ["https://a.example.com/login", "https://a.example.com/refresh"].map(|iss| {
        let token = sign(&json!({"alg": "HS256"}), &claims_with(json!({ "iss": iss })));
        prove(&rules, &token).unwrap().keys.subject
    });
    assert_eq!(keys, [Some(RevocationKey::subject("", "42")); 2]);
}

#[test]
fn kid_picks_the_key() {
    let jwk = |kid: &str, secret: &str| json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": encode(secret)});
    let other = "another secret, which is long enough for HS256 as well";
    let rules = rules(json!([{"jwks": {"keys": [jwk("old", other), jwk("new", SECRET)]}}]));
    let outcome = |header: Value| prove(&rules, &sign(&header, &claims_with(json!({})))).err();
    assert_eq!(outcome(json!({"alg": "HS256", "kid": "new"})), None);
    assert_eq!(outcome(json!({"alg": "HS256"})), Some(TokenError::UnknownKey));
    assert_eq!(outcome(json!({"alg": "HS256", "kid": "old"})), Some(TokenError::Signature));
    assert_eq!(outcome(json!({"alg": "HS256", "kid": "gone"})), Some(TokenError::UnknownKey));
}

#[test]
fn keys_without_a_kid_are_limited_and_a_kid_names_one_key() {
    let jwk = |kid: Option<&str>| match kid {
        Some(kid) => json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": encode(SECRET)}),
        None => json!({"kty": "oct", "alg": "HS256", "k": encode(SECRET)}),
    };
    let problem = |keys: Vec<Value>| {
        let document = json!({"issuers": [{"jwks": {"keys": keys}}]});
        Policy::from_document(&document).map(|_| ()).map_err(|mistakes| mistakes.to_string())
    };
    assert_eq!(problem(vec![jwk(None), jwk(None), jwk(Some("a"))]), Ok(()));
    let nameless = "issuers[0].jwks: holds more than 2 keys of one algorithm without kid";
    assert_eq!(problem(vec![jwk(None), jwk(None), jwk(None)]), Err(nameless.to_owned()));
    let twice = "issuers[0].jwks: holds two keys of one algorithm with the same kid";
    assert_eq!(problem(vec![jwk(Some("a")), jwk(Some("a"))]), Err(twice.to_owned()));
}

#[test]
fn a_wrong_policy_names_all_its_mistakes() {
    let document = json!({
        "issuers": [
            {"issuer": ISSUER, "secret": "short", "audience": "shop", "audiences": []},
            {"issuer": ISSUER, "jwks": {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}},
            {"secret": SECRET, "algorithm": "RS256"},
            {"issuer": "https://b.example.com"},
            {"issuer": "https://c.example.com", "jwks": "https://c.example.com/jwks"},
            7,
        ],
        "clock_skew": "1h", "max_token_ttl": "0s", "token_types": "JWT", "issued_at_claim": "nbf",
    });
    let mistakes = Policy::from_document(&document).unwrap_err();
    let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "issuers[0].audiences: must be a list of non-empty strings, at least one",
            "issuers[0].secret: is too short for HS256: 5 bytes, at least 32 are needed",
            "issuers[0].audience: is not a known field here; did you mean audiences? (known: algorithm, audiences, issuer, jwks, require_user, required_claims, secret, secret_base64)",
            "issuers[1].jwks.keys[0]: is not a usable RS256 key: Weak key (shorter than the minimum size for its algorithm)",
            "issuers[1].jwks: holds no key that tokens can be verified with",
            "issuers[1].issuer: is given twice",
            "issuers[2].secret: RS256 takes a JWK Set, not a secret",
            "issuers[2].issuer: must be given where there is more than one issuer",
            "issuers[3].jwks: exactly one of jwks, secret and secret_base64 must be given",
            r#"issuers[4].jwks: must be a JWK Set: an object with a list "keys""#,
            "issuers[5]: must be an object",
            "clock_skew: must be whole seconds, from 0s to 5m",
            "max_token_ttl: must be whole seconds, from 1s to 10years",
            "issued_at_claim: must be one of: iat, auth_time",
            "token_types: must be a list",
        ]
    );
    let empty = Policy::from_document(&json!({})).unwrap_err();
    assert_eq!(empty.to_string(), "issuers: at least one issuer must be given");
}
