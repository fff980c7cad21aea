//! Two control planes on one PostgreSQL, with and without Redis between them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::http::Request;
use curfew_control_plane::leases;
use curfew_control_plane::leases::protocol::LeaseTimes;
use curfew_control_plane::redis::{EntryRules, Settings, Target};
use curfew_control_plane::store::{self, Database};
use curfew_testbed::servers::{Postgres, Redis};
use serde_json::json;
use sqlx::Connection;

use crate::plane::{Plane, ask};
use crate::tokens::{ISSUER, SECRET, token_of};
use crate::worker::{Polling, Worker, send, taken};

const LEASE: Duration = Duration::from_millis(1_500);

fn postgres() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::start().unwrap())
}

async fn plane(url: &str, redis: Option<&Redis>) -> Arc<Plane> {
    let times = LeaseTimes { lease: LEASE, hold: LEASE / 3, ..LeaseTimes::default() };
    let settings = leases::Settings { times, ..leases::Settings::default() };
    let policy = json!({"issuers": [{"issuer": ISSUER, "secret": SECRET}]});
    let redis = redis.map(|redis| {
        let rules = EntryRules { prefix: "curfew:".to_owned(), least_life: None, clock_skew: 5 };
        Settings { target: Target::parse(&redis.url()).unwrap(), authority: None, rules }
    });
    Arc::new(Plane::start_on(Some(url), policy, redis, settings).await)
}

/// Starts two control planes. With Redis, waits until they hear each other.
async fn two(story: &str, redis: Option<&Redis>) -> [Arc<Plane>; 2] {
    let url = postgres().fresh_database(story).unwrap();
    let planes = [plane(&url, redis).await, plane(&url, redis).await];
    let until = Instant::now() + Duration::from_secs(20);
    while redis.is_some() && !planes.iter().all(|plane| plane.state.leases.hears_itself()) {
        assert!(Instant::now() < until, "they do not hear each other");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    planes
}

/// Logs out ten times at one control plane while workers poll the other. Each logout must be answered only when all workers
/// hold it. Returns how long the logouts took, the shortest first.
async fn logouts(planes: &[Arc<Plane>; 2]) -> Vec<Duration> {
    let workers = [Polling::start(&planes[1], 1).await, Polling::start(&planes[1], 2).await];
    let mut times = Vec::new();
    for number in 1..=10 {
        let token = token_of("alice", &number.to_string());
        let key = planes[0].question(&token).token;
        let started = Instant::now();
        assert_eq!(planes[0].logout(&token).await.status, 200);
        times.push(started.elapsed());
        for polling in &workers {
            assert!(!polling.worker.lock().await.admits(key), "logout {number}");
        }
    }
    times.sort();
    eprintln!("{times:?}");
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_waits_for_the_workers_of_the_other_one() {
    let planes = two("rows", None).await;
    let times = logouts(&planes).await;
    // Logouts end by acknowledgements and not by the end of leases. On a busy machine some leases may run out.
    assert!(times[5] < LEASE / 2, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_makes_logouts_quicker_and_its_death_costs_only_time() {
    let mut redis = Redis::start().unwrap();
    let planes = two("gossip", Some(&redis)).await;
    let times = logouts(&planes).await;
    assert!(times[5] < LEASE / 2, "{times:?}");
    redis.server().kill().unwrap();
    let worker = Polling::start(&planes[1], 3).await;
    for number in 20..24 {
        let token = token_of("bob", &number.to_string());
        let key = planes[0].question(&token).token;
        let started = Instant::now();
        assert_eq!(planes[0].logout(&token).await.status, 200);
        assert!(!worker.worker.lock().await.admits(key));
        assert!(started.elapsed() < 4 * LEASE, "{:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_dies_delays_logouts_until_its_leases_are_over() {
    let [one, other] = two("death", None).await;
    let mut worker = Worker::new(1);
    worker.start(&other).await;
    let token = token_of("alice", "1");
    let key = one.question(&token).token;
    other.die();
    let started = Instant::now();
    assert_eq!(one.logout(&token).await.status, 200);
    assert!(!worker.admits(key), "answered while the worker still admitted it");
    assert!(started.elapsed() < 4 * LEASE, "{:?}", started.elapsed());
    // Soon the other control plane knows that it is silent, and removes its row.
    let until = Instant::now() + 20 * LEASE;
    while !one.store.control_planes().await.unwrap().rows.is_empty() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let started = Instant::now();
    assert_eq!(one.logout(&token_of("alice", "2")).await.status, 200);
    assert!(started.elapsed() < LEASE / 2, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_comes_and_dies_is_seen_at_the_other_one() {
    let [one, other] = two("company", None).await;
    let part = async || {
        let ready = ask(one.internal(), Request::get("/readyz")).await;
        assert_eq!(ready.status, 200, "{}", ready.whole());
        serde_json::from_str::<serde_json::Value>(&ready.body).unwrap()["parts"]["control_planes"].clone()
    };
    let sees = async |alive: u64, lost: u64| {
        let until = Instant::now() + 20 * LEASE;
        loop {
            let seen = part().await;
            let of = |name: &str| seen[name].as_u64().unwrap_or(0);
            if (of("alive"), of("lost")) == (alive, lost) {
                break seen;
            }
            assert!(Instant::now() < until, "{seen}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(part().await, json!(null));
    Worker::new(1).start(&other).await;
    assert_eq!(sees(1, 0).await["status"], "ok");
    other.die();
    let lost = sees(0, 1).await;
    assert_eq!(lost["status"], "degraded");
    assert!(lost["consequence"].as_str().unwrap().contains("died or is cut off"), "{lost}");
    let metrics = one.state.measured().unwrap();
    for line in [r#"curfew_control_planes{state="alive"} 0"#, r#"curfew_control_planes{state="lost"} 1"#] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

/// A control plane is killed together with its database, and the copy that takes over lacks its row.
#[tokio::test(flavor = "multi_thread")]
async fn leases_of_a_control_plane_whose_row_a_copy_lacks_are_waited_for() {
    let url = postgres().fresh_database("copy").unwrap();
    let [one, other] = [plane(&url, None).await, plane(&url, None).await];
    let mut worker = Worker::new(1);
    worker.start(&other).await;
    let token = token_of("alice", "1");
    let key = one.question(&token).token;
    other.die();
    store::bump_epoch(&Database::from_url(&url).unwrap()).await.unwrap();
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let lost = sqlx::query("DELETE FROM replicas WHERE beat > 0").execute(&mut connection).await.unwrap();
    assert!(lost.rows_affected() > 0);
    assert!(worker.admits(key));
    assert_eq!(one.logout(&token).await.status, 200);
    assert!(!worker.admits(key), "answered while the worker still admitted it");
}

#[tokio::test(flavor = "multi_thread")]
async fn installations_with_bounded_consistency_do_not_wait() {
    let planes = two("bounded", None).await;
    let mut times = Vec::new();
    for number in 0..10 {
        let started = Instant::now();
        assert_eq!(planes[number % 2].logout(&token_of("alice", &number.to_string())).await.status, 200);
        times.push(started.elapsed());
    }
    assert!(planes[0].store.control_planes().await.unwrap().rows.is_empty(), "no control plane has registered");
    times.sort();
    assert!(times[5] < Duration::from_millis(500), "{times:?}");
}

/// Runs a worker that polls one control plane or the other, sleeps longer than a lease, and starts again. It admits
/// what its lease and its copy allow.
async fn restless(planes: [Arc<Plane>; 2], worker: Arc<tokio::sync::Mutex<Worker>>, id: u8, stop: Arc<AtomicBool>) {
    let mut draws = u64::from(id);
    let mut next_id = id;
    while !stop.load(Ordering::Relaxed) {
        draws = draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = draws >> 33;
        let plane = &planes[usize::try_from(draw % 2).unwrap()];
        match (draw >> 1) % 12 {
            0 => tokio::time::sleep(Duration::from_millis((draw >> 8) % 2_500)).await,
            1 => {
                next_id = next_id.wrapping_add(10);
                *worker.lock().await = Worker::new(next_id);
            }
            _ => {
                let request = worker.lock().await.request(plane, (draw >> 8) % 500);
                let sent = Instant::now();
                let answer = send(plane.internal(), &request).await;
                if answer.status == 200 && (draw >> 5) % 8 != 0 {
                    worker.lock().await.take(&taken(&answer), sent);
                }
            }
        }
    }
}

async fn random_schedule(story: &str, redis: Option<&Redis>) {
    let planes = two(story, redis).await;
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (1..=6).map(|id| Arc::new(tokio::sync::Mutex::new(Worker::new(id)))).collect();
    let tasks: Vec<_> = (1..=6)
        .zip(&workers)
        .map(|(id, worker)| tokio::spawn(restless(planes.clone(), Arc::clone(worker), id, Arc::clone(&stop))))
        .collect();
    let (logouts, violations, admitted) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(10);
    let client = async |client: usize| {
        let mut number = 0;
        while Instant::now() < until {
            number += 1;
            let token = token_of("alice", &format!("{client} {number}"));
            let key = planes[0].question(&token).token;
            for worker in &workers {
                admitted.fetch_add(u64::from(worker.lock().await.admits(key)), Ordering::Relaxed);
            }
            if planes[(client + number) % 2].logout(&token).await.status == 200 {
                logouts.fetch_add(1, Ordering::Relaxed);
                for worker in &workers {
                    violations.fetch_add(u64::from(worker.lock().await.admits(key)), Ordering::Relaxed);
                }
            }
        }
    };
    tokio::join!(client(0), client(1), client(2), client(3));
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let (logouts, admitted) = (logouts.into_inner(), admitted.into_inner());
    eprintln!("{story}: {logouts} logouts, {admitted} times admitted before");
    assert_eq!(violations.into_inner(), 0, "of {logouts} logouts");
    assert!(logouts > 5 && admitted > 5, "{logouts} logouts, {admitted} times admitted before");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_wander_sleep_and_start_again_never_break_the_promise() {
    random_schedule("wander", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_such_workers_never_break_the_promise_either() {
    let redis = Redis::start().unwrap();
    random_schedule("wander_redis", Some(&redis)).await;
}
