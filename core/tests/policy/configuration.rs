//! What a policy's document may say, and which mistakes in it are named.

use curfew_core::{KeySet, Policy, RevocationKey, TokenError};
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
    assert_eq!(outcome(json!({"alg": "HS256"})), Some(TokenError::MissingKid));
    assert_eq!(outcome(json!({"alg": "HS256", "kid": "old"})), Some(TokenError::Signature));
    assert_eq!(outcome(json!({"alg": "HS256", "kid": "gone"})), Some(TokenError::UnknownKey));
}

#[test]
fn keys_that_are_not_used_are_warnings_with_their_place() {
    let jwk = |kid: Option<&str>, secret: &str| json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": encode(secret)});
    let warnings = |keys: Vec<Value>| {
        let (policy, _) = Policy::from_document(&json!({"issuers": [{"jwks": {"keys": keys}}]})).unwrap();
        policy.warnings().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(warnings(vec![jwk(None, SECRET), jwk(Some("a"), SECRET)]).is_empty());
    let weak =
        "issuers[0].jwks.keys[1]: (kid w) is not used: k is too short for HS256: 5 bytes, at least 32 are needed";
    assert_eq!(warnings(vec![jwk(None, SECRET), jwk(Some("w"), "short")]), [weak]);
}

#[test]
fn a_private_key_in_a_configuration_is_a_mistake() {
    let good = json!({"kty": "oct", "alg": "HS256", "k": encode(SECRET)});
    let private = json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"});
    let document = json!({"issuers": [{"jwks": {"keys": [good, private]}}]});
    let mistakes = Policy::from_document(&document).unwrap_err().to_string();
    assert_eq!(mistakes, "issuers[0].jwks.keys[1]: is a private key; put only its public part here");
}

#[test]
fn a_token_has_one_of_the_issuer_s_algorithms() {
    let outcome = |settings: Value, alg: &str| {
        let mut issuer = json!({"issuer": ISSUER, "secret": SECRET});
        issuer.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        prove(&rules(json!([issuer])), &sign(&json!({ "alg": alg }), &claims_with(json!({})))).err()
    };
    assert_eq!(outcome(json!({}), "HS256"), None);
    assert_eq!(outcome(json!({"algorithms": ["HS512", "HS256"]}), "HS256"), None);
    assert_eq!(outcome(json!({"algorithms": ["HS512", "HS256"]}), "HS384"), Some(TokenError::Algorithm));
    assert_eq!(outcome(json!({"algorithm": "HS512"}), "HS256"), Some(TokenError::Algorithm));
    let problem = |settings: Value| {
        let mut issuer = json!({"secret": SECRET});
        issuer.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        Policy::from_document(&json!({"issuers": [issuer]})).unwrap_err().to_string()
    };
    let both = json!({"algorithm": "HS256", "algorithms": ["HS256"]});
    assert_eq!(problem(both), "issuers[0].algorithms: must not be given together with algorithm");
    assert!(problem(json!({"algorithms": ["none"]})).starts_with("issuers[0].algorithms: must be a list of: HS256, "));
    let public = "issuers[0].secret: RS256 takes a JWK Set, not a secret";
    assert_eq!(problem(json!({"algorithms": ["HS256", "RS256"]})), public, "no secret serves public-key algorithms");
}

/// The sentences say which of kid, alg and a missing kid it was.
#[test]
fn a_key_that_does_not_fit_is_told_apart() {
    let jwk = |kid: &str| json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": encode(SECRET)});
    let keys = json!({"keys": [jwk("a"), jwk("b"), jwk("c")]});
    let by = |settings: Value, header: Value| {
        let mut issuer = json!({"jwks": keys});
        issuer.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let rules = rules(json!([issuer]));
        prove(&rules, &sign(&header, &claims_with(json!({})))).map(drop).map_err(|error| error.to_string())
    };
    let kid = "The token's key is not known here: no key of its issuer has its kid.";
    let alg = "The token's algorithm (alg) is not accepted from its issuer, or is not that of its key.";
    let missing = "The token does not name its key (kid), and its issuer has several.";
    assert_eq!(by(json!({}), json!({"alg": "HS256", "kid": "d"})), Err(kid.to_owned()));
    assert_eq!(
        by(json!({}), json!({"alg": "RS256", "kid": "d"})),
        Err(kid.to_owned()),
        "new keys may be of another alg"
    );
    assert_eq!(by(json!({}), json!({"alg": "RS256", "kid": "a"})), Err(alg.to_owned()));
    assert_eq!(by(json!({}), json!({"alg": "RS256"})), Err(alg.to_owned()));
    assert_eq!(by(json!({}), json!({"alg": "HS256"})), Err(missing.to_owned()));
    assert_eq!(by(json!({"try_all_keys": true}), json!({"alg": "HS256"})), Ok(()));
    assert_eq!(by(json!({"try_all_keys": true}), json!({"alg": "HS256", "kid": "d"})), Err(kid.to_owned()));
    for error in [TokenError::UnknownKey, TokenError::Algorithm, TokenError::MissingKid] {
        assert_eq!(error.denial().code(), "token_invalid");
    }
}

#[test]
fn a_token_without_kid_is_tried_with_a_bounded_number_of_keys() {
    let jwk = |kid: usize| json!({"kty": "oct", "alg": "HS256", "kid": kid.to_string(), "k": encode(SECRET)});
    let keys = (0..40).map(jwk).collect::<Vec<_>>();
    let rules = rules(json!([{"jwks": {"keys": keys}, "try_all_keys": true}]));
    let mut tried = 0;
    let outcome = rules.prove(sign(&json!({"alg": "HS256"}), &claims_with(json!({}))).as_bytes(), NOW, |_| {
        tried += 1;
        false
    });
    assert_eq!((outcome.err(), tried), (Some(TokenError::Signature), 8));
}

#[test]
fn a_wrong_policy_names_all_its_mistakes() {
    let document = json!({
        "issuers": [
            {"issuer": ISSUER, "secret": "short", "audience": "shop", "audiences": []},
            {"issuer": ISSUER, "jwks": {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}},
            {"secret": SECRET, "algorithm": "RS256"},
            {"issuer": "https://b.example.com", "secret": SECRET, "secret_base64": SECRET, "keys": "control_plane"},
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
            "issuers[0].audience: is not a known field here; did you mean audiences? (known: algorithm, algorithms, audiences, clock_skew, issuer, jwks, keys, require_issued_at, require_user, required_claims, secret, secret_base64, session_claim, token_lifetime, try_all_keys)",
            "issuers[1].jwks.keys[0]: is not used: n has 17 bits, and 2048 to 4096 are accepted",
            "issuers[1].jwks: holds no key that tokens can be verified with",
            "issuers[1].issuer: is given twice",
            "issuers[2].secret: RS256 takes a JWK Set, not a secret",
            "issuers[2].issuer: must be given where there is more than one issuer",
            "issuers[3].keys: must not be given together with jwks, secret or secret_base64",
            "issuers[3].jwks: only one of jwks, secret and secret_base64 may be given",
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

#[test]
fn an_issuer_without_keys_gets_them_from_elsewhere() {
    let document = json!({"issuers": [
        {"issuer": "https://a.example.com"},
        {"issuer": "https://b.example.com", "keys": "control_plane"},
        {"issuer": "https://c.example.com", "secret": SECRET},
    ]});
    let (policy, keys) = Policy::from_document(&document).unwrap();
    let elsewhere: Vec<_> = (0..4).map(|place| policy.keys_elsewhere(place)).collect();
    assert_eq!(elsewhere, [true, true, false, false]);
    let empty: Vec<_> = (0..4).map(|place| keys.get(place).map(KeySet::is_empty)).collect();
    assert_eq!(empty, [Some(true), Some(true), Some(false), None]);
    let other = json!({"issuers": [{"issuer": "https://a.example.com", "keys": "inline"}]});
    assert_eq!(
        Policy::from_document(&other).unwrap_err().to_string(),
        "issuers[0].keys: must be one of: control_plane"
    );
}
