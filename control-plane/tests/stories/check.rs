//! The filter's question.

use serde_json::{Value, json};

use crate::plane::{Plane, ask_json, post, with_secret};
use crate::tokens::token_of;

const PATH: &str = "/internal/v1/check";

#[tokio::test]
async fn an_answer_names_the_moment_it_was_read_at() {
    let plane = Plane::start().await;
    let token = token_of("alice", "1");
    let question = serde_json::to_value(plane.question(&token)).unwrap();
    let before: Value = serde_json::from_str(&plane.internal_post(PATH, question.clone()).await.body).unwrap();
    plane.logout(&token).await;
    let after: Value = serde_json::from_str(&plane.internal_post(PATH, question).await.body).unwrap();
    let epoch = before["epoch"].as_str().unwrap();
    assert_eq!(epoch.len(), 32);
    assert_eq!(before, json!({"epoch": epoch, "seq": 0, "keys_seq": 0, "verdict": "active"}));
    assert_eq!(after, json!({"epoch": epoch, "seq": 1, "keys_seq": 0, "verdict": "revoked"}));
}

#[tokio::test]
async fn a_key_counts_only_in_the_slot_of_its_kind() {
    let plane = Plane::start().await;
    let token = token_of("alice", "1");
    plane.logout(&token).await;
    let asked = plane.question(&token);
    let elsewhere = "00".repeat(16);
    for slot in ["jti", "session", "subject"] {
        let question = json!({"keyspace": asked.keyspace, "token": elsewhere, slot: asked.token, "issued_at": 1});
        let answer: Value = serde_json::from_str(&plane.internal_post(PATH, question).await.body).unwrap();
        assert_eq!(answer["verdict"], "active", "{slot}");
    }
}

#[tokio::test]
async fn keys_of_another_rule_are_a_loud_failure() {
    let plane = Plane::start().await;
    let question = json!({"keyspace": "00".repeat(16), "token": "00".repeat(16)});
    let answer = plane.internal_post(PATH, question).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (
            409,
            r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"The keys were computed by a rule that is not configured here: compare the issuers, user_claim, issued_at_claim, allow_missing_exp, clock_skew and max_token_ttl of the filter and the control plane.","code":"keyspace_unknown"}"#
        )
    );
}

#[tokio::test]
async fn the_internal_secret_is_needed_before_anything_is_read() {
    let plane = Plane::start().await;
    let whole = "401\ncache-control: no-store\ncontent-type: application/problem+json\n\
                 www-authenticate: Bearer realm=\"curfew-internal\"\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Unauthorized\",\"status\":401,\
                 \"detail\":\"The internal secret is wrong or missing.\",\"code\":\"credentials_invalid\"}";
    for path in [PATH, "/internal/v1/tokens"] {
        assert_eq!(ask_json(plane.internal(), post(path), "{").await.whole(), whole, "{path}");
        for wrong in ["Bearer", "Bearer ", "Bearer wrong", "an internal secret", "Basic an internal secret"] {
            let request = post(path).header("authorization", wrong);
            assert_eq!(ask_json(plane.internal(), request, "{").await.whole(), whole, "{path} {wrong}");
        }
        let twice = with_secret(with_secret(post(path)));
        assert_eq!(ask_json(plane.internal(), twice, "{").await.whole(), whole, "{path} twice");
    }
}

#[tokio::test]
async fn a_question_that_is_not_understood_whole_is_refused() {
    let plane = Plane::start().await;
    let good = serde_json::to_value(plane.question(&token_of("alice", "1"))).unwrap();
    for (name, value) in [
        ("token", json!(null)),
        ("token", json!("xyz")),
        ("token", json!("AB".repeat(16))),
        ("keyspace", json!(7)),
        ("subject", json!("")),
        ("issued_at", json!("now")),
        ("issued_at", json!(1.5)),
        ("device", json!("phone")),
    ] {
        let mut question = good.clone();
        question[name] = value.clone();
        let answer = plane.internal_post(PATH, question).await;
        assert_eq!(answer.problem(), (400, "request_malformed".to_owned()), "{name} {value}");
    }
}
