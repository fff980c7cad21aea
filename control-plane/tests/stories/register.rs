//! Registering tokens at their issue.

use axum::http::Request;
use serde_json::json;

use crate::plane::{Plane, ask};
use crate::tokens::{NOW, claims, token, token_of, with};

const PATH: &str = "/internal/v1/tokens";

#[tokio::test]
async fn new_and_known_tokens_are_counted_apart() {
    let plane = Plane::start().await;
    let (one, two) = (token_of("alice", "1"), token_of("alice", "2"));
    assert_eq!(plane.register(&[&one]).await.body, r#"{"registered":1,"known":0,"revoked":0}"#);
    assert_eq!(plane.register(&[&one, &two, &two]).await.body, r#"{"registered":1,"known":2,"revoked":0}"#);
    assert_eq!(plane.rows().await, (2, 0, 0));
}

#[tokio::test]
async fn registering_again_never_brings_a_token_back() {
    let plane = Plane::start().await;
    let token = token_of("alice", "1");
    plane.logout(&token).await;
    assert_eq!(plane.register(&[&token]).await.body, r#"{"registered":0,"known":1,"revoked":1}"#);
    assert_eq!(plane.verdict(&token).await, "revoked");
}

#[tokio::test]
async fn a_token_that_was_dead_before_it_was_registered_is_listed_as_such() {
    let plane = Plane::start().await;
    plane.advance(10);
    plane.lgt_all(json!({"user_id": "alice", "app_id": "app", "app_key": "key"})).await;
    let late = token_of("alice", "1");
    assert_eq!(plane.register(&[&late]).await.body, r#"{"registered":1,"known":0,"revoked":1}"#);
    // Once more, and twice in one call: each of them counts.
    assert_eq!(plane.register(&[&late, &late]).await.body, r#"{"registered":0,"known":2,"revoked":2}"#);
    assert_eq!(plane.verdict(&late).await, "revoked");
    let row: (bool, i64, String) = sqlx::query_as("SELECT is_block, blocked_at, block_reason FROM user_token_logs")
        .fetch_one(&mut plane.database().await)
        .await
        .unwrap();
    assert_eq!(row, (true, NOW + 10, "already_revoked".to_owned()));
}

#[tokio::test]
async fn a_login_in_the_second_of_the_logout_learns_that_its_token_is_dead() {
    let plane = Plane::start().await;
    // Without a jti, two logins of a user in one second make the same token.
    let nameless = || token(&with(claims("alice", ""), json!({"jti": null})));
    let first = nameless();
    assert_eq!(plane.register(&[&first]).await.body, r#"{"registered":1,"known":0,"revoked":0}"#);
    plane.logout(&first).await;
    let second = nameless();
    assert_eq!(second, first);
    let fresh = token_of("alice", "1");
    assert_eq!(plane.register(&[&second, &fresh]).await.body, r#"{"registered":1,"known":1,"revoked":1}"#);
    assert_eq!((plane.verdict(&second).await, plane.verdict(&fresh).await), ("revoked".into(), "active".into()));
    let metrics = ask(plane.internal(), Request::get("/metrics")).await.body;
    assert!(metrics.contains("curfew_tokens_registered_revoked_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_login_in_the_second_of_a_logout_of_all_devices_gets_a_token_that_works() {
    let plane = Plane::start().await;
    let old = token_of("alice", "1");
    plane.register(&[&old]).await;
    plane.logout_all(&old).await;
    let new = token_of("alice", "2");
    assert_eq!(plane.register(&[&new, &old]).await.body, r#"{"registered":1,"known":1,"revoked":1}"#);
    assert_eq!((plane.verdict(&new).await, plane.verdict(&old).await), ("active".into(), "revoked".into()));
}

#[tokio::test]
async fn one_bad_token_keeps_all_out_and_is_named() {
    let plane = Plane::start().await;
    let good = token_of("alice", "1");
    let expired = token(&with(claims("alice", "2"), json!({"exp": NOW - 60, "iat": NOW - 120})));
    let answer = plane.register(&[&good, &expired]).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (
            400,
            r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"tokens[1]: The token has expired.","code":"token_expired"}"#
        )
    );
    assert_eq!(plane.rows().await, (0, 0, 0));
}

#[tokio::test]
async fn requests_of_the_wrong_shape_are_refused_and_leave_no_row() {
    let plane = Plane::start().await;
    let good = token_of("alice", "1");
    let too_many = vec![json!({"token": good}); 1001];
    for body in [
        json!({}),
        json!([]),
        json!({"tokens": []}),
        json!({"tokens": too_many}),
        json!({"tokens": [good]}),
        json!({"tokens": [{"token": good}], "issuer": "x"}),
        json!({"tokens": [{"token": good, "device": "phone"}]}),
        json!({"tokens": [{"token": good, "ip": "localhost"}]}),
        json!({"tokens": [{"token": good, "ip": "127.0.0.1:80"}]}),
        json!({"tokens": [{"token": good, "user_agent": "a\nb"}]}),
        json!({"tokens": [{"token": good, "user_agent": "a".repeat(513)}]}),
    ] {
        let answer = plane.internal_post(PATH, body).await;
        assert_eq!(answer.problem(), (400, "request_malformed".to_owned()), "{}", answer.whole());
    }
    assert_eq!(plane.rows().await, (0, 0, 0));
}

#[tokio::test]
async fn a_thousand_tokens_are_one_call() {
    let plane = Plane::start().await;
    let tokens: Vec<_> = (0..1000).map(|jti| token_of("alice", &jti.to_string())).collect();
    let tokens: Vec<_> = tokens.iter().map(String::as_str).collect();
    assert_eq!(plane.register(&tokens).await.body, r#"{"registered":1000,"known":0,"revoked":0}"#);
    assert_eq!(plane.logout_all(tokens[0]).await.status, 200);
    // A thousand tokens and the subject.
    assert_eq!(plane.rows().await, (1000, 1001, 1001));
}
