//! The worker's poll.

use std::time::{Duration, Instant};

use axum::http::Request;
use curfew_control_plane::leases;
use curfew_core::wire::{FEED_PATH, FeedAnswer, FeedRequest};
use curfew_core::{Epoch, Keyspace};
use serde_json::{Value, json};
use sqlx::Executor;

use crate::plane::{Plane, ask, ask_json, post, with_secret};
use crate::tokens::{ISSUER, SECRET, token_of};
use crate::worker::{Worker, send, taken};

async fn poll(plane: &Plane, request: &FeedRequest) -> FeedAnswer {
    taken(&send(plane.internal(), request).await)
}

#[tokio::test]
async fn a_first_poll_brings_the_log_and_a_lease() {
    let plane = Plane::start().await;
    let token = token_of("alice", "1");
    plane.logout(&token).await;
    let mut worker = Worker::new(1);
    let answer = worker.poll(&plane, 600).await;
    assert_eq!((answer.from, answer.to, answer.more, answer.lease_ms), (0, 1, false, 1700));
    assert!(answer.fresh_ms >= 0, "the reading began {} ms after the poll had come", answer.fresh_ms);
    let [revocation] = answer.revocations.as_slice() else { panic!("{answer:?}") };
    assert_eq!(revocation.key, plane.question(&token).token);
    assert_eq!(answer.epoch, plane.store.head().await.unwrap().epoch);
}

#[tokio::test]
async fn a_poll_without_news_is_held_back_no_longer_than_either_side_wants() {
    let plane = Plane::start().await;
    let mut worker = Worker::new(1);
    worker.start(&plane).await;
    for (hold, least, most) in [(0, 0, 400), (300, 300, 590), (60_000, 550, 5_000)] {
        let started = Instant::now();
        let answer = worker.poll(&plane, hold).await;
        assert_eq!((answer.from, answer.to, answer.more, answer.revocations.len()), (0, 0, false, 0));
        assert_eq!(answer.lease_ms, 1700);
        let took = started.elapsed().as_millis();
        assert!((least..most).contains(&took), "{hold} ms: {took} ms");
    }
}

#[tokio::test]
async fn a_logout_wakes_the_polls_that_are_held_back() {
    let plane = Plane::start().await;
    let (mut first, mut second) = (Worker::new(1), Worker::new(2));
    first.start(&plane).await;
    second.start(&plane).await;
    let started = Instant::now();
    let logout = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The logout waits for both workers, which acknowledge it with their next polls.
        plane.logout(&token_of("alice", "1")).await
    };
    let polls = async {
        let (one, other) = tokio::join!(first.poll(&plane, 600), second.poll(&plane, 600));
        let took = started.elapsed();
        assert!(took < Duration::from_millis(500), "{took:?}");
        assert_eq!((one.to, other.to, one.revocations.len()), (1, 1, 1));
        tokio::join!(first.poll(&plane, 0), second.poll(&plane, 0))
    };
    let (answer, _) = tokio::join!(logout, polls);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_long_log_comes_in_pages_and_the_lease_with_the_last() {
    let plane = Plane::start().await;
    fill(&plane).await;
    let mut worker = Worker::new(1);
    let mut pages = Vec::new();
    while pages.last().is_none_or(|(_, _, more, _)| *more) {
        let answer = worker.poll(&plane, 600).await;
        pages.push((answer.from, answer.to, answer.more, answer.lease_ms));
    }
    // Readings begin at multiples of 64, so that workers can share them.
    assert_eq!(pages, [(0, 3000, true, 0), (3000, 5944, true, 0), (5944, 7000, false, 1700)]);
    assert_eq!(worker.revoked.len(), 7_000);
}

/// Writes seven thousand revocations of tokens that do not exist.
async fn fill(plane: &Plane) {
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 7000) \
        INSERT INTO revocations (seq, key, kind, cutoff, expires_at, reason, actor, created_at) \
        SELECT i, unhex(printf('%032x', i)), 'token', 1, 9999999999, 'logout', 'user', 1 FROM n";
    let mut database = plane.database().await;
    database.execute(rows).await.unwrap();
    database.execute("UPDATE feed_head SET seq = 7000").await.unwrap();
}

#[tokio::test]
async fn a_worker_with_a_copy_of_another_history_is_told_to_start_again() {
    let plane = Plane::start().await;
    plane.logout(&token_of("alice", "1")).await;
    let head = plane.store.head().await.unwrap();
    let worker = Worker::new(1);
    for (epoch, applied) in [(Epoch::from_bytes([7; 16]), 1), (head.epoch, 2)] {
        let request = FeedRequest { epoch: Some(epoch), applied, ..worker.request(&plane, 0) };
        let start_again = FeedAnswer {
            epoch: head.epoch,
            from: 0,
            to: 0,
            more: true,
            keys_seq: 0,
            revocations: vec![],
            lease_ms: 0,
            fresh_ms: 0,
        };
        assert_eq!(poll(&plane, &request).await, start_again);
    }
}

#[tokio::test]
async fn polls_that_are_held_back_are_answered_when_the_history_changes() {
    let plane = Plane::start().await;
    let mut worker = Worker::new(1);
    worker.start(&plane).await;
    let renamed = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let rename = "UPDATE feed_head SET epoch = unhex('07070707070707070707070707070707')";
        plane.database().await.execute(rename).await.unwrap();
    };
    let request = worker.request(&plane, 600);
    let started = Instant::now();
    let (answer, ()) = tokio::join!(poll(&plane, &request), renamed);
    assert_eq!((answer.epoch, answer.from, answer.to), (Epoch::from_bytes([7; 16]), 0, 0));
    assert_eq!((answer.more, answer.lease_ms), (true, 0));
    assert!(started.elapsed() < Duration::from_millis(550), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_worker_that_leaves_is_answered_at_once_and_without_a_lease() {
    let plane = Plane::start().await;
    let mut worker = Worker::new(1);
    worker.start(&plane).await;
    let request = FeedRequest { leaving: true, ..worker.request(&plane, 600) };
    let started = Instant::now();
    let answer = poll(&plane, &request).await;
    assert_eq!((answer.to, answer.more, answer.lease_ms), (0, false, 0));
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn keys_of_another_rule_are_refused_as_in_a_check() {
    let plane = Plane::start().await;
    let worker = Worker::new(1);
    let mut request = worker.request(&plane, 600);
    request.keyspaces.push(Keyspace::from_bytes([0; 16]));
    let answer = send(plane.internal(), &request).await;
    assert_eq!(answer.problem(), (409, "keyspace_unknown".to_owned()));
    assert_eq!(plane.state.leases.held(), 0);
}

#[tokio::test]
async fn a_poll_with_a_field_that_is_not_understood_is_refused() {
    let plane = Plane::start().await;
    let good = serde_json::to_value(Worker::new(1).request(&plane, 0)).unwrap();
    for (name, value) in [
        ("worker", json!("x")),
        ("applied", json!(-1)),
        ("applied", json!(u64::MAX)),
        ("since", json!(0)),
        ("epoch", json!("")),
    ] {
        let mut request = good.clone();
        request[name] = value.clone();
        let answer = ask_json(plane.internal(), with_secret(post(FEED_PATH)), &request.to_string()).await;
        assert_eq!(answer.problem(), (400, "request_malformed".to_owned()), "{name} {value}");
    }
    let mut without_epoch = good.clone();
    without_epoch.as_object_mut().unwrap().remove("epoch");
    without_epoch["applied"] = json!(5);
    let answer = ask_json(plane.internal(), with_secret(post(FEED_PATH)), &without_epoch.to_string()).await;
    assert_eq!(answer.problem(), (400, "request_malformed".to_owned()));
    let answer = ask_json(plane.internal(), post(FEED_PATH), &good.to_string()).await;
    assert_eq!(answer.problem(), (401, "credentials_invalid".to_owned()));
}

#[tokio::test]
async fn polls_beyond_the_limit_are_refused_and_a_poll_that_is_given_up_frees_its_place() {
    let settings = leases::Settings { most_held: 1, ..leases::Settings::default() };
    let policy = json!({"issuers": [{"issuer": ISSUER, "secret": SECRET}]});
    let plane = Plane::start_on_terms(policy, None, settings).await;
    let (mut worker, mut other) = (Worker::new(1), Worker::new(2));
    worker.start(&plane).await;
    let request = worker.request(&plane, 600);
    {
        let held = send(plane.internal(), &request);
        let full = async {
            while plane.state.leases.held() == 0 {
                tokio::task::yield_now().await;
            }
            send(plane.internal(), &other.request(&plane, 0)).await
        };
        tokio::select! {
            biased;
            _ = held => panic!("the poll was not held back"),
            full = full => {
                assert_eq!(
                    full.whole(),
                    "503\ncache-control: no-store\ncontent-type: application/problem+json\nretry-after: 1\n\n\
                     {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"This control plane holds 1 \
                     polls, and no more at a time. Start another control plane, or raise its limit on open files.\",\
                     \"code\":\"polls_full\"}"
                );
            }
        }
    }
    assert_eq!(plane.state.leases.held(), 0);
    let metrics = ask(plane.internal(), Request::get("/metrics")).await.body;
    for line in ["curfew_feed_held_limit 1", "curfew_feed_held 0", r#"curfew_feed_requests_total{outcome="full"} 1"#] {
        assert!(metrics.lines().any(|shown| shown == line), "{line}: {metrics}");
    }
    other.start(&plane).await;
}

#[tokio::test]
async fn a_database_that_does_not_answer_grants_nothing() {
    let plane = Plane::start().await;
    let mut worker = Worker::new(1);
    worker.start(&plane).await;
    plane.database().await.execute("ALTER TABLE feed_head RENAME TO lost").await.unwrap();
    let answer = send(plane.internal(), &worker.request(&plane, 100)).await;
    assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
}

#[tokio::test]
async fn operators_see_which_workers_poll() {
    let plane = Plane::start().await;
    let mut worker = Worker::new(1);
    worker.start(&plane).await;
    let request = serde_json::to_string(&worker.request(&plane, 0)).unwrap();
    let poll = with_secret(post(FEED_PATH)).header("user-agent", "curfew-filter/0.1.0");
    assert_eq!(ask_json(plane.internal(), poll, &request).await.status, 200);
    let list = with_secret(axum::http::Request::get("/internal/v1/gateways"));
    let answer = crate::plane::ask(plane.internal(), list).await;
    let mut shown: Value = serde_json::from_str(&answer.body).unwrap();
    for name in ["lease_ms", "polled_ms"] {
        let number = shown["workers"][0][name].take().as_u64().unwrap();
        // The longest time that a lease lasts by this clock.
        assert!(number <= 2_078 && (name == "polled_ms" || number > 0), "{name} {number}");
    }
    let expected = json!({"seq": 0, "workers": [{
        "worker": "01".repeat(16), "address": "0.0.0.0", "version": "0.1.0", "state": "up_to_date", "applied": 0, "lag": 0,
        "lease_ms": null, "polled_ms": null,
    }]});
    assert_eq!(shown, expected);
}
