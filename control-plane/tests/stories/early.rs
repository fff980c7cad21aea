//! Logouts whose callers prefer an answer before the logout is confirmed (`Prefer: respond-async`).

use std::time::{Duration, Instant};

use axum::http::Request;
use serde_json::{Value, json};

use crate::plane::{Answer, Plane, ask, ask_json, post};
use crate::tokens::token_of;
use crate::worker::Worker;

async fn logout(plane: &Plane, token: &str) -> Answer {
    let request = post("/api/v2/logout").header("authorization", format!("Bearer {token}"));
    ask(plane.public(), request.header("prefer", "wait=10, respond-async")).await
}

fn place(answer: &Answer) -> String {
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    body["status"].as_str().unwrap().to_owned()
}

async fn progress(plane: &Plane, place: &str) -> Value {
    let answer = ask(plane.public(), Request::get(place)).await;
    assert_eq!(answer.status, 200, "{}", answer.whole());
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer.head.contains("retry-after: 1\n"), body["complete"] == false, "{}", answer.head);
    body
}

#[tokio::test]
async fn the_answer_comes_at_once_and_says_where_to_ask() {
    let plane = Plane::start().await;
    let mut worker = Worker::new(1);
    worker.start(&plane).await;
    let token = token_of("alice", "1");
    let started = Instant::now();
    let answer = logout(&plane, &token).await;
    let place = place(&answer);
    assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
    assert_eq!(
        answer.whole(),
        format!(
            "202\ncache-control: no-store\ncontent-type: application/json\nlocation: {place}\n\
             preference-applied: respond-async\n\n{{\"message\":\"Logout Accepted.\",\"status\":\"{place}\"}}"
        )
    );
    assert_eq!(plane.verdict(&token).await, "revoked");
    assert_eq!(progress(&plane, &place).await, json!({"complete": false, "workers": {"applied": 0, "of": 1}}));
    worker.poll(&plane, 0).await;
    worker.poll(&plane, 0).await;
    assert_eq!(progress(&plane, &place).await, json!({"complete": true, "workers": {"applied": 1, "of": 1}}));
    // It stays complete.
    assert_eq!(progress(&plane, &place).await["complete"], true);
}

#[tokio::test]
async fn every_way_to_log_out_can_be_answered_early_and_completes_in_spite_of_a_dead_worker() {
    let plane = Plane::start().await;
    let mut dead = Worker::new(1);
    dead.start(&plane).await;
    let body = json!({"user_id": "bob", "app_id": "app", "app_key": "key"}).to_string();
    let lgt_all = post("/api/v2/lgt-all").header("prefer", "respond-async");
    let answer = ask_json(plane.internal(), lgt_all, &body).await;
    assert_eq!(answer.status, 202, "{}", answer.whole());
    let all = post("/api/v2/logout-all-device").header("prefer", "respond-async");
    let all = all.header("authorization", format!("Bearer {}", token_of("alice", "1")));
    let answer = ask(plane.public(), all).await;
    assert_eq!(answer.status, 202, "{}", answer.whole());
    let (place, started) = (place(&answer), Instant::now());
    while progress(&plane, &place).await["complete"] == false {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(dead.lease_until.unwrap() <= Instant::now());
    // The answer says that the token is revoked already.
    assert_eq!(logout(&plane, &token_of("alice", "1")).await.problem(), (401, "token_revoked".to_owned()));
}

#[tokio::test]
async fn a_ticket_that_no_control_plane_has_written_is_not_found() {
    let plane = Plane::start().await;
    for name in ["0", &"0".repeat(80), "%00", "x"] {
        let answer = ask(plane.public(), Request::get(format!("/api/v2/logout/status/{name}"))).await;
        assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{name}");
    }
}
