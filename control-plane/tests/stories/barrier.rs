//! Logouts that wait until no worker admits the token any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use curfew_control_plane::leases::Settings;
use curfew_control_plane::leases::protocol::LeaseTimes;
use curfew_core::wire::FeedRequest;
use serde_json::json;
use sqlx::Executor;

use crate::plane::Plane;
use crate::tokens::{ISSUER, SECRET, token_of};
use crate::worker::{Polling, Worker, send, taken};

/// The lease is short, so that the stories are short, too.
const LEASE: Duration = Duration::from_millis(1_000);

async fn plane() -> Arc<Plane> {
    let times = LeaseTimes { lease: LEASE, hold: LEASE / 3, ..LeaseTimes::default() };
    let policy = json!({"issuers": [{"issuer": ISSUER, "secret": SECRET}]});
    Arc::new(Plane::start_on_terms(policy, None, Settings { times, ..Settings::default() }).await)
}

/// How long a logout takes.
async fn logout(plane: &Plane, number: &str) -> Duration {
    let started = Instant::now();
    assert_eq!(plane.logout(&token_of("alice", number)).await.status, 200);
    started.elapsed()
}

fn metric(plane: &Plane, line: &str) -> String {
    let text = plane.state.measured().unwrap();
    let found = text.lines().find(|found| found.starts_with(line));
    found.unwrap_or_else(|| panic!("{line} in\n{text}")).to_owned()
}

#[tokio::test]
async fn where_no_worker_has_a_lease_a_logout_waits_for_none() {
    let plane = plane().await;
    let took = logout(&plane, "1").await;
    assert!(took < LEASE / 2, "{took:?}");
    assert_eq!(metric(&plane, "curfew_logouts_settled_total{"), r#"curfew_logouts_settled_total{outcome="nobody"} 1"#);
}

#[tokio::test]
async fn every_way_to_log_out_waits_until_each_worker_holds_it() {
    let plane = plane().await;
    let workers = [Polling::start(&plane, 1).await, Polling::start(&plane, 2).await];
    let (one, two, three) = (token_of("alice", "1"), token_of("alice", "2"), token_of("bob", "3"));
    for (seq, answer) in [
        (1, plane.logout(&one).await),
        // Its own entry and the user's.
        (3, plane.logout_all(&two).await),
        (4, plane.lgt_all(json!({"user_id": "bob", "app_id": "app", "app_key": "key"})).await),
        // The answer that a token is revoked already must be true everywhere, too.
        (4, plane.logout(&three).await),
    ] {
        let held = applied_by(&workers).await;
        assert!(held.iter().all(|applied| *applied >= seq), "{seq}: {held:?} {}", answer.whole());
    }
    let line = metric(&plane, r#"curfew_logouts_settled_total{outcome="acknowledged"}"#);
    assert!(!line.ends_with(" 0"), "{line}");
}

async fn applied_by(workers: &[Polling]) -> Vec<u64> {
    let mut applied = Vec::new();
    for polling in workers {
        applied.push(polling.worker.lock().await.applied);
    }
    applied
}

#[tokio::test]
async fn a_worker_that_dies_delays_logouts_until_its_lease_is_over_and_no_longer() {
    let plane = plane().await;
    let mut dead = Worker::new(1);
    dead.start(&plane).await;
    let key = plane.question(&token_of("alice", "1")).token;
    assert!(dead.admits(key));
    logout(&plane, "1").await;
    assert!(!dead.admits(key), "answered while the worker still admitted it");
    let took = logout(&plane, "2").await;
    assert!(took < LEASE / 2, "{took:?}");
}

#[tokio::test]
async fn a_control_plane_that_ends_answers_its_logouts_and_removes_its_row() {
    let mut plane = Arc::into_inner(plane().await).unwrap();
    let mut dead = Worker::new(1);
    dead.start(&plane).await;
    let token = token_of("alice", "1");
    let key = plane.question(&token).token;
    plane.state.leases.close();
    let request = dead.request(&plane, 0);
    assert_eq!(taken(&send(plane.internal(), &request).await).lease_ms, 0);
    assert_eq!(plane.logout(&token).await.status, 200);
    assert!(!dead.admits(key), "answered while the worker still admitted it");
    let started = Instant::now();
    while !plane.store.control_planes().await.unwrap().rows.is_empty() {
        plane.stop();
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_worker_that_leaves_is_not_waited_for() {
    let plane = plane().await;
    let mut worker = Worker::new(1);
    worker.start(&plane).await;
    let leaving = FeedRequest { leaving: true, ..worker.request(&plane, 0) };
    assert_eq!(send(plane.internal(), &leaving).await.status, 200);
    let took = logout(&plane, "1").await;
    assert!(took < LEASE / 2, "{took:?}");
}

#[tokio::test]
async fn a_worker_that_is_slow_is_waited_for() {
    let plane = plane().await;
    let mut slow = Worker::new(1);
    slow.start(&plane).await;
    let started = Instant::now();
    let worker = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        slow.poll(&plane, 0).await;
        // The worker holds the revocation, but has not acknowledged it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let acknowledged = started.elapsed();
        slow.poll(&plane, 0).await;
        acknowledged
    };
    let (took, acknowledged) = tokio::join!(logout(&plane, "1"), worker);
    assert!(took >= acknowledged, "{took:?}, and the worker acknowledged it after {acknowledged:?}");
    assert!(took < LEASE, "{took:?}");
}

#[tokio::test]
async fn a_logout_whose_history_is_replaced_while_it_waits_is_not_confirmed_and_its_caller_hears_at_once() {
    let plane = plane().await;
    let mut dead = Worker::new(1);
    dead.start(&plane).await;
    let replaced = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let rename = "UPDATE feed_head SET epoch = unhex('07070707070707070707070707070707')";
        plane.database().await.execute(rename).await.unwrap();
    };
    let (token, started) = (token_of("alice", "1"), Instant::now());
    let (answer, ()) = tokio::join!(plane.logout(&token), replaced);
    assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
    assert!(answer.body.contains("was not confirmed"), "{}", answer.body);
    assert!(started.elapsed() < LEASE, "not at the end of the lease: {:?}", started.elapsed());
    let line = metric(&plane, r#"curfew_logouts_settled_total{outcome="superseded"}"#);
    assert!(line.ends_with(" 1"), "{line}");
}
