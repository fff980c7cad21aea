use serde_json::json;

use super::*;

fn key(jwk: Value) -> Result<Option<VerificationKey>, String> {
    let Value::Object(jwk) = jwk else { panic!("a JWK is an object") };
    VerificationKey::from_jwk(&jwk, None)
}

#[test]
fn short_secrets_are_refused() {
    for (name, algorithm) in Algorithm::ALL {
        let Some(minimum) = algorithm.minimum_secret() else { continue };
        assert!(VerificationKey::from_secret(algorithm, &vec![1; minimum]).is_ok());
        let error = VerificationKey::from_secret(algorithm, &vec![1; minimum - 1]).unwrap_err();
        assert_eq!(error, format!("is too short for {name}: {} bytes, at least {minimum} are needed", minimum - 1));
    }
    let error = VerificationKey::from_secret(Algorithm::RS256, &[1; 64]).unwrap_err();
    assert_eq!(error, "RS256 takes a JWK Set, not a secret");
}

#[test]
fn keys_for_other_purposes_are_passed_over() {
    assert!(key(json!({"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"})).unwrap().is_none());
    assert!(key(json!({"kty": "EC", "crv": "secp256k1", "x": "", "y": ""})).unwrap().is_none());
    assert!(key(json!({"kty": "RSA", "alg": "RSA-OAEP"})).unwrap().is_none());
    assert!(key(json!({"kty": "new"})).unwrap().is_none());
}

#[test]
fn unusable_keys_are_mistakes() {
    let weak = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
    assert!(key(weak).unwrap_err().starts_with("is not a usable RS256 key"));
    let off_curve = json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"});
    assert_eq!(key(off_curve).unwrap_err(), "is not a usable ES512 key: not a point on P-521");
    let private = json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"});
    assert_eq!(key(private).unwrap_err(), "is a private key; put only its public part here");
    assert_eq!(key(json!({"kty": "oct", "k": "AA"})).unwrap_err(), "needs an alg, for its type does not imply one");
    let small_order = json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
    assert!(key(small_order).unwrap_err().starts_with("is not a usable EdDSA key"));
}

fn encoded(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn an_rsa_key_has_2048_bits_at_least_and_an_odd_modulus() {
    let with_modulus = |first: u8, last: u8| {
        let mut modulus = [0xa5; 256];
        (modulus[0], modulus[255]) = (first, last);
        key(json!({"kty": "RSA", "n": encoded(&modulus), "e": "AQAB"}))
    };
    assert!(with_modulus(0x80, 1).is_ok());
    assert!(with_modulus(0x7f, 1).unwrap_err().starts_with("is not a usable RS256 key"), "2047 bits");
    assert!(with_modulus(0x80, 2).unwrap_err().starts_with("is not a usable RS256 key"), "no product of two primes");
}

#[test]
fn debug_shows_no_key_material() {
    let key = VerificationKey::from_secret(Algorithm::HS256, &[b'x'; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "VerificationKey(HS256, None)");
    assert_eq!(format!("{:?}", key.id()), "KeyId(..)");
}

fn secret(kid: Option<&str>, alg: &str, byte: u8) -> KeyId {
    let jwk = match kid {
        Some(kid) => json!({"kty": "oct", "alg": alg, "kid": kid, "k": encoded(&[byte; 64])}),
        None => json!({"kty": "oct", "alg": alg, "k": encoded(&[byte; 64])}),
    };
    key(jwk).unwrap().unwrap().id()
}

#[test]
fn the_identity_of_a_key_is_that_of_its_algorithm_its_material_and_its_kid() {
    let first = secret(Some("a"), "HS256", 1);
    assert_eq!(first, secret(Some("a"), "HS256", 1));
    for other in [
        secret(Some("b"), "HS256", 1),
        secret(Some(""), "HS256", 1),
        secret(None, "HS256", 1),
        secret(Some("a"), "HS384", 1),
        secret(Some("a"), "HS256", 2),
    ] {
        assert_ne!(first, other);
    }
    assert_ne!(secret(Some(""), "HS256", 1), secret(None, "HS256", 1));
    let from_configuration = VerificationKey::from_secret(Algorithm::HS256, &[1; 64]).unwrap();
    assert_eq!(from_configuration.id(), secret(None, "HS256", 1));
}

#[test]
fn the_identity_of_a_public_key_does_not_depend_on_how_its_jwk_is_written() {
    let mut modulus = [0xa5; 256];
    modulus[255] = 1;
    let id = |jwk: Value| key(jwk).unwrap().unwrap().id();
    let n = encoded(&modulus);
    let plain = id(json!({"kty": "RSA", "n": n, "e": "AQAB"}));
    assert_eq!(plain, id(json!({"e": "AQAB", "n": n, "kty": "RSA", "alg": "RS256", "use": "sig", "x5t": "x"})));
    assert_ne!(plain, id(json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "PS256"})));
    modulus[0] = 0xa4;
    assert_ne!(plain, id(json!({"kty": "RSA", "n": encoded(&modulus), "e": "AQAB"})));
}

/// Identities may be stored and compared with those that another version computes: they never change.
#[test]
fn the_identities_are_pinned() {
    let pinned = "68ac1f4b297974be35af2e4c24518601";
    let id = secret(Some("a"), "HS256", 1);
    assert_eq!(id.0.map(|byte| format!("{byte:02x}")).concat(), pinned);
}
