//! Redis fails in many ways: checks and logouts stay right and fast, and Redis is filled again.

use std::time::{Duration, Instant};

use curfew_testbed::link::{Direction, Link};
use curfew_testbed::ports::loopback;
use curfew_testbed::servers::Redis;

use super::{entries, get, plane_beside, policy, settings};
use crate::plane::{Plane, ask};
use crate::tokens::{NOW, token_of};

/// The most time for a check or a logout while Redis does not answer, on a busy machine. The limits are 100 ms for a
/// check and 250 ms for a logout.
const FAST: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_flushed_redis_is_filled_again() {
    let redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    let token = token_of("alice", "1");
    plane.logout(&token).await;
    let name = plane.names(&token).await[0].clone();
    redis.wipe().unwrap();
    assert_eq!(plane.verdict(&token).await, "revoked");
    plane.until("the entry is back", |_| get(&redis, &name).is_some()).await;
    assert_eq!(get(&redis, &name), Some(NOW.to_string()));
}

#[tokio::test]
async fn a_redis_that_was_killed_and_comes_back_empty_is_filled_again() {
    let mut redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    let (before, meanwhile) = (token_of("alice", "1"), token_of("alice", "2"));
    plane.logout(&before).await;
    redis.server().kill().unwrap();
    assert_eq!(plane.verdict(&before).await, "revoked");
    assert_eq!(plane.logout(&meanwhile).await.status, 200);
    plane.until_down().await;
    redis.server().restart().unwrap();
    let names = [plane.names(&before).await[0].clone(), plane.names(&meanwhile).await[0].clone()];
    plane.until("both entries are there", |_| names.iter().all(|name| get(&redis, name).is_some())).await;
    plane.until_up().await;
}

#[tokio::test]
async fn entries_that_a_new_primary_lacks_are_copied_again() {
    let redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    let tokens: Vec<String> = (0..3).map(|number| token_of("alice", &number.to_string())).collect();
    for token in &tokens {
        plane.logout(token).await;
    }
    let names = [plane.names(&tokens[1]).await[0].clone(), plane.names(&tokens[2]).await[0].clone()];
    let marker = format!("curfew:{}:filled", plane.store.head().await.unwrap().epoch);
    let marked = |through: &str| get(&redis, &marker).is_some_and(|value| value.ends_with(through));
    plane.until("all three are marked", |_| marked(":3")).await;
    // The new primary had the entries up to the first token.
    let older = get(&redis, &marker).unwrap().replace(":3", ":1");
    redis.command(&["DEL", &names[0], &names[1]]).unwrap();
    redis.command(&["SET", &marker, &older]).unwrap();
    plane.until("both entries are back", |_| names.iter().all(|name| get(&redis, name).is_some())).await;
    plane.until("all three are marked again", |_| marked(":3")).await;
    assert_eq!(plane.metrics.redis.refills.get(), 1);
}

#[tokio::test]
async fn everything_that_is_alive_is_copied_and_nothing_that_is_forgotten() {
    let redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    let tokens: Vec<String> = (0..2_500).map(|number| token_of("alice", &number.to_string())).collect();
    for tokens in tokens.chunks(1_000) {
        plane.register(&tokens.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    plane.logout_all(&tokens[0]).await;
    // There are more than two pages, in the last second of the tokens' life, the skew, the lease and the margin.
    plane.advance(3600 + 5 + 2 + 59);
    redis.wipe().unwrap();
    plane.until("all are back", |_| entries(&redis, "token") == 2_500 && entries(&redis, "subject") == 1).await;
    plane.advance(1);
    redis.wipe().unwrap();
    plane.until("the user's entry is back", |_| entries(&redis, "subject") == 1).await;
    plane.until_up().await;
    assert_eq!(entries(&redis, "token"), 0);
}

#[tokio::test]
async fn a_frozen_redis_delays_one_check_a_little_and_the_others_not_at_all() {
    let mut redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    let (dead, alive) = (token_of("alice", "1"), token_of("alice", "2"));
    plane.logout(&dead).await;
    redis.server().freeze();
    for _ in 0..50 {
        for (token, verdict) in [(&dead, "revoked"), (&alive, "active")] {
            let asked = Instant::now();
            assert_eq!(plane.verdict(token).await, verdict);
            assert!(asked.elapsed() < FAST, "{:?}", asked.elapsed());
        }
    }
    // Each wait counts as a failure, and so does each attempt to reconnect.
    let failures = plane.metrics.redis.failures.get();
    assert!((1..=20).contains(&failures), "{failures} in 100 checks");
    assert_eq!(plane.state.redis_copy.is_up(), Some(false));
    redis.server().thaw();
    plane.until_up().await;
}

#[tokio::test]
async fn a_logout_does_not_wait_for_a_frozen_redis_and_is_copied_later() {
    let mut redis = Redis::start().unwrap();
    let plane = plane_beside(&redis.url()).await;
    redis.server().freeze();
    let tokens: Vec<String> = (0..5).map(|number| token_of("alice", &number.to_string())).collect();
    for token in &tokens {
        let asked = Instant::now();
        assert_eq!(plane.logout(token).await.status, 200);
        assert!(asked.elapsed() < FAST, "{:?}", asked.elapsed());
        assert_eq!(plane.verdict(token).await, "revoked");
    }
    redis.server().thaw();
    plane.until_up().await;
    for token in &tokens {
        assert_eq!(get(&redis, &plane.names(token).await[0]), Some(NOW.to_string()));
    }
}

#[tokio::test]
async fn a_redis_that_is_two_seconds_late_is_as_good_as_none_until_it_is_in_time_again() {
    let redis = Redis::start().unwrap();
    let link = Link::to(loopback(redis.port())).unwrap();
    let plane = plane_beside(&format!("redis://{}", link.address())).await;
    let token = token_of("alice", "1");
    link.delay(Direction::Answers, Duration::from_secs(2));
    let asked = Instant::now();
    assert_eq!(plane.logout(&token).await.status, 200);
    assert!(asked.elapsed() < FAST, "{:?}", asked.elapsed());
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(plane.verdict(&token).await, "revoked");
        assert!(asked.elapsed() < FAST, "{:?}", asked.elapsed());
    }
    assert_eq!(plane.state.redis_copy.is_up(), Some(false));
    link.mend();
    plane.until_up().await;
    assert_eq!(get(&redis, &plane.names(&token).await[0]), Some(NOW.to_string()));
}

#[tokio::test]
async fn a_cut_network_is_noticed_and_mended() {
    let redis = Redis::start().unwrap();
    let link = Link::to(loopback(redis.port())).unwrap();
    let plane = plane_beside(&format!("redis://{}", link.address())).await;
    link.cut();
    let token = token_of("alice", "1");
    assert_eq!(plane.logout(&token).await.status, 200);
    assert_eq!(plane.verdict(&token).await, "revoked");
    plane.until_down().await;
    link.mend();
    plane.until_up().await;
    assert_eq!(get(&redis, &plane.names(&token).await[0]), Some(NOW.to_string()));
}

#[tokio::test]
async fn a_control_plane_starts_without_redis_says_so_and_uses_it_when_it_comes() {
    let mut redis = Redis::start().unwrap();
    redis.server().kill().unwrap();
    let plane = Plane::start_beside(policy(), Some(settings(&redis.url()))).await;
    let ready = async || ask(plane.internal(), axum::http::Request::get("/readyz")).await.body;
    assert_eq!(
        ready().await,
        "{\"parts\":{\"database\":{\"status\":\"ok\"},\
         \"redis\":{\"consequence\":\"Checks ask the database; nothing is lost.\",\"status\":\"degraded\"}},\"status\":\"degraded\"}"
    );
    let token = token_of("alice", "1");
    assert_eq!(plane.logout(&token).await.status, 200);
    assert_eq!(plane.verdict(&token).await, "revoked");
    redis.server().restart().unwrap();
    plane.until_up().await;
    assert_eq!(ready().await, r#"{"parts":{"database":{"status":"ok"},"redis":{"status":"ok"}},"status":"ok"}"#);
    assert_eq!(get(&redis, &plane.names(&token).await[0]), Some(NOW.to_string()));
}

#[tokio::test]
async fn entries_that_a_full_redis_refuses_are_not_lost() {
    let redis = Redis::start_with(&["maxmemory-policy noeviction"], None).unwrap();
    let plane = plane_beside(&redis.url()).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    let token = token_of("alice", "1");
    assert_eq!(plane.logout(&token).await.status, 200);
    assert_eq!(plane.verdict(&token).await, "revoked");
    plane.until_down().await;
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    plane.until_up().await;
    assert_eq!(get(&redis, &plane.names(&token).await[0]), Some(NOW.to_string()));
}

#[tokio::test]
async fn a_replica_that_cannot_be_written_is_not_used() {
    let primary = Redis::start().unwrap();
    let replica_of = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = Redis::start_with(&[&replica_of], None).unwrap();
    let plane = Plane::start_beside(policy(), Some(settings(&replica.url()))).await;
    assert_eq!(plane.state.redis_copy.is_up(), Some(false));
    let token = token_of("alice", "1");
    assert_eq!(plane.logout(&token).await.status, 200);
    assert_eq!(plane.verdict(&token).await, "revoked");
}
