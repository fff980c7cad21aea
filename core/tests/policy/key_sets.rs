//! The keys of a policy, replaced one set at a time.

use curfew_core::{KeySet, KeySets, TokenError, verify_natively};
use serde_json::{Value, json};

use crate::support::{ISSUER, NOW, Rules, SECRET, claims_with, encode, prove, rules, sign};

const OTHER_SECRET: &str = "another secret, which is long enough for HS256 as well";

fn jwks(keys: &[(&str, &str)]) -> Value {
    let jwk = |(kid, secret): &(&str, &str)| json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": encode(secret)});
    json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()})
}

fn set(keys: &[(&str, &str)]) -> KeySet {
    KeySet::read(&jwks(keys), &[]).unwrap().0
}

fn token(kid: &str) -> String {
    sign(&json!({"alg": "HS256", "kid": kid}), &claims_with(json!({})))
}

/// One issuer whose only key is named "old".
fn with_old_key() -> Rules {
    rules(json!([{"issuer": ISSUER, "jwks": jwks(&[("old", SECRET)])}]))
}

#[test]
fn a_set_read_by_itself_proves_what_the_document_s_own_set_proves() {
    let mut rules = with_old_key();
    let inline = prove(&rules, &token("old")).unwrap();
    rules.keys = rules.keys.with(0, set(&[("old", SECRET)])).unwrap();
    assert_eq!(prove(&rules, &token("old")).unwrap().key, inline.key);
    assert!(rules.keys.contains(inline.key));
}

#[test]
fn an_added_key_proves_new_tokens_and_leaves_the_old_proofs() {
    let mut rules = with_old_key();
    let old = prove(&rules, &token("old")).unwrap();
    assert_eq!(prove(&rules, &token("new")).err(), Some(TokenError::UnknownKey));
    rules.keys = rules.keys.with(0, set(&[("old", SECRET), ("new", SECRET)])).unwrap();
    let new = prove(&rules, &token("new")).unwrap();
    assert!(rules.keys.contains(old.key) && rules.keys.contains(new.key));
    assert_ne!(old.key, new.key, "a key is named with its kid");
}

#[test]
fn a_removed_key_proves_nothing_and_takes_its_proofs_away() {
    let mut rules = with_old_key();
    let old = prove(&rules, &token("old")).unwrap();
    rules.keys = rules.keys.with(0, set(&[("new", OTHER_SECRET)])).unwrap();
    assert_eq!(prove(&rules, &token("old")).err(), Some(TokenError::UnknownKey));
    assert!(!rules.keys.contains(old.key));
}

#[test]
fn another_secret_under_the_same_kid_is_another_key() {
    let mut rules = with_old_key();
    let old = prove(&rules, &token("old")).unwrap();
    rules.keys = rules.keys.with(0, set(&[("old", OTHER_SECRET)])).unwrap();
    assert_eq!(prove(&rules, &token("old")).err(), Some(TokenError::Signature));
    assert!(!rules.keys.contains(old.key));
}

#[test]
fn an_issuer_whose_keys_are_not_known_proves_nothing() {
    let mut rules = with_old_key();
    let mut checks = 0;
    for keys in [KeySets::new([KeySet::default()]), KeySets::new([])] {
        rules.keys = keys;
        let outcome = rules.prove(token("old").as_bytes(), NOW, |check| {
            checks += 1;
            verify_natively(check)
        });
        assert_eq!(outcome.err(), Some(TokenError::UnknownKey));
    }
    assert_eq!(checks, 0);
}

#[test]
fn only_a_token_that_a_newer_key_could_prove_asks_for_newer_keys() {
    let mut rules = rules(json!([{"issuer": ISSUER, "algorithms": ["HS256", "HS384"]}]));
    let newer = |rules: &Rules, header: Value| {
        let token = sign(&header, &claims_with(json!({})));
        let unproven = rules.policy.prove_with(token.as_bytes(), NOW, &rules.keys, verify_natively).unwrap_err();
        (unproven.error, unproven.newer_keys.is_some())
    };
    let with_kid = json!({"alg": "HS256", "kid": "new"});
    assert_eq!(newer(&rules, with_kid.clone()), (TokenError::UnknownKey, true), "no key is known yet");
    rules.keys = KeySets::new([set(&[("old", OTHER_SECRET)])]);
    assert_eq!(newer(&rules, with_kid), (TokenError::UnknownKey, true));
    assert_eq!(newer(&rules, json!({"alg": "HS256"})), (TokenError::Signature, true), "its key is a guess");
    assert_eq!(newer(&rules, json!({"alg": "HS384"})), (TokenError::Algorithm, true));
    assert_eq!(newer(&rules, json!({"alg": "HS256", "kid": "old"})), (TokenError::Signature, false), "forged");
    assert_eq!(newer(&rules, json!({"alg": "HS384", "kid": "old"})), (TokenError::Algorithm, false));
    assert_eq!(newer(&rules, json!({"alg": "HS512", "kid": "new"})), (TokenError::Algorithm, false), "not allowed");
    let expired = sign(&json!({"alg": "HS256", "kid": "new"}), &claims_with(json!({"exp": NOW - 60, "iat": NOW - 90})));
    let unproven = rules.policy.prove_with(expired.as_bytes(), NOW, &rules.keys, verify_natively).unwrap_err();
    assert_eq!((unproven.error, unproven.newer_keys), (TokenError::Expired, None));
}

#[test]
fn keys_of_the_configuration_are_never_asked_for() {
    let rules = with_old_key();
    let unproven = rules.policy.prove_with(token("new").as_bytes(), NOW, &rules.keys, verify_natively).unwrap_err();
    assert_eq!((unproven.error, unproven.newer_keys), (TokenError::UnknownKey, None));
}
