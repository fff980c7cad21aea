//! Whole tokens against whole policies: every algorithm, and every rule that a token can break.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use curfew_core::{Algorithm, Policy, ProvenToken, RevocationKey, SignatureCheck, TokenError, verify_natively};
use jwt_simple::prelude::*;
use serde_json::{Value, json};

const SECRET: &str = "a secret of at least sixty-four bytes, so that it does for HS512 too";
const ISSUER: &str = "https://issuer.example.com";
const NOW: i64 = 1_700_000_000;

fn policy(issuers: Value) -> Policy {
    Policy::from_document(&json!({ "issuers": issuers })).unwrap()
}

fn shop() -> Policy {
    policy(json!([{"issuer": ISSUER, "audiences": ["shop"], "secret": SECRET}]))
}

fn encode(part: impl AsRef<[u8]>) -> String {
    Base64UrlSafeNoPadding::encode_to_string(part).unwrap()
}

fn sign(header: &Value, payload: &Value) -> String {
    let signing_input = format!("{}.{}", encode(header.to_string()), encode(payload.to_string()));
    let signature = hmac_sha256::HMAC::mac(&signing_input, SECRET);
    format!("{signing_input}.{}", encode(signature))
}

fn claims_with(changes: Value) -> Value {
    let mut claims = json!({"iss": ISSUER, "aud": "shop", "sub": "42", "iat": NOW, "exp": NOW + 600});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn prove(policy: &Policy, token: &str) -> Result<ProvenToken, TokenError> {
    policy.prove(token.as_bytes(), NOW, verify_natively)
}

fn judge(claims: &Value) -> Result<(), TokenError> {
    prove(&shop(), &sign(&json!({"alg": "HS256"}), claims)).map(|_| ())
}

#[test]
fn a_good_token_is_proven_with_all_its_keys() {
    let token =
        sign(&json!({"alg": "HS256", "typ": "JWT"}), &claims_with(json!({"jti": "j", "sid": "s", "name": "A"})));
    let proven = prove(&shop(), &token).unwrap();
    let signing_input = token.rsplit_once('.').unwrap().0;
    assert_eq!(proven.keys.token, RevocationKey::token(signing_input.as_bytes()));
    assert_eq!(proven.keys.jti, Some(RevocationKey::jti(ISSUER, "j")));
    assert_eq!(proven.keys.session, Some(RevocationKey::session(ISSUER, "s")));
    assert_eq!(proven.keys.subject, Some(RevocationKey::subject(ISSUER, "42")));
    assert_eq!(proven.user.as_deref(), Some("42"));
    assert_eq!(proven.claim_text("name").as_deref(), Some("A"));
    assert_eq!((proven.times.issued_at, proven.times.cutoff_time), (Some(NOW), Some(NOW)));
    assert_eq!(shop().check_times(&proven.times, NOW), Ok(()));
}

#[test]
fn an_integer_user_is_its_decimal_text() {
    let by_text = prove(&shop(), &sign(&json!({"alg": "HS256"}), &claims_with(json!({"sub": "42"})))).unwrap();
    let by_number = prove(&shop(), &sign(&json!({"alg": "HS256"}), &claims_with(json!({"sub": 42})))).unwrap();
    assert_eq!(by_text.keys.subject, by_number.keys.subject);
}

#[test]
fn the_user_claim_and_the_cutoff_claim_can_be_others() {
    let document = json!({
        "issuers": [{"issuer": ISSUER, "secret": SECRET}],
        "user_claim": "user_id", "issued_at_claim": "auth_time",
    });
    let policy = Policy::from_document(&document).unwrap();
    let claims = claims_with(json!({"user_id": 7, "auth_time": NOW - 50}));
    let token = prove(&policy, &sign(&json!({"alg": "HS256"}), &claims)).unwrap();
    assert_eq!(token.user.as_deref(), Some("7"));
    assert_eq!(token.times.cutoff_time, Some(NOW - 50));
    assert!(policy.knows(token.keyspace) && !shop().knows(token.keyspace));
}

#[test]
fn a_keyspace_tells_apart_what_makes_keys_and_what_keeps_revocations() {
    let keyspace = |name: &str, value: Value| {
        let mut document = json!({"issuers": [{"secret": SECRET}]});
        document[name] = value;
        Policy::from_document(&document).unwrap().keyspace("")
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
fn a_nameless_issuer_takes_any_iss_and_keeps_one_namespace() {
    let policy = policy(json!([{"secret": SECRET}]));
    let keys = ["https://a.example.com/login", "https://a.example.com/refresh"].map(|iss| {
        let token = sign(&json!({"alg": "HS256"}), &claims_with(json!({ "iss": iss })));
        prove(&policy, &token).unwrap().keys.subject
    });
    assert_eq!(keys, [Some(RevocationKey::subject("", "42")); 2]);
}

#[test]
fn every_claim_rule_refuses_with_its_own_reason() {
    let cases = [
        (json!({"exp": NOW - 5}), TokenError::Expired),
        (json!({"exp": 1, "iat": 1}), TokenError::Expired),
        (json!({"exp": null}), TokenError::Claim("exp")),
        (json!({"exp": "1700000600"}), TokenError::Claim("exp")),
        (json!({"exp": true}), TokenError::Claim("exp")),
        (json!({"exp": [NOW]}), TokenError::Claim("exp")),
        (json!({"exp": -1}), TokenError::Claim("exp")),
        (json!({"exp": 0}), TokenError::Claim("exp")),
        (json!({"exp": 0.5}), TokenError::Claim("exp")),
        (json!({"exp": 1e300}), TokenError::Claim("exp")),
        (json!({"exp": NOW + 3_000_000}), TokenError::LivesTooLong),
        (json!({"iat": NOW - 2_600_000}), TokenError::LivesTooLong),
        (json!({"nbf": NOW + 6}), TokenError::NotYetValid),
        (json!({"iat": NOW + 6}), TokenError::IssuedInFuture),
        (json!({"iat": "now"}), TokenError::Claim("iat")),
        (json!({"nbf": -1}), TokenError::Claim("nbf")),
        (json!({"iss": "https://other.example.com"}), TokenError::Issuer),
        (json!({"iss": 7}), TokenError::Claim("iss")),
        (json!({"aud": "other"}), TokenError::Audience),
        (json!({"aud": 7}), TokenError::Claim("aud")),
        (json!({"sub": ""}), TokenError::Claim("user")),
        (json!({"sub": "a\u{0}b"}), TokenError::Claim("user")),
        (json!({"jti": ""}), TokenError::Claim("jti")),
        (json!({"sid": "x".repeat(257)}), TokenError::Claim("sid")),
    ];
    for (changes, expected) in cases {
        assert_eq!(judge(&claims_with(changes.clone())), Err(expected), "{changes}");
    }
}

#[test]
fn the_skew_is_granted_to_the_second() {
    for changes in [json!({"exp": NOW - 4}), json!({"nbf": NOW + 5}), json!({"iat": NOW + 5}), json!({"nbf": 0})] {
        assert_eq!(judge(&claims_with(changes.clone())), Ok(()), "{changes}");
    }
    let document = json!({"issuers": [{"secret": SECRET}], "clock_skew": "0s"});
    let strict = Policy::from_document(&document).unwrap();
    let claims = claims_with(json!({"iat": NOW - 60, "exp": NOW + 1}));
    let token = prove(&strict, &sign(&json!({"alg": "HS256"}), &claims)).unwrap();
    assert_eq!(strict.check_times(&token.times, NOW), Ok(()));
    assert_eq!(strict.check_times(&token.times, NOW + 1), Err(TokenError::Expired));
}

#[test]
fn a_token_without_exp_lives_as_long_as_any_may_where_that_is_allowed() {
    let mut claims = claims_with(json!({}));
    claims.as_object_mut().unwrap().remove("exp");
    assert_eq!(judge(&claims), Err(TokenError::Claim("exp")));
    let document = json!({"issuers": [{"secret": SECRET}], "allow_missing_exp": true, "max_token_ttl": "1h"});
    let policy = Policy::from_document(&document).unwrap();
    let token = prove(&policy, &sign(&json!({"alg": "HS256"}), &claims)).unwrap();
    assert_eq!(token.times.expires_at, NOW + 3600);
    claims.as_object_mut().unwrap().remove("iat");
    let timeless = sign(&json!({"alg": "HS256"}), &claims);
    assert_eq!(prove(&policy, &timeless).err(), Some(TokenError::Claim("exp")));
}

#[test]
fn the_header_can_only_agree_with_the_key() {
    let refused = |header: Value| prove(&shop(), &sign(&header, &claims_with(json!({})))).err();
    for alg in ["none", "None", "hs256", "HS256 ", "HS512", "RS256", "ES256", ""] {
        assert_eq!(refused(json!({ "alg": alg })), Some(TokenError::UnknownKey), "{alg}");
    }
    for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt", "", "JWT "] {
        assert_eq!(refused(json!({"alg": "HS256", "typ": typ})), Some(TokenError::Type), "{typ}");
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+JWT"] {
        assert_eq!(refused(json!({"alg": "HS256", "typ": typ})), None, "{typ}");
    }
}

#[test]
fn kid_picks_the_key() {
    let jwk = |kid: &str, secret: &str| json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": encode(secret)});
    let other = "another secret, which is long enough for HS256 as well";
    let policy = policy(json!([{"jwks": {"keys": [jwk("old", other), jwk("new", SECRET)]}}]));
    let outcome = |header: Value| prove(&policy, &sign(&header, &claims_with(json!({})))).err();
    assert_eq!(outcome(json!({"alg": "HS256", "kid": "new"})), None);
    assert_eq!(outcome(json!({"alg": "HS256"})), Some(TokenError::UnknownKey));
    assert_eq!(outcome(json!({"alg": "HS256", "kid": "old"})), Some(TokenError::Signature));
    assert_eq!(outcome(json!({"alg": "HS256", "kid": "gone"})), Some(TokenError::UnknownKey));
}

#[test]
fn keys_that_no_kid_tells_apart_are_few() {
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
fn what_is_refused_for_anything_else_costs_no_signature_check() {
    for changes in [json!({"exp": NOW - 5}), json!({"nbf": NOW + 60}), json!({"aud": "other"}), json!({"sub": ""})] {
        let token = sign(&json!({"alg": "HS256"}), &claims_with(changes));
        let mut checks = 0;
        let outcome = shop().prove(token.as_bytes(), NOW, |check| {
            checks += 1;
            verify_natively(check)
        });
        assert!(outcome.is_err());
        assert_eq!(checks, 0);
    }
}

#[test]
fn a_session_that_is_refreshed_for_longer_than_a_logout_is_kept_must_log_in_again() {
    let document = json!({
        "issuers": [{"secret": SECRET}], "issued_at_claim": "auth_time", "max_token_ttl": "1h", "clock_skew": "0s",
    });
    let policy = Policy::from_document(&document).unwrap();
    let outcome = |auth_time: i64| {
        let claims = claims_with(json!({"auth_time": auth_time}));
        prove(&policy, &sign(&json!({"alg": "HS256"}), &claims)).err()
    };
    assert_eq!(outcome(NOW - 3000), None);
    assert_eq!(outcome(NOW - 3001), Some(TokenError::LivesTooLong));
    assert_eq!(outcome(NOW + 1), Some(TokenError::IssuedInFuture));
}

#[test]
fn a_signature_is_exact() {
    let token = sign(&json!({"alg": "HS256"}), &claims_with(json!({})));
    let (signing_input, _) = token.rsplit_once('.').unwrap();
    let mac = hmac_sha256::HMAC::mac(signing_input, SECRET);
    let mut flipped = mac;
    flipped[0] ^= 1;
    for signature in [&mac[..31], &mac[..1], &[0; 32], &flipped[..], &[mac, mac].concat()] {
        let forged = format!("{signing_input}.{}", encode(signature));
        assert_eq!(prove(&shop(), &forged).err(), Some(TokenError::Signature));
    }
}

fn public_jwk(private: &str) -> Value {
    let mut jwk: Value = serde_json::from_str(private).unwrap();
    for member in ["d", "p", "q", "dp", "dq", "qi"] {
        jwk.as_object_mut().unwrap().remove(member);
    }
    jwk
}

/// Signs with a key pair and proves against its public JWK, then with one bit of the signature turned.
fn round_trip(jwk: Value, token: &str, alg: Algorithm) {
    let policy = policy(json!([{"jwks": {"keys": [jwk]}}]));
    let mut fits = 0;
    let proven = policy.prove(token.as_bytes(), clock(), |check: &SignatureCheck<'_>| {
        fits += 1;
        assert_eq!(check.key.algorithm(), alg);
        verify_natively(check)
    });
    assert!(proven.is_ok(), "{alg:?}: {:?}", proven.err());
    assert_eq!(fits, 1);
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = Base64UrlSafeNoPadding::decode_to_vec(signature, None).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let forged = format!("{signing_input}.{}", encode(bytes));
    let outcome = policy.prove(forged.as_bytes(), clock(), verify_natively);
    assert_eq!(outcome.err(), Some(TokenError::Signature), "{alg:?}");
}

/// jwt-simple dates its claims itself.
fn clock() -> i64 {
    i64::try_from(Clock::now_since_epoch().as_secs()).unwrap()
}

fn claims() -> JWTClaims<NoCustomClaims> {
    Claims::create(Duration::from_mins(10)).with_subject("42")
}

macro_rules! rsa_round_trip {
    ($($pair:ident => $alg:ident),*) => {$({
        let pair = $pair::generate(2048).unwrap();
        round_trip(public_jwk(&pair.to_jwk()), &pair.sign(claims()).unwrap(), Algorithm::$alg);
    })*};
}

#[test]
fn rsa_tokens_are_proven() {
    rsa_round_trip!(
        RS256KeyPair => RS256, RS384KeyPair => RS384, RS512KeyPair => RS512,
        PS256KeyPair => PS256, PS384KeyPair => PS384, PS512KeyPair => PS512
    );
}

#[test]
fn elliptic_curve_tokens_are_proven() {
    let pair = ES256KeyPair::generate();
    round_trip(public_jwk(&pair.to_jwk()), &pair.sign(claims()).unwrap(), Algorithm::ES256);
    let pair = ES384KeyPair::generate();
    round_trip(public_jwk(&pair.to_jwk()), &pair.sign(claims()).unwrap(), Algorithm::ES384);
    let pair = Ed25519KeyPair::generate();
    round_trip(public_jwk(&pair.to_jwk()), &pair.sign(claims()).unwrap(), Algorithm::EdDSA);
    let (jwk, token) = es512();
    round_trip(jwk, &token, Algorithm::ES512);
}

fn es512() -> (Value, String) {
    use p521::ecdsa::signature::Signer as _;
    let key = p521::ecdsa::SigningKey::from_slice(&[0x01; 66]).unwrap();
    let point = key.verifying_key().to_sec1_point(false);
    let (x, y) = point.as_bytes()[1..].split_at(66);
    let jwk = json!({"kty": "EC", "crv": "P-521", "x": encode(x), "y": encode(y)});
    let claims = json!({"sub": "42", "exp": clock() + 600});
    let signing_input = format!("{}.{}", encode(r#"{"alg":"ES512"}"#), encode(claims.to_string()));
    let signature: p521::ecdsa::Signature = key.sign(signing_input.as_bytes());
    (jwk, format!("{signing_input}.{}", encode(signature.to_bytes())))
}

#[test]
fn an_ecdsa_twin_is_the_same_token() {
    let pair = ES256KeyPair::generate();
    let token = pair.sign(claims()).unwrap();
    let policy = policy(json!([{"jwks": {"keys": [public_jwk(&pair.to_jwk())]}}]));
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let bytes = Base64UrlSafeNoPadding::decode_to_vec(signature, None).unwrap();
    let signature = p256::ecdsa::Signature::from_slice(&bytes).unwrap();
    let (r, s) = signature.split_scalars();
    let twin = p256::ecdsa::Signature::from_scalars(r, -*s).unwrap();
    let respelled = format!("{signing_input}.{}", encode(twin.to_bytes()));
    assert_ne!(respelled, token);
    let keys = [token, respelled].map(|text| policy.prove(text.as_bytes(), clock(), verify_natively).unwrap().keys);
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn malformed_ecdsa_signatures_are_refused() {
    let pair = ES256KeyPair::generate();
    let token = pair.sign(claims()).unwrap();
    let policy = policy(json!([{"jwks": {"keys": [public_jwk(&pair.to_jwk())]}}]));
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let good = Base64UrlSafeNoPadding::decode_to_vec(signature, None).unwrap();
    let (r, s) = good.split_at(32);
    let der = p256::ecdsa::Signature::from_slice(&good).unwrap().to_der();
    let bad = [
        good[..63].to_vec(),
        [&good[..], &[0]].concat(),
        [&[0], r, &[0], s].concat(),
        [&[0; 32], s].concat(),
        [r, &[0; 32]].concat(),
        [r, &[0xff; 32]].concat(),
        der.as_bytes().to_vec(),
    ];
    for signature in bad {
        let forged = format!("{signing_input}.{}", encode(signature));
        let outcome = policy.prove(forged.as_bytes(), clock(), verify_natively);
        assert_eq!(outcome.err(), Some(TokenError::Signature), "{forged}");
    }
}

#[test]
fn an_hmac_with_the_public_keys_bytes_is_no_signature() {
    let pair = ES256KeyPair::generate();
    let policy = policy(json!([{"jwks": {"keys": [public_jwk(&pair.to_jwk())]}}]));
    let pem = pair.public_key().to_pem().unwrap();
    let signing_input = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(claims_with(json!({})).to_string()));
    let forged = format!("{signing_input}.{}", encode(hmac_sha256::HMAC::mac(&signing_input, pem)));
    assert_eq!(prove(&policy, &forged).err(), Some(TokenError::UnknownKey));
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
            "issuers[0].audience: is not a known field here (known: algorithm, audiences, issuer, jwks, secret, secret_base64)",
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
