//! Which tokens are accepted.

use std::time::Duration;

use curfew_testbed::tokens::{self, Signer, hs256_text, jwks, with};
use curfew_testbed::wasm_host::{Host, Outcome, START};
use serde_json::{Value, json};

use crate::support::{
    SECRET, admitted, answer, claims_of, configured, host, refused, send, send_and_answer, sign, token,
};

#[test]
fn every_algorithm_is_admitted_with_and_without_the_hosts_help() {
    for algorithm in tokens::ALGORITHMS {
        let signer = Signer::generate(algorithm).unwrap();
        let issuers = json!({"issuers": [{"issuer": tokens::ISSUER, "jwks": jwks([&signer])}]});
        for setup in [configured(issuers.clone()), configured(issuers.clone()).without_verify_signature()] {
            let mut host = Host::start(&setup).unwrap();
            let token = signer.sign(&claims_of("alice")).unwrap();
            let outcome = send_and_answer(&mut host, &token, "active").unwrap_or_else(|e| panic!("{algorithm}: {e:#}"));
            assert_eq!(admitted(&outcome).unwrap().all("x-user-id"), ["alice"], "{algorithm}");
            let (head, _) = token.rsplit_once('.').unwrap();
            let other = signer.sign(&claims_of("alice")).unwrap();
            let (_, foreign_signature) = other.rsplit_once('.').unwrap();
            let forged = format!("{head}.{foreign_signature}");
            refused(&send(&mut host, &forged).unwrap().1, 401, "token_invalid");
        }
    }
}

#[test]
fn rsa_and_ecdsa_are_left_to_the_host_where_it_can() {
    for (algorithm, by_host) in [("RS256", true), ("ES256", true), ("PS256", false), ("EdDSA", false), ("HS256", false)]
    {
        let signer = Signer::generate(algorithm).unwrap();
        let issuers = json!({"issuers": [{"issuer": tokens::ISSUER, "jwks": jwks([&signer])}]});
        let mut host = Host::start(&configured(issuers)).unwrap();
        let token = signer.sign(&claims_of("alice")).unwrap();
        admitted(&send_and_answer(&mut host, &token, "active").unwrap()).unwrap();
        assert_eq!(host.signatures_checked_by_host() > 0, by_host, "{algorithm}");
    }
}

#[test]
fn a_signature_is_checked_once_per_token_text() {
    let signer = Signer::generate("ES256").unwrap();
    let issuers = json!({"issuers": [{"issuer": tokens::ISSUER, "jwks": jwks([&signer])}]});
    let mut host = Host::start(&configured(issuers)).unwrap();
    let token = signer.sign(&claims_of("alice")).unwrap();
    admitted(&send_and_answer(&mut host, &token, "active").unwrap()).unwrap();
    for _ in 0..3 {
        host.advance(Duration::from_secs(6));
        admitted(&send_and_answer(&mut host, &token, "active").unwrap()).unwrap();
    }
    assert_eq!(host.signatures_checked_by_host(), 1);
}

#[test]
fn both_spellings_of_an_es256_signature_ask_about_the_same_token() {
    let signer = Signer::generate("ES256").unwrap();
    let issuers = json!({"issuers": [{"issuer": tokens::ISSUER, "jwks": jwks([&signer])}]});
    let mut host = Host::start(&configured(issuers)).unwrap();
    let token = signer.sign(&claims_of("alice")).unwrap();
    let twin = tokens::es256_twin(&token).unwrap();
    assert_ne!(token, twin);
    refused(&send_and_answer(&mut host, &token, "revoked").unwrap(), 401, "token_revoked");
    let (stream, outcome) = send(&mut host, &twin).unwrap();
    if outcome == Outcome::Paused {
        answer(&mut host, "revoked").unwrap();
    }
    refused(&host.outcome(stream).unwrap(), 401, "token_revoked");
}

#[test]
fn a_respelled_base64_is_no_token() {
    let mut host = host().unwrap();
    let respelled = tokens::respelled_base64(&token().unwrap());
    refused(&send(&mut host, &respelled).unwrap().1, 401, "token_invalid");
}

#[test]
fn a_token_that_expires_between_requests_or_while_it_waits_is_refused() {
    let mut host = host().unwrap();
    let token = sign(&with(claims_of("alice"), json!({"exp": START + 10}))).unwrap();
    admitted(&send_and_answer(&mut host, &token, "active").unwrap()).unwrap();
    // The default skew is 5 seconds.
    host.advance(Duration::from_secs(14));
    admitted(&send_and_answer(&mut host, &token, "active").unwrap()).unwrap();
    host.advance(Duration::from_secs(1));
    refused(&send(&mut host, &token).unwrap().1, 401, "token_expired");
}

#[test]
fn bad_tokens_are_refused_without_a_question() {
    let mut host = host().unwrap();
    let claims = claims_of("alice");
    let signed = |changes: Value| sign(&with(claims.clone(), changes)).unwrap();
    let header = |text: &str| hs256_text(SECRET, text, &claims.to_string());
    let bad = [
        "not-a-token".to_owned(),
        "a.b.c".to_owned(),
        format!("{}.", token().unwrap()),
        header(r#"{"alg":"none"}"#),
        header(r#"{"alg":"HS512"}"#),
        header(r#"{"alg":"HS256","crit":["exp"]}"#),
        header(r#"{"alg":"HS256","typ":"logout+jwt"}"#),
        header(r#"{"alg":"HS256","alg":"HS256"}"#),
        header(r#"["HS256"]"#),
        signed(json!({"exp": null})),
        signed(json!({"exp": "soon"})),
        signed(json!({"exp": START + 40 * 86_400})),
        signed(json!({"nbf": START + 60})),
        signed(json!({"iat": START + 60})),
        signed(json!({"iss": "https://elsewhere.example"})),
        signed(json!({"iss": null})),
        signed(json!({"jti": "nul\u{0}"})),
        hs256_text(SECRET, r#"{"alg":"HS256"}"#, r#"{"sub":"a","sub":"b","exp":1767226200}"#),
        hs256_text(SECRET, r#"{"alg":"HS256"}"#, "[1]"),
    ];
    for token in bad {
        refused(&send(&mut host, &token).unwrap().1, 401, "token_invalid");
    }
    refused(&send(&mut host, &signed(json!({"exp": START - 5}))).unwrap().1, 401, "token_expired");
    assert!(host.callouts().is_empty());
    assert_eq!(host.metric("curfew_checks_sent"), 0);
}

#[test]
fn a_user_may_be_a_number() {
    let setup = configured(json!({"user_claim": "user_id", "identity_headers": {"x-user-id": "user_id"}}));
    let mut host = Host::start(&setup).unwrap();
    let token = sign(&with(claims_of("x"), json!({"user_id": 4711, "sub": null}))).unwrap();
    let outcome = send_and_answer(&mut host, &token, "active").unwrap();
    assert_eq!(admitted(&outcome).unwrap().all("x-user-id"), ["4711"]);
}
