//! Tokens that do not say when they were issued.

use curfew_core::{Coverage, Kind, Policy, TokenError, covers};
use serde_json::{Value, json};

use crate::support::{ISSUER, NOW, Rules, SECRET, claims_with, prove, sign};

/// The rules of one issuer with these settings.
fn by(settings: Value, others: Value) -> Rules {
    let mut issuer = json!({"issuer": ISSUER, "secret": SECRET});
    issuer.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let mut document = json!({ "issuers": [issuer] });
    document.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    Rules::read(&document)
}

/// A token as PyJWT makes it: claims without `iat`.
fn timeless(changes: Value) -> String {
    let mut claims = claims_with(changes);
    claims.as_object_mut().unwrap().remove("iat");
    sign(&json!({"alg": "HS256"}), &claims)
}

#[test]
fn a_token_that_no_logout_of_all_devices_could_tell_from_later_ones_is_refused_from_the_start() {
    let rules = by(json!({}), json!({}));
    for token in [timeless(json!({})), sign(&json!({"alg": "HS256"}), &claims_with(json!({"iat": null})))] {
        assert_eq!(prove(&rules, &token).err(), Some(TokenError::NoIssueTime("iat")));
    }
    let error = TokenError::NoIssueTime("iat");
    assert_eq!((error.denial().code(), error.reason()), ("token_invalid", "no_issue_time"));
    assert_eq!(
        error.to_string(),
        "The token does not say when it was issued (iat), so no logout of all devices could tell it from later ones."
    );
    assert!(prove(&rules, &timeless(json!({"sub": null}))).is_ok(), "no logout of all devices reaches it anyway");
}

#[test]
fn the_same_is_so_for_auth_time_where_that_is_the_claim() {
    let by_auth_time = json!({"issued_at_claim": "auth_time"});
    let token = sign(&json!({"alg": "HS256"}), &claims_with(json!({})));
    let rules = by(json!({}), by_auth_time.clone());
    assert_eq!(prove(&rules, &token).err(), Some(TokenError::NoIssueTime("auth_time")));
    let rules = by(json!({"token_lifetime": "10m"}), by_auth_time.clone());
    assert_eq!(prove(&rules, &token).err(), Some(TokenError::NoIssueTime("auth_time")), "a refresh is no login");
    let rules = by(json!({"require_issued_at": false}), by_auth_time);
    assert_eq!(prove(&rules, &token).unwrap().times.cutoff_time, None);
}

#[test]
fn where_logins_are_registered_such_a_token_is_judged_by_its_registration() {
    let rules = by(json!({"require_issued_at": false}), json!({}));
    let proven = prove(&rules, &timeless(json!({}))).unwrap();
    assert_eq!((proven.times.issued_at, proven.times.cutoff_time), (None, None));
    assert_eq!(
        covers(Kind::Subject, NOW, proven.times.cutoff_time),
        Coverage::SameSecond,
        "the control plane is asked"
    );
}

#[test]
fn a_lifetime_says_when_a_token_was_issued() {
    let rules = by(json!({"token_lifetime": "10m"}), json!({}));
    let proven = prove(&rules, &timeless(json!({"exp": NOW + 500}))).unwrap();
    assert_eq!((proven.times.issued_at, proven.times.cutoff_time), (Some(NOW - 100), Some(NOW - 100)));
    assert_eq!(covers(Kind::Subject, NOW - 101, proven.times.cutoff_time), Coverage::Clear);
    assert_eq!(covers(Kind::Subject, NOW - 99, proven.times.cutoff_time), Coverage::Revoked);
    let own = sign(&json!({"alg": "HS256"}), &claims_with(json!({"iat": NOW - 7})));
    assert_eq!(prove(&rules, &own).unwrap().times.issued_at, Some(NOW - 7), "its own iat counts");
}

#[test]
fn a_token_that_lives_longer_than_the_lifetime_would_escape_cutoffs() {
    let rules = by(json!({"token_lifetime": "5m"}), json!({}));
    assert_eq!(prove(&rules, &timeless(json!({"exp": NOW + 305}))).err(), None, "within the skew");
    assert_eq!(prove(&rules, &timeless(json!({"exp": NOW + 306}))).err(), Some(TokenError::LivesTooLong));
}

#[test]
fn both_sides_must_agree_about_the_lifetime() {
    let [none, hour, day] = [json!({}), json!({"token_lifetime": "1h"}), json!({"token_lifetime": "1d"})]
        .map(|settings| by(settings, json!({})).policy);
    assert_eq!(none.keyspace(ISSUER), by(json!({"require_issued_at": false}), json!({})).policy.keyspace(ISSUER));
    for (one, other) in [(&none, &hour), (&hour, &none), (&hour, &day)] {
        assert_ne!(one.keyspace(ISSUER), other.keyspace(ISSUER));
        assert!(!other.knows(one.keyspace(ISSUER)));
        assert_eq!(one.agreement().differences(&other.agreement()).fields(), ["issuers"]);
    }
    assert!(hour.agreement().differences(&hour.agreement()).is_empty());
}

#[test]
fn a_lifetime_that_no_token_can_have_is_a_mistake() {
    let problem = |lifetime: &str| {
        let issuer = json!({"secret": SECRET, "token_lifetime": lifetime});
        Policy::from_document(&json!({"issuers": [issuer], "max_token_ttl": "1d"})).unwrap_err().to_string()
    };
    assert_eq!(problem("25h"), "issuers[0].token_lifetime: must not be longer than max_token_ttl");
    for fraction in ["0s", "1500ms"] {
        assert_eq!(problem(fraction), "issuers[0].token_lifetime: must be whole seconds, at least one");
    }
}

#[test]
fn both_sides_must_agree_about_the_session_claim() {
    let [none, sid, other] = [json!({}), json!({"session_claim": "sid"}), json!({"session_claim": "session_state"})]
        .map(|settings| by(settings, json!({})).policy);
    assert_eq!(none.keyspace(ISSUER), sid.keyspace(ISSUER), "the default");
    assert_ne!(none.keyspace(ISSUER), other.keyspace(ISSUER));
    assert_eq!(none.agreement().differences(&other.agreement()).fields(), ["issuers"]);
    assert_eq!((sid.session_claim(ISSUER), other.session_claim(ISSUER)), (Some("sid"), Some("session_state")));
    let rules = other.key_rules().map(|rule| (rule.kind.as_str(), rule.claim, rule.issued_at_claim));
    let expected = [("subject", "sub", "iat"), ("session", "session_state", "")];
    assert_eq!(rules.collect::<Vec<_>>(), expected.map(|(kind, claim, at)| (kind, claim.to_owned(), at.to_owned())));
}
