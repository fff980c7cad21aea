//! Logging out all tokens of a user, by an application.

use serde_json::{Value, json};

use crate::plane::{Plane, ask, ask_json, post};
use crate::tokens::{ISSUER, NOW, OTHER_ISSUER, SECRET, claims, token, with};

fn body(user: Value) -> Value {
    json!({"user_id": user, "app_id": "app", "app_key": "key"})
}

fn old_token(user: &str, issuer: &str) -> String {
    token(&with(claims(user, "1"), json!({"iss": issuer, "iat": NOW - 1})))
}

#[tokio::test]
async fn everything_of_the_user_dies_with_every_issuer() {
    let plane = Plane::start().await;
    let tokens = [ISSUER, OTHER_ISSUER].map(|issuer| old_token("alice", issuer));
    assert_eq!(
        plane.lgt_all(body(json!("alice"))).await.whole(),
        "200\ncache-control: no-store\ncontent-type: application/json\n\n\
         {\"message\":\"Successfully Logged Out From All Device.\",\"tokens\":0,\"known\":false}"
    );
    for token in tokens {
        assert_eq!(plane.verdict(&token).await, "revoked");
    }
    assert_eq!(plane.verdict(&old_token("bob", ISSUER)).await, "active");
}

#[tokio::test]
async fn one_issuer_can_be_named() {
    let plane = Plane::start().await;
    let mut named = body(json!("alice"));
    named["issuer"] = json!(ISSUER);
    assert_eq!(plane.lgt_all(named.clone()).await.status, 200);
    assert_eq!(plane.verdict(&old_token("alice", ISSUER)).await, "revoked");
    assert_eq!(plane.verdict(&old_token("alice", OTHER_ISSUER)).await, "active");
    for unknown in [json!("https://evil.example.com"), json!(7), json!(null)] {
        named["issuer"] = unknown;
        assert_eq!(plane.lgt_all(named.clone()).await.problem(), (400, "request_malformed".to_owned()));
    }
}

#[tokio::test]
async fn every_spelling_that_callers_use_is_accepted() {
    let plane = Plane::start().await;
    for (user, spelled) in [
        ("a", json!({"user_id": "a", "app_id": "app", "app_key": "key"})),
        ("b", json!({"USER_ID": "b", "APP_ID": "app", "APP_KEY": "key"})),
        ("c", json!({"userId": "c", "appId": "app", "appKey": "key"})),
        ("7", json!({"user_id": 7, "APP_ID": "app", "appKey": "key"})),
    ] {
        assert_eq!(plane.lgt_all(spelled).await.status, 200, "{user}");
        assert_eq!(plane.verdict(&old_token(user, ISSUER)).await, "revoked", "{user}");
    }
}

#[tokio::test]
async fn wrong_or_missing_credentials_are_unauthorized() {
    let plane = Plane::start().await;
    let whole = "401\ncache-control: no-store\ncontent-type: application/problem+json\n\
                 www-authenticate: AppKey realm=\"curfew\"\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Unauthorized\",\"status\":401,\
                 \"detail\":\"The application's credentials are wrong or missing.\",\"code\":\"credentials_invalid\"}";
    for wrong in [
        json!({}),
        json!({"user_id": "alice"}),
        json!({"user_id": "alice", "app_id": "app"}),
        json!({"user_id": "alice", "app_id": "app", "app_key": "wrong"}),
        json!({"user_id": "alice", "app_id": "wrong", "app_key": "key"}),
        json!({"user_id": "alice", "app_id": "key", "app_key": "app"}),
        json!({"user_id": "alice", "app_id": ["app"], "app_key": {"key": 1}}),
        json!({"app_id": "app", "app_key": ""}),
    ] {
        assert_eq!(plane.lgt_all(wrong.clone()).await.whole(), whole, "{wrong}");
    }
    assert_eq!(plane.rows().await, (0, 0, 0));
}

#[tokio::test]
async fn right_credentials_without_a_user_say_what_is_missing() {
    let plane = Plane::start().await;
    for missing in [body(json!(null)), body(json!("")), json!({"app_id": "app", "app_key": "key"})] {
        let answer = plane.lgt_all(missing).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (
                401,
                r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"Missing User ID","code":"user_id_missing"}"#
            )
        );
    }
}

#[tokio::test]
async fn a_user_id_that_no_token_could_carry_is_malformed() {
    let plane = Plane::start().await;
    let wrong = [json!(1.5), json!(true), json!(["alice"]), json!({}), json!("a\u{0}"), json!("a".repeat(257))];
    for user in wrong {
        let answer = plane.lgt_all(body(user.clone())).await;
        assert_eq!(answer.problem(), (400, "request_malformed".to_owned()), "{user}");
    }
    let twice = json!({"user_id": "alice", "userId": "bob", "app_id": "app", "app_key": "key"});
    assert_eq!(plane.lgt_all(twice).await.problem(), (400, "request_malformed".to_owned()));
    assert_eq!(plane.rows().await, (0, 0, 0));
}

#[tokio::test]
async fn an_unknown_user_is_logged_out_too() {
    let plane = Plane::start().await;
    assert_eq!(plane.lgt_all(body(json!("nobody"))).await.status, 200);
    assert_eq!(plane.rows().await, (0, 2, 2));
    // A second logout renews the entries and adds none.
    assert_eq!(plane.lgt_all(body(json!("nobody"))).await.status, 200);
    assert_eq!(plane.rows().await, (0, 2, 4));
}

#[tokio::test]
async fn the_answer_says_whom_it_has_reached() {
    let plane = Plane::start().await;
    plane.register(&[&old_token("alice", ISSUER), &old_token("alice", OTHER_ISSUER)]).await;
    let reached = async |user: &str| {
        let answer: Value = serde_json::from_str(&plane.lgt_all(body(json!(user))).await.body).unwrap();
        (answer["tokens"].clone(), answer["known"].clone())
    };
    assert_eq!(reached("alice").await, (json!(2), json!(true)));
    assert_eq!(reached("alice").await, (json!(0), json!(true)));
    assert_eq!(reached("Alice").await, (json!(0), json!(false)));
}

#[tokio::test]
async fn a_user_may_be_named_by_a_claim_inside_another_one() {
    let issuers = json!([{"issuer": ISSUER, "secret": SECRET}]);
    let plane = Plane::start_with(json!({"issuers": issuers, "user_claim": "user.id"})).await;
    let of =
        |jti: &str, user: Value| token(&with(claims("a subject", jti), json!({"user": {"id": user}, "iat": NOW - 1})));
    let [phone, laptop, never] = ["1", "2", "3"].map(|jti| of(jti, json!("alice")));
    let (number, other) = (of("4", json!(42)), of("5", json!("a subject")));
    plane.register(&[&phone, &laptop, &number, &other]).await;
    for (user, tokens) in [(json!("alice"), 2), (json!("42"), 1), (json!("bob"), 0)] {
        let answer: Value = serde_json::from_str(&plane.lgt_all(body(user.clone())).await.body).unwrap();
        assert_eq!((&answer["tokens"], &answer["known"]), (&json!(tokens), &json!(tokens > 0)), "{user}");
    }
    for token in [&phone, &laptop, &never, &number] {
        assert_eq!(plane.verdict(token).await, "revoked");
    }
    assert_eq!(plane.verdict(&other).await, "active", "sub names nobody here");
}

/// `user_claim` is `sub`, and the tokens carry `user_id`.
#[tokio::test]
async fn tokens_that_name_no_user_are_told_of_where_they_are_registered() {
    let plane = Plane::start().await;
    let nobodys = |jti: &str| token(&with(claims("x", jti), json!({"sub": null, "user_id": 7})));
    let both = [nobodys("1"), old_token("alice", ISSUER)];
    assert_eq!(
        plane.register(&[&both[0], &both[1]]).await.body,
        r#"{"registered":2,"known":0,"revoked":0,"without_user":1}"#
    );
    assert_eq!(plane.register(&[&both[0]]).await.body, r#"{"registered":0,"known":1,"revoked":0,"without_user":1}"#);
    assert_eq!(plane.register(&[&both[1]]).await.body, r#"{"registered":0,"known":1,"revoked":0}"#);
    assert_eq!(plane.metrics.http.tokens_without_user.get(), 2);
    let answer: Value = serde_json::from_str(&plane.lgt_all(body(json!(7))).await.body).unwrap();
    assert_eq!((&answer["tokens"], &answer["known"]), (&json!(0), &json!(false)));
    assert_eq!(plane.verdict(&both[0]).await, "active");
}

#[tokio::test]
async fn a_body_that_is_not_a_json_object_is_refused() {
    let plane = Plane::start().await;
    for text in ["", "{", "[]", "null", "\"alice\"", "{\"user_id\":\u{1}}", "user_id=alice"] {
        let answer = ask_json(plane.internal(), post("/api/v2/lgt-all"), text).await;
        assert_eq!(answer.problem(), (400, "request_malformed".to_owned()), "{text}");
    }
    let untyped = ask(plane.internal(), post("/api/v2/lgt-all")).await;
    assert_eq!(untyped.problem(), (415, "unsupported_media_type".to_owned()));
    let form = post("/api/v2/lgt-all").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(ask(plane.internal(), form).await.problem(), (415, "unsupported_media_type".to_owned()));
}
