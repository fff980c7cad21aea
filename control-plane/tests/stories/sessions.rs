//! Listing a user's sessions.

use axum::http::Request;
use serde_json::{Value, json};

use crate::plane::{Answer, Plane, ask, with_secret};
use crate::tokens::{ISSUER, NOW, OTHER_ISSUER, claims, token, with};

async fn list(plane: &Plane, path: &str) -> Answer {
    ask(plane.internal(), with_secret(Request::get(format!("/internal/v1/users/{path}")))).await
}

#[tokio::test]
async fn unexpired_sessions_are_listed_newest_first_with_what_the_login_said() {
    let plane = Plane::start().await;
    let phone = token(&with(claims("alice", "1"), json!({"sid": "s1", "iat": NOW - 60})));
    let laptop = token(&claims("alice", "2"));
    let short = token(&with(claims("alice", "3"), json!({"exp": NOW + 10})));
    let others = token(&claims("bob", "4"));
    let phone_entry = json!({"token": phone, "user_agent": "Phone/1", "ip": "2001:DB8::1"});
    let tokens = json!([phone_entry, {"token": laptop}, {"token": short}, {"token": others}]);
    plane.internal_post("/internal/v1/tokens", json!({"tokens": tokens})).await;
    plane.logout(&laptop).await;
    plane.advance(10);
    let answer = list(&plane, "alice/sessions").await;
    let expected = json!({"user_id": "alice", "sessions": [
        {"token_id": plane.question(&laptop).token, "issuer": ISSUER, "session_id": null, "issued_at": NOW,
         "expires_at": NOW + 3600, "user_agent": null, "ip": null, "blocked": true, "blocked_at": NOW,
         "block_reason": "logout"},
        {"token_id": plane.question(&phone).token, "issuer": ISSUER, "session_id": "s1", "issued_at": NOW - 60,
         "expires_at": NOW + 3600, "user_agent": "Phone/1", "ip": "2001:db8::1", "blocked": false,
         "blocked_at": null, "block_reason": null},
    ]});
    assert_eq!(answer.status, 200, "{}", answer.whole());
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), expected);
}

#[tokio::test]
async fn the_list_can_be_cut_to_an_issuer_and_a_length() {
    let plane = Plane::start().await;
    let ours = token(&claims("a/b c", "1"));
    let theirs = token(&with(claims("a/b c", "2"), json!({"iss": OTHER_ISSUER, "iat": NOW - 1})));
    plane.register(&[&ours, &theirs]).await;
    let issuers = async |query: &str| -> Vec<String> {
        let answer = list(&plane, &format!("a%2Fb%20c/sessions{query}")).await;
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let sessions = body["sessions"].as_array().unwrap();
        sessions.iter().map(|session| session["issuer"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(issuers("").await, [ISSUER, OTHER_ISSUER]);
    assert_eq!(issuers("?limit=1").await, [ISSUER]);
    assert_eq!(issuers("?issuer=https%3A%2F%2Fother.example.com").await, [OTHER_ISSUER]);
    assert_eq!(issuers("?issuer=nobody").await, [""; 0]);
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let plane = Plane::start().await;
    let long = format!("{}/sessions", "a".repeat(257));
    for path in [
        "alice/sessions?limit=0",
        "alice/sessions?limit=1001",
        "alice/sessions?limit=-1",
        "alice/sessions?limit=x",
        "alice/sessions?page=2",
        "a%00/sessions",
        "%ff/sessions",
        &long,
    ] {
        assert_eq!(list(&plane, path).await.problem(), (400, "request_malformed".to_owned()), "{path}");
    }
    let without_secret = ask(plane.internal(), Request::get("/internal/v1/users/alice/sessions")).await;
    assert_eq!(without_secret.problem(), (401, "credentials_invalid".to_owned()));
}
