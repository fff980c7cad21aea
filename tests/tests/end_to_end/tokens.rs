//! Tokens that are admitted: every algorithm, every way to send one, both protocols.

use curfew_testbed::http::Request;
use curfew_testbed::http2;
use curfew_testbed::tokens::{ALGORITHMS, claims, with};
use curfew_testbed::upstream::echoed_header;
use serde_json::json;

use crate::shared::{BOUND, dies_within_the_bound, shared, told};

#[test]
fn tokens_of_every_algorithm_are_admitted_and_die_with_their_logout() {
    let shared = shared();
    let mut logged_out = Vec::new();
    for algorithm in ALGORITHMS {
        let token = shared.keyed_token(algorithm, "alice").unwrap();
        let answer = shared.use_token(&token);
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.text());
        assert_eq!(echoed_header(&answer.json(), "x-user-id").as_deref(), Some("alice"), "{algorithm}");
        let answer = shared.log_out(&token);
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.text());
        logged_out.push((token, std::time::Instant::now()));
    }
    for (token, at) in logged_out {
        dies_within_the_bound(&shared.stack, &token, at, BOUND).unwrap();
    }
}

#[test]
fn the_credential_may_be_spelled_in_all_ways_that_mean_the_same() {
    let shared = shared();
    let token = shared.log_in("alice").unwrap();
    for value in [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER   {token}"), token.clone()] {
        let answer = shared.send(&Request::get("/orders").header("Authorization", &value));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn http2_is_treated_alike() {
    let shared = shared();
    let token = shared.log_in("alice").unwrap();
    let address = shared.stack.address();
    let admitted = http2::send(address, &Request::get("/orders?page=2").bearer(&token)).unwrap();
    assert_eq!(admitted.status, 200, "{}", admitted.text());
    assert_eq!(admitted.json()["path"], "/orders?page=2");
    assert_eq!(told(&http2::send(address, &Request::get("/orders")).unwrap()), (401, "token_missing".into()));
    let logout = http2::send(address, &Request::post("/api/v2/logout").bearer(&token)).unwrap();
    assert_eq!(logout.status, 200, "{}", logout.text());
}

/// Tokens with many roles are long.
#[test]
fn a_token_of_9_kb_is_admitted_and_dies_with_its_logout() {
    let shared = shared();
    let [first, second] = ["1", "2"].map(|jti| {
        let claims = with(claims("alice"), json!({"jti": format!("long-{jti}"), "roles": "r".repeat(6_900)}));
        shared.demo.sign(&claims).unwrap()
    });
    assert!(first.len() > 9_000, "{}", first.len());
    let answer = shared.use_token(&first);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(shared.log_out(&first).status, 200);
    let at = std::time::Instant::now();
    let logout = http2::send(shared.stack.address(), &Request::post("/api/v2/logout").bearer(&second)).unwrap();
    assert_eq!(logout.status, 200, "{}", logout.text());
    dies_within_the_bound(&shared.stack, &first, at, BOUND).unwrap();
    dies_within_the_bound(&shared.stack, &second, std::time::Instant::now(), BOUND).unwrap();
}

#[test]
fn a_route_that_is_optional_knows_its_user_where_there_is_one() {
    let shared = shared();
    let anonymous = shared.send(&Request::get("/public/page").header("x-user-id", "root"));
    assert_eq!((anonymous.status, echoed_header(&anonymous.json(), "x-user-id")), (200, None));
    let token = shared.log_in("alice").unwrap();
    let known = shared.send(&Request::get("/public/page").bearer(&token));
    assert_eq!(echoed_header(&known.json(), "x-user-id").as_deref(), Some("alice"));
    assert_eq!(told(&shared.send(&Request::get("/public/page").bearer("nonsense"))), (401, "token_invalid".into()));
}

#[test]
fn what_happened_is_visible_in_metrics_and_access_log_without_any_token() {
    let shared = shared();
    let token = shared.log_in("a-private-user").unwrap();
    assert_eq!(shared.use_token(&token).status, 200);
    assert_eq!(shared.send(&Request::get("/orders?access_token=a-private-query")).status, 401);
    for metric in ["curfew_requests_admitted", "curfew_requests_missing", "curfew_checks_sent"] {
        let value = shared.stack.envoy.metric(metric).unwrap();
        assert!(value.is_some_and(|value| value > 0), "{metric}: {value:?}");
    }
    let deadline = std::time::Instant::now() + crate::shared::PATIENCE;
    while !shared.stack.envoy.output().contains("curfew_token_missing") {
        // Envoy writes its access log at intervals.
        assert!(std::time::Instant::now() < deadline, "no curfew_token_missing in the access log");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let logs = shared.stack.envoy.output() + &shared.stack.control_plane.output();
    for secret in [token.as_str(), "a-private-user", "a-private-query"] {
        assert!(!logs.contains(secret), "{secret} is in a log");
    }
}
