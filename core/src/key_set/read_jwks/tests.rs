use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::KeySet;

fn rsa(kid: Option<&str>, number: usize) -> Value {
    let mut modulus = [0xa5; 256];
    modulus[1..9].copy_from_slice(&number.to_be_bytes());
    let n = URL_SAFE_NO_PAD.encode(modulus);
    json!({"kty": "RSA", "kid": kid, "n": n, "e": "AQAB"})
}

fn read(keys: Vec<Value>) -> (KeySet, Vec<String>) {
    let (set, mistakes) = KeySet::read(&json!({ "keys": keys }), &[]).unwrap();
    (set, mistakes.iter().map(ToString::to_string).collect())
}

#[test]
fn a_key_that_cannot_be_used_is_left_out_and_the_others_are_used() {
    let (set, warnings) = read(vec![
        json!({"kty": "RSA", "kid": "old", "n": "AQAB", "e": "AQAB"}),
        rsa(Some("good"), 1),
        json!({"kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "EC", "crv": "secp256k1", "kid": "k\n[error]"}),
        json!({"kty": "RSA", "kid": "p", "n": "AQAB=", "e": "AQAB"}),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "secret", "x": "AA", "d": "AA"}),
        json!(7),
    ]);
    assert_eq!(set.keys().map(VerificationKey::kid).collect::<Vec<_>>(), [Some("good")]);
    assert_eq!(
        warnings,
        [
            "keys[0]: (kid old) is not used: n has 17 bits, and 2048 to 4096 are accepted",
            "keys[2]: (kid enc) is not used: use is enc, and only keys for signatures are used",
            "keys[3]: is not used: crv is secp256k1, and P-256, P-384 and P-521 are supported",
            "keys[4]: (kid p) is not used: n is not base64url: it ends with '='",
            "keys[5]: (kid secret) is not used: is a private key; put only its public part here",
            "keys[6]: is not used: it is no object",
        ]
    );
}

#[test]
fn a_set_without_any_usable_key_is_an_error() {
    let mistakes = |jwks: Value| KeySet::read(&jwks, &[]).unwrap_err().to_string();
    assert_eq!(mistakes(json!([])), r#"must be a JWK Set: an object with a list "keys""#);
    assert_eq!(mistakes(json!({"keys": []})), "holds no key that tokens can be verified with");
    assert_eq!(
        mistakes(json!({"keys": [7, {"kty": "oct", "k": "AA"}]})),
        "keys[0]: is not used: it is no object; \
         keys[1]: is not used: needs an alg, for its type does not imply one; \
         holds no key that tokens can be verified with"
    );
}

#[test]
fn dozens_of_keys_are_read_and_no_more_than_the_bound() {
    let keys = |count: usize| (0..count).map(|number| rsa(Some(&number.to_string()), number)).collect::<Vec<_>>();
    let (set, warnings) = read(keys(100));
    assert_eq!((set.keys().count(), warnings.len()), (100, 0));
    let (set, warnings) = read(keys(300));
    assert_eq!(set.keys().count(), MAX_JWKS);
    let bound = "keys[256]: is not used, nor is any key after it: of a set, 256 keys are used, and 1024 are looked at";
    assert_eq!(warnings, [bound]);
    let unusable = (0..2000).map(|_| json!(7)).chain([rsa(None, 1)]).collect::<Vec<_>>();
    assert!(KeySet::read(&json!({ "keys": unusable }), &[]).is_err(), "it is not looked at to its end");
}

#[test]
fn the_same_key_twice_is_one_and_two_namesakes_are_both_used() {
    let (set, warnings) = read(vec![rsa(Some("a"), 1), rsa(Some("a"), 1), rsa(Some("a"), 2), rsa(Some("a"), 3)]);
    assert_eq!(set.keys().count(), 2);
    assert_eq!(warnings, ["keys[3]: (kid a) is not used: 2 keys before it have its kid and its algorithm"]);
}

#[test]
fn more_than_two_keys_without_kid_are_named() {
    let (set, warnings) = read((0..3).map(|number| rsa(None, number)).collect());
    assert_eq!(set.keys().count(), 3);
    let named = "keys[2]: is one of more than 2 keys of its algorithm without kid: not all of them are tried, unless the \
                 issuer has try_all_keys";
    assert_eq!(warnings, [named]);
}
