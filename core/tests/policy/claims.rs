//! Every rule that a token can break.

use curfew_core::{RevocationKey, Times, TokenError, verify_natively};
use serde_json::{Value, json};

use crate::support::{ISSUER, NOW, Rules, SECRET, claims_with, encode, prove, rules, shop, sign};

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
    assert_eq!(shop().policy.check_times(&proven.times, NOW), Ok(()));
}

#[test]
fn an_integer_user_is_its_decimal_text() {
    let by_text = prove(&shop(), &sign(&json!({"alg": "HS256"}), &claims_with(json!({"sub": "42"})))).unwrap();
    let by_number = prove(&shop(), &sign(&json!({"alg": "HS256"}), &claims_with(json!({"sub": 42})))).unwrap();
    assert_eq!(by_text.keys.subject, by_number.keys.subject);
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
    let strict = Rules::read(&document);
    let claims = claims_with(json!({"iat": NOW - 60, "exp": NOW + 1}));
    let token = prove(&strict, &sign(&json!({"alg": "HS256"}), &claims)).unwrap();
    assert_eq!(strict.policy.check_times(&token.times, NOW), Ok(()));
    assert_eq!(strict.policy.check_times(&token.times, NOW + 1), Err(TokenError::Expired));
}

#[test]
fn a_token_without_exp_has_the_longest_life_where_such_tokens_are_allowed() {
    let mut claims = claims_with(json!({}));
    claims.as_object_mut().unwrap().remove("exp");
    assert_eq!(judge(&claims), Err(TokenError::Claim("exp")));
    let document = json!({"issuers": [{"secret": SECRET}], "allow_missing_exp": true, "max_token_ttl": "1h"});
    let rules = Rules::read(&document);
    let token = prove(&rules, &sign(&json!({"alg": "HS256"}), &claims)).unwrap();
    assert_eq!(token.times.expires_at, NOW + 3600);
    claims.as_object_mut().unwrap().remove("iat");
    let timeless = sign(&json!({"alg": "HS256"}), &claims);
    assert_eq!(prove(&rules, &timeless).err(), Some(TokenError::Claim("exp")));
}

#[test]
fn the_header_can_only_agree_with_the_key() {
    let refused = |header: Value| prove(&shop(), &sign(&header, &claims_with(json!({})))).err();
    for alg in ["none", "None", "hs256", "HS256 ", "HS512", "RS256", "ES256", ""] {
        assert_eq!(refused(json!({ "alg": alg })), Some(TokenError::Algorithm), "{alg}");
    }
    for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt", "", "JWT "] {
        assert_eq!(refused(json!({"alg": "HS256", "typ": typ})), Some(TokenError::Type), "{typ}");
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+JWT"] {
        assert_eq!(refused(json!({"alg": "HS256", "typ": typ})), None, "{typ}");
    }
}

#[test]
fn a_token_that_breaks_another_rule_costs_no_signature_check() {
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
    let rules = Rules::read(&document);
    let outcome = |auth_time: i64| {
        let claims = claims_with(json!({"auth_time": auth_time}));
        prove(&rules, &sign(&json!({"alg": "HS256"}), &claims)).err()
    };
    assert_eq!(outcome(NOW - 3000), None);
    assert_eq!(outcome(NOW - 3001), Some(TokenError::LivesTooLong));
    assert_eq!(outcome(NOW + 1), Some(TokenError::IssuedInFuture));
}

#[test]
fn the_length_of_a_life_is_judged_whether_it_is_over_or_not() {
    let rules = shop();
    let proven = prove(&rules, &sign(&json!({"alg": "HS256"}), &claims_with(json!({})))).unwrap();
    let longest = rules.policy.max_token_ttl() + rules.policy.clock_skew();
    let outcome = |issued_at: Option<i64>, expires_at: i64, now: i64| {
        let times = Times { issued_at, cutoff_time: issued_at, expires_at, ..proven.times };
        rules.policy.check_life(&times, now)
    };
    assert_eq!(outcome(Some(NOW), NOW + longest, NOW), Ok(()));
    assert_eq!(outcome(Some(NOW), NOW + longest, NOW + 2 * longest), Ok(()));
    assert_eq!(outcome(Some(NOW), NOW + longest + 1, NOW + 2 * longest), Err(TokenError::LivesTooLong));
    assert_eq!(outcome(None, NOW + longest, NOW), Ok(()));
    assert_eq!(outcome(None, NOW + longest + 1, NOW), Err(TokenError::LivesTooLong));
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

/// Refuses tokens of this issuer, which has these further settings, before any signature is checked.
fn judge_by(settings: &Value, claims: Value) -> Result<(), TokenError> {
    let mut issuer = json!({"issuer": ISSUER, "secret": SECRET});
    for (name, value) in settings.as_object().unwrap() {
        issuer[name] = value.clone();
    }
    let rules = rules(json!([issuer]));
    let token = sign(&json!({"alg": "HS256"}), &claims_with(claims));
    let mut signatures = 0;
    let outcome = rules.prove(token.as_bytes(), NOW, |check| {
        signatures += 1;
        verify_natively(check)
    });
    assert_eq!(signatures, usize::from(outcome.is_ok()), "a token of another kind is refused cheaply");
    outcome.map(|_| ())
}

#[test]
fn a_refresh_token_is_no_access_token_where_a_claim_tells_them_apart() {
    let settings = json!({"required_claims": {"token_type": "access"}});
    assert_eq!(judge_by(&settings, json!({"token_type": "access"})), Ok(()));
    for other in [json!({"token_type": "refresh"}), json!({"token_type": ["refresh"]}), json!({})] {
        assert_eq!(judge_by(&settings, other.clone()), Err(TokenError::RequiredClaim), "{other}");
    }
    assert_eq!(TokenError::RequiredClaim.denial().code(), "token_invalid");
    assert_eq!(TokenError::RequiredClaim.reason(), "required_claim");
}

#[test]
fn a_token_that_names_no_user_is_refused_where_one_is_required() {
    let nobody = claims_with(json!({}));
    assert!(nobody["sub"].is_string());
    let required = Rules::read(&json!({
        "issuers": [{"issuer": ISSUER, "secret": SECRET, "require_user": true}], "user_claim": "user_id",
    }));
    let lenient = Rules::read(&json!({"issuers": [{"issuer": ISSUER, "secret": SECRET}], "user_claim": "user_id"}));
    let token = sign(&json!({"alg": "HS256"}), &nobody);
    assert_eq!(prove(&required, &token).err(), Some(TokenError::NoUser));
    assert_eq!(prove(&lenient, &token).unwrap().keys.subject, None);
    let named = sign(&json!({"alg": "HS256"}), &claims_with(json!({"user_id": 7})));
    assert_eq!(prove(&required, &named).unwrap().user.as_deref(), Some("7"));
}

#[test]
fn what_a_token_must_have_does_not_change_its_keys() {
    let plain = rules(json!([{"issuer": ISSUER, "secret": SECRET}]));
    let strict = json!({"issuer": ISSUER, "secret": SECRET, "required_claims": {"a": 1}, "require_user": true});
    assert_eq!(plain.policy.keyspace(ISSUER), rules(json!([strict])).policy.keyspace(ISSUER));
}

#[test]
fn the_operators_own_records_are_read_whatever_is_required() {
    let rules = Rules::read(&json!({
        "issuers": [{"issuer": ISSUER, "secret": SECRET, "required_claims": {"a": 1}, "require_user": true}],
        "user_claim": "user_id",
    }));
    assert!(rules.policy.read_unproven(sign(&json!({"alg": "HS256"}), &claims_with(json!({}))).as_bytes()).is_ok());
}

#[test]
fn an_issuer_may_have_a_clock_skew_of_its_own() {
    let document = json!({
        "issuers": [
            {"issuer": ISSUER, "secret": SECRET},
            {"issuer": "https://late.example.com", "secret": SECRET, "clock_skew": "60s"},
            {"issuer": "https://exact.example.com", "secret": SECRET, "clock_skew": "0s"},
        ],
        "clock_skew": "10s",
    });
    let rules = Rules::read(&document);
    for (issuer, skew) in [(ISSUER, 10), ("https://late.example.com", 60), ("https://exact.example.com", 0)] {
        let judge = |claims: Value| {
            let mut all = json!({"iss": issuer});
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            prove(&rules, &sign(&json!({"alg": "HS256"}), &claims_with(all)))
        };
        let token = judge(json!({})).unwrap();
        let until = token.times.expires_at + skew;
        assert_eq!(rules.policy.check_times(&token.times, until - 1), Ok(()), "{issuer}");
        assert_eq!(rules.policy.check_times(&token.times, until), Err(TokenError::Expired), "{issuer}");
        assert!(judge(json!({"iat": NOW + skew})).is_ok(), "{issuer}");
        assert_eq!(judge(json!({"iat": NOW + skew + 1})).err(), Some(TokenError::IssuedInFuture), "{issuer}");
        assert_eq!(judge(json!({"nbf": NOW + skew + 1})).err(), Some(TokenError::NotYetValid), "{issuer}");
    }
    assert_eq!(rules.policy.clock_skew(), 60, "revocations are kept for the longest");
}

#[test]
fn the_keyspace_and_the_agreement_know_an_issuers_own_skew() {
    let policy = |own: Value| {
        let mut issuer = json!({"issuer": ISSUER, "secret": SECRET});
        issuer.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        Rules::read(&json!({"issuers": [issuer, {"issuer": "https://b.example.com", "secret": SECRET}]})).policy
    };
    let (plain, own) = (policy(json!({})), policy(json!({"clock_skew": "7s"})));
    assert_ne!(plain.keyspace(ISSUER), own.keyspace(ISSUER));
    assert_eq!(plain.keyspace("https://b.example.com"), own.keyspace("https://b.example.com"));
    assert_eq!(plain.agreement().differences(&own.agreement()).fields(), ["issuers"]);
    assert_eq!(plain.keyspace(ISSUER), policy(json!({"clock_skew": "5s"})).keyspace(ISSUER), "5 s is the default");
}
