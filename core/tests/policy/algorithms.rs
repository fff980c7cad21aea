//! Every algorithm, with real keys.

use ct_codecs::{Base64UrlSafeNoPadding, Decoder};
use curfew_core::{Algorithm, SignatureCheck, TokenError, verify_natively};
use jwt_simple::prelude::*;
use serde_json::{Value, json};

use crate::support::{claims_with, clock, encode, prove, rules};

fn public_jwk(private: &str) -> Value {
    let mut jwk: Value = serde_json::from_str(private).unwrap();
    for member in ["d", "p", "q", "dp", "dq", "qi"] {
        jwk.as_object_mut().unwrap().remove(member);
    }
    jwk
}

/// Proves a token with the public JWK of its signer, then refuses it with one bit of the signature flipped.
fn round_trip(jwk: Value, token: &str, alg: Algorithm) {
    let rules = rules(json!([{"jwks": {"keys": [jwk]}}]));
    let mut fits = 0;
    let proven = rules.prove(token.as_bytes(), clock(), |check: &SignatureCheck<'_>| {
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
    let outcome = rules.prove(forged.as_bytes(), clock(), verify_natively);
    assert_eq!(outcome.err(), Some(TokenError::Signature), "{alg:?}");
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
    let claims = json!({"sub": "42", "iat": clock(), "exp": clock() + 600});
    let signing_input = format!("{}.{}", encode(r#"{"alg":"ES512"}"#), encode(claims.to_string()));
    let signature: p521::ecdsa::Signature = key.sign(signing_input.as_bytes());
    (jwk, format!("{signing_input}.{}", encode(signature.to_bytes())))
}

#[test]
fn an_ecdsa_twin_is_the_same_token() {
    let pair = ES256KeyPair::generate();
    let token = pair.sign(claims()).unwrap();
    let rules = rules(json!([{"jwks": {"keys": [public_jwk(&pair.to_jwk())]}}]));
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let bytes = Base64UrlSafeNoPadding::decode_to_vec(signature, None).unwrap();
    let signature = p256::ecdsa::Signature::from_slice(&bytes).unwrap();
    let (r, s) = signature.split_scalars();
    let twin = p256::ecdsa::Signature::from_scalars(r, -*s).unwrap();
    let respelled = format!("{signing_input}.{}", encode(twin.to_bytes()));
    assert_ne!(respelled, token);
    let keys = [token, respelled].map(|text| rules.prove(text.as_bytes(), clock(), verify_natively).unwrap().keys);
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn malformed_ecdsa_signatures_are_refused() {
    let pair = ES256KeyPair::generate();
    let token = pair.sign(claims()).unwrap();
    let rules = rules(json!([{"jwks": {"keys": [public_jwk(&pair.to_jwk())]}}]));
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
        let outcome = rules.prove(forged.as_bytes(), clock(), verify_natively);
        assert_eq!(outcome.err(), Some(TokenError::Signature), "{forged}");
    }
}

#[test]
fn an_hmac_with_the_public_keys_bytes_is_no_signature() {
    let pair = ES256KeyPair::generate();
    let rules = rules(json!([{"jwks": {"keys": [public_jwk(&pair.to_jwk())]}}]));
    let pem = pair.public_key().to_pem().unwrap();
    let signing_input = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(claims_with(json!({})).to_string()));
    let forged = format!("{signing_input}.{}", encode(hmac_sha256::HMAC::mac(&signing_input, pem)));
    assert_eq!(prove(&rules, &forged).err(), Some(TokenError::Algorithm));
}
