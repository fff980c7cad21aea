//! Several issuers of one Envoy, each with several keys of one algorithm and a rule of its own for tokens that do not name
//! theirs. What else differs between issuers is in `issuers.rs`.

use curfew_testbed::http::{Answer, Request};
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, base64, claims, hs256_text, now, with};
use serde_json::{Value, json};

use crate::shared::told;

const TRIED: &str = "https://tried.example.com";
const NAMED: &str = "https://named.example.com";
const TIMELESS: &str = "https://timeless.example.com";
const REGISTERED: &str = "https://registered.example.com";

const KIDS: [&str; 3] = ["a", "b", "c"];

/// The secret of an issuer's key. The control plane refuses one that two issuers share.
fn secret(issuer: &str, kid: &str) -> String {
    format!("the secret {kid} of {issuer}")
}

fn stack() -> Stack {
    let jwk = |issuer: &str, kid: &str| json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": base64(secret(issuer, kid).as_bytes())});
    let jwks = |issuer: &str| json!({"keys": KIDS.map(|kid| jwk(issuer, kid))});
    let issuers = json!([
        {"issuer": TRIED, "jwks": jwks(TRIED), "try_all_keys": true},
        {"issuer": NAMED, "jwks": jwks(NAMED)},
        {"issuer": TIMELESS, "secret": secret(TIMELESS, "a"), "token_lifetime": "1h"},
        {"issuer": REGISTERED, "secret": secret(REGISTERED, "a"), "require_issued_at": false},
    ]);
    Plan::shipped().unwrap().with_issuers(issuers).unwrap().start().unwrap()
}

/// A token of this issuer whose header does not name its key.
fn nameless(issuer: &str, kid: &str, changes: Value) -> String {
    let claims = with(with(claims("alice"), json!({"iss": issuer})), changes);
    Signer::from_secret(&secret(issuer, kid)).sign(&claims).unwrap()
}

/// A token of this issuer with this header, signed with the key `kid`.
fn headed(issuer: &str, kid: &str, header: Value) -> String {
    let claims = with(claims("alice"), json!({"iss": issuer}));
    hs256_text(&secret(issuer, kid), &header.to_string(), &claims.to_string())
}

fn get(stack: &Stack, token: &str) -> Answer {
    stack.send(&Request::get("/orders").bearer(token)).unwrap()
}

fn logout(stack: &Stack, token: &str) -> Answer {
    stack.send(&Request::post("/api/v2/logout").bearer(token)).unwrap()
}

/// Why both sides refuse the token: the same sentence.
fn refused(stack: &Stack, token: &str) -> String {
    let (filter, control_plane) = (get(stack, token), logout(stack, token));
    for answer in [&filter, &control_plane] {
        assert_eq!(told(answer), (401, "token_invalid".into()), "{}", answer.text());
    }
    assert_eq!(filter.json()["detail"], control_plane.json()["detail"]);
    filter.json()["detail"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_without_kid_is_tried_with_every_key_where_its_issuer_says_so_and_refused_in_clear_words_elsewhere() {
    let stack = stack();
    for kid in KIDS {
        let token = nameless(TRIED, kid, json!({}));
        let answer = get(&stack, &token);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(logout(&stack, &token).status, 200);
        assert_eq!(told(&get(&stack, &token)), (401, "token_revoked".into()));
        assert_eq!(get(&stack, &headed(NAMED, kid, json!({"alg": "HS256", "kid": kid}))).status, 200, "{kid}");
    }
    let wrong_signature = "The token's signature does not verify.";
    assert_eq!(refused(&stack, &nameless(TRIED, "d", json!({}))), wrong_signature);
    let missing = "The token does not name its key (kid), and its issuer has several.";
    assert_eq!(refused(&stack, &nameless(NAMED, "a", json!({}))), missing);
    for issuer in [TRIED, NAMED] {
        let unknown = headed(issuer, "a", json!({"alg": "HS256", "kid": "d"}));
        assert_eq!(refused(&stack, &unknown), "The token's key is not known here: no key of its issuer has its kid.");
        let other = headed(issuer, "a", json!({"alg": "RS256", "kid": "a"}));
        let detail = "The token's algorithm (alg) is not accepted from its issuer, or is not that of its key.";
        assert_eq!(refused(&stack, &other), detail);
        assert_eq!(refused(&stack, &headed(issuer, "b", json!({"alg": "HS256", "kid": "a"}))), wrong_signature);
    }
}

#[test]
fn each_issuer_has_its_own_rule_for_tokens_that_do_not_say_when_they_were_issued() {
    let stack = stack();
    let timeless = |issuer: &str, lives: i64| nameless(issuer, "a", json!({"iat": null, "exp": now() + lives}));
    let of_lifetime = timeless(TIMELESS, 3_600);
    assert_eq!(get(&stack, &of_lifetime).status, 200);
    let longer = refused(&stack, &timeless(TIMELESS, 7_200));
    assert_eq!(longer, "The token lives longer than is accepted here.");
    let registered = timeless(REGISTERED, 7_200);
    assert_eq!(get(&stack, &registered).status, 200, "no lifetime is known of this one");
    let missing = refused(&stack, &timeless(TRIED, 3_600));
    assert!(missing.starts_with("The token does not say when it was issued (iat)"), "{missing}");
    for token in [&of_lifetime, &registered] {
        assert_eq!(logout(&stack, token).status, 200);
        assert_eq!(told(&get(&stack, token)), (401, "token_revoked".into()));
    }
}
