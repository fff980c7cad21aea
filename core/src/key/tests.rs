use serde_json::json;

use super::*;

fn keys(jwk: Value, allowed: &[Algorithm]) -> Result<Vec<VerificationKey>, String> {
    let Value::Object(jwk) = jwk else { panic!("a JWK is an object") };
    VerificationKey::from_jwk(&jwk, allowed)
}

fn key(jwk: Value) -> Result<VerificationKey, String> {
    keys(jwk, &[]).map(|mut keys| keys.pop().unwrap())
}

fn why_not(jwk: Value) -> String {
    key(jwk).unwrap_err()
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
fn keys_for_other_purposes_say_so() {
    for (jwk, expected) in [
        (json!({"kty": "RSA", "use": "enc", "n": "AQAB"}), "use is enc, and only keys for signatures are used"),
        (json!({"kty": "RSA", "key_ops": ["wrapKey"]}), "key_ops has no verify, and only keys for signatures are used"),
        (json!({"kty": "EC", "crv": "secp256k1"}), "crv is secp256k1, and P-256, P-384 and P-521 are supported"),
        (json!({"kty": "OKP", "crv": "Ed448"}), "crv is Ed448, and Ed25519 is supported"),
        (json!({"kty": "RSA", "alg": "RSA-OAEP"}), "alg is RSA-OAEP, with which no tokens are verified here"),
        (json!({"kty": "EC", "crv": "P-256", "alg": "RS256"}), "alg is RS256, which is not of its type"),
        (json!({"kty": "RSA", "alg": "HS256"}), "alg is HS256, which is not of its type"),
        (json!({"kty": "new\n[error]"}), "kty is something unusual, and RSA, EC, OKP and oct are supported"),
        (json!({"kty": null}), "kty is missing"),
        (json!({"kty": "RSA", "use": 7}), "use is not a text"),
        (json!({"kty": "oct", "k": "AA"}), "needs an alg, for its type does not imply one"),
    ] {
        assert_eq!(why_not(jwk.clone()), expected, "{jwk}");
    }
}

#[test]
fn a_wrong_member_is_named_with_the_reason() {
    let modulus = encoded(&[0xa5; 256]);
    let rsa = |n: &str| json!({"kty": "RSA", "n": n, "e": "AQAB"});
    for (jwk, expected) in [
        (rsa(&format!("{modulus}=")), "n is not base64url: it ends with '='"),
        (rsa(&modulus.replace('p', "+")), "n is not base64url: it has a '+' or a '/', where base64url has '-' and '_'"),
        (rsa(&format!(" {modulus}")), "n is not base64url: it has white space in it"),
        (rsa("é"), "n is not base64url: it has a character that base64url does not have"),
        (rsa("AAAAA"), "n is not base64url: a character is missing or too many"),
        (rsa("AB"), "n is not base64url: the unused bits of its last character are not zero"),
        (rsa("AQAB"), "n has 17 bits, and 2048 to 4096 are accepted"),
        (rsa(&encoded(&[0x80; 513])), "n has 4104 bits, and 2048 to 4096 are accepted"),
        (rsa(""), "n is missing"),
        (json!({"kty": "RSA", "n": modulus, "e": "Aw"}), "e is not 65537"),
        (json!({"kty": "RSA", "n": 7, "e": "AQAB"}), "n is not a text"),
        (json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}), "x has 1 bytes, and 66 are needed"),
        (json!({"kty": "EC", "x": "AA", "y": "AA"}), "crv is missing"),
        (
            json!({"kty": "EC", "crv": "P-256", "x": encoded(&[1; 32]), "y": encoded(&[1; 32])}),
            "x and y are not a point on P-256",
        ),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"}),
            "is a private key; put only its public part here",
        ),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
            "x is not a point of large order on Ed25519",
        ),
        (json!({"kty": "oct", "alg": "HS256", "k": "AA"}), "k is too short for HS256: 1 bytes, at least 32 are needed"),
    ] {
        assert_eq!(why_not(jwk.clone()), expected, "{jwk}");
    }
}

/// RFC 7517 section 4: members that are not understood are ignored. `null` and "" are absent: some programs write each
/// member that they know into each key.
#[test]
fn members_of_other_types_and_absent_ones_are_ignored() {
    let mut modulus = [0xa5; 256];
    modulus[255] = 1;
    let n = encoded(&modulus);
    let plain = key(json!({"kty": "RSA", "n": n, "e": "AQAB"})).unwrap();
    for others in [
        json!({"crv": "", "x": "", "y": ""}),
        json!({"crv": "P-256", "x": 7, "k": "AA"}),
        json!({"alg": null, "use": null, "kid": null, "d": null, "key_ops": null}),
        json!({"alg": "", "use": "", "d": "", "p": ""}),
        json!({"x5c": ["MIIB"], "x5t": "AA", "x5u": "https://issuer.example.com/cert", "ext": true, "new": {"a": [1]}}),
        json!({"key_ops": ["verify"], "use": "sig"}),
        json!({"n": encoded(&[&[0], &modulus[..]].concat()), "e": "AAEAAQ"}),
    ] {
        let mut jwk = json!({"kty": "RSA", "n": n, "e": "AQAB"});
        jwk.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        assert_eq!(key(jwk).unwrap().id(), plain.id(), "{others}");
    }
}

#[test]
fn a_key_without_alg_serves_the_allowed_algorithms_of_its_type() {
    use Algorithm::{ES256, EdDSA, HS256, HS512, PS256, RS256};
    let n = encoded(&[0xa5; 256]);
    let served = |jwk: &Value, allowed: &[Algorithm]| {
        keys(jwk.clone(), allowed).map(|keys| keys.iter().map(VerificationKey::algorithm).collect::<Vec<_>>())
    };
    let none = Err("serves none of the algorithms that its issuer's tokens may have".to_owned());
    let rsa = json!({"kty": "RSA", "n": n, "e": "AQAB"});
    assert_eq!(served(&rsa, &[]), Ok(vec![RS256]));
    assert_eq!(served(&rsa, &[PS256, ES256, RS256]), Ok(vec![RS256, PS256]));
    assert_eq!(served(&rsa, &[ES256]), none);
    assert_eq!(served(&rsa, &[HS256]), none, "a public key never serves an HMAC");
    let named = json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "PS256"});
    assert_eq!(served(&named, &[PS256, RS256]), Ok(vec![PS256]));
    let other = "alg is PS256, which is not among the algorithms of its issuer";
    assert_eq!(served(&named, &[RS256]), Err(other.to_owned()));
    let secret = json!({"kty": "oct", "k": encoded(&[1; 64])});
    assert_eq!(served(&secret, &[HS256, HS512, EdDSA]), Ok(vec![HS256, HS512]));
    assert_eq!(served(&secret, &[RS256]), none, "a secret never serves public-key algorithms");
}

/// RFC 7638 section 3.1, and RFC 8037 appendix A.3.
#[test]
fn the_thumbprints_are_the_standards() {
    let rsa = json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3okn\
              jhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qM\
              QvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJz\
              KnqDKgw",
    });
    assert_eq!(key(rsa).unwrap().thumbprint().as_deref(), Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert_eq!(key(ed25519).unwrap().thumbprint().as_deref(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    let secret = VerificationKey::from_secret(Algorithm::HS256, &[1; 32]).unwrap();
    assert_eq!(secret.thumbprint(), None);
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
    assert_eq!(with_modulus(0x7f, 1).unwrap_err(), "n has 2047 bits, and 2048 to 4096 are accepted");
    assert_eq!(with_modulus(0x80, 2).unwrap_err(), "n is not the modulus of an RSA key", "no product of two primes");
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
    key(jwk).unwrap().id()
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
    let id = |jwk: Value| key(jwk).unwrap().id();
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
