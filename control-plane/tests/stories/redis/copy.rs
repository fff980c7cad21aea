//! The entries: what is written, how long an entry lives, and what it answers.

use std::time::Instant;

use curfew_testbed::servers::Redis;
use serde_json::json;

use super::{entries, get, number, plane_beside, policy, settings};
use crate::plane::Plane;
use crate::tokens::{NOW, claims, token, token_of, with};

/// On a machine that is too busy for the limit, the copy may be left to the background.
#[tokio::test]
async fn a_logout_is_in_redis_before_it_is_answered() {
    let redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    let mut found = 0;
    for number in 0..5 {
        let token = token_of("alice", &number.to_string());
        let names = plane.names(&token).await;
        plane.until_up().await;
        assert_eq!(plane.logout(&token).await.status, 200);
        found += usize::from(get(&redis, &names[0]) == Some(NOW.to_string()));
        assert_eq!(get(&redis, &names[1]), None);
    }
    assert!(found >= 3, "{found} of 5");
}

#[tokio::test]
async fn redis_answers_without_the_database_for_what_it_knows() {
    let redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    let (dead, alive, bob) = (token_of("alice", "1"), token_of("alice", "2"), token_of("bob", "1"));
    plane.logout(&dead).await;
    plane.advance(1);
    plane.lgt_all(json!({"user_id": "bob", "app_id": "app", "app_key": "key"})).await;
    plane.until_up().await;
    plane.lose_database().await;
    plane.redis_says_revoked(&dead).await;
    plane.redis_says_revoked(&bob).await;
    assert!(plane.verdict(&alive).await.contains("\"code\":\"unavailable\""));
}

#[tokio::test]
async fn an_answer_of_redis_names_a_place_in_the_log_that_is_not_ahead_of_it() {
    let redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    let token = token_of("alice", "1");
    plane.logout(&token).await;
    let head = plane.store.head().await.unwrap();
    let question = serde_json::to_value(plane.question(&token)).unwrap();
    plane.until_up().await;
    plane.ask_until(&token, "revoked", |redis| redis.hits.get()).await;
    plane.lose_database().await;
    plane.redis_says_revoked(&token).await;
    let answer = plane.internal_post("/internal/v1/check", question).await;
    assert_eq!(answer.body, format!(r#"{{"epoch":"{}","seq":1,"keys_seq":0,"verdict":"revoked"}}"#, head.epoch));
}

#[tokio::test]
async fn the_database_is_asked_for_what_redis_does_not_have() {
    let redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    let (dead, alive) = (token_of("alice", "1"), token_of("alice", "2"));
    plane.logout(&dead).await;
    plane.until_up().await;
    let names = plane.names(&dead).await;
    redis.command(&["DEL", &names[0]]).unwrap();
    plane.ask_until(&dead, "revoked", |redis| redis.misses.get()).await;
    plane.ask_until(&alive, "active", |redis| redis.misses.get()).await;
}

#[tokio::test]
async fn a_login_in_the_second_of_a_logout_of_all_devices_is_left_to_the_database() {
    let redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    plane.lgt_all(json!({"user_id": "alice", "app_id": "app", "app_key": "key"})).await;
    let (registered, other) = (token_of("alice", "1"), token_of("alice", "2"));
    plane.register(&[&registered]).await;
    plane.until_up().await;
    let names = plane.names(&registered).await;
    assert_eq!(get(&redis, &names[1]), Some(NOW.to_string()));
    plane.ask_until(&registered, "active", |redis| redis.misses.get()).await;
    plane.ask_until(&other, "revoked", |redis| redis.misses.get()).await;
}

#[tokio::test]
async fn values_that_curfew_did_not_write_lock_no_user_out() {
    let redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    let token = token_of("alice", "1");
    let names = plane.names(&token).await;
    for value in ["", "revoked", "01", "-1", " 1"] {
        redis.command(&["SET", &names[0], value]).unwrap();
        plane.ask_until(&token, "active", |redis| redis.unreadable.get()).await;
    }
    redis.command(&["DEL", &names[0]]).unwrap();
    redis.command(&["LPUSH", &names[0], "1"]).unwrap();
    plane.ask_until(&token, "active", |redis| redis.misses.get()).await;
    // The entry overwrites any other value.
    plane.logout(&token).await;
    plane.until_up().await;
    assert_eq!(get(&redis, &names[0]), Some(NOW.to_string()));
}

#[tokio::test]
async fn an_entry_lives_as_long_as_its_token_whatever_is_configured() {
    let redis = Redis::start().unwrap();
    // Skew 5, lease 2 and margin 60 seconds.
    let rest = 5 + 2 + 60;
    for (configured, exp, expected) in
        [(None, 100, 100 + rest), (Some(60), 100, 100 + rest), (Some(166), 100, 167), (Some(168), 100, 168)]
    {
        let mut settings = settings(&redis.url());
        settings.rules.least_life = configured;
        let plane = Plane::start_beside(policy(), Some(settings)).await;
        plane.until_up().await;
        let token = token(&with(claims("alice", "1"), json!({"exp": NOW + exp})));
        plane.logout(&token).await;
        plane.until_up().await;
        let life = number(&redis, &["TTL", &plane.names(&token).await[0]]);
        // Some of the time may have passed.
        assert!((expected - 20..=expected).contains(&life), "{configured:?}: {life} of {expected}");
    }
}

#[tokio::test]
async fn ten_thousand_tokens_are_logged_out_in_one_call() {
    const TOKENS: usize = 10_000;
    let redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    let tokens: Vec<String> = (0..TOKENS).map(|number| token_of("alice", &number.to_string())).collect();
    for tokens in tokens.chunks(1_000) {
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        assert_eq!(plane.register(&tokens).await.status, 200);
    }
    let asked = Instant::now();
    assert_eq!(plane.logout_all(&tokens[0]).await.status, 200);
    let took = asked.elapsed();
    let at_once = entries(&redis, "token");
    println!("{TOKENS} tokens: answered after {took:?}, {at_once} entries in Redis by then");
    plane.until_up().await;
    assert_eq!((entries(&redis, "token"), entries(&redis, "subject")), (TOKENS, 1));
    plane.lose_database().await;
    for token in tokens.iter().step_by(997) {
        plane.redis_says_revoked(token).await;
    }
}

#[tokio::test]
async fn another_database_does_not_meet_the_entries_of_the_first() {
    let redis = Redis::start().unwrap();
    let token = token_of("alice", "1");
    let first = plane_beside(&redis.url()).await;
    first.logout(&token).await;
    first.until_up().await;
    let second = plane_beside(&redis.url()).await;
    first.ask_until(&token, "revoked", |redis| redis.hits.get()).await;
    second.ask_until(&token, "active", |redis| redis.misses.get()).await;
}
