//! Every kind of Redis: with a password, with TLS, on a unix socket, Valkey, Sentinel, Cluster.

use std::time::{Duration, Instant};

use curfew_control_plane::redis::Settings;
use curfew_testbed::servers::{Authority, Cluster, Redis, Sentinel};

use super::{get, number, plane_beside, policy, settings};
use crate::plane::Plane;
use crate::tokens::{NOW, token_of};

/// Waits until gossip through Redis works: the control plane receives its own messages.
async fn until_it_hears_itself(plane: &Plane) {
    let until = Instant::now() + Duration::from_secs(30);
    while !plane.state.leases.hears_itself() {
        assert!(Instant::now() < until, "control planes do not hear each other");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Logs a token out, and asks about it when only Redis can answer.
async fn works_beside(settings: Settings) {
    let plane = Plane::start_beside(policy(), Some(settings)).await;
    plane.until_up().await;
    let token = token_of("alice", "1");
    plane.logout(&token).await;
    plane.until_up().await;
    until_it_hears_itself(&plane).await;
    plane.lose_database().await;
    plane.redis_says_revoked(&token).await;
}

#[tokio::test]
async fn with_a_password_and_another_database() {
    let redis = Redis::start_with(&["requirepass p@ss/word"], None).unwrap();
    works_beside(settings(&format!("redis://:p%40ss%2Fword@127.0.0.1:{}/3", redis.port()))).await;
}

#[tokio::test]
async fn with_a_user_that_has_only_the_needed_rights() {
    let user = "user curfew on >secret ~curfew:* +get +mget +set +info +ping +select +hello +client &curfew:* +publish +subscribe";
    let redis = Redis::start_with(&[user], None).unwrap();
    works_beside(settings(&format!("redis://curfew:secret@127.0.0.1:{}", redis.port()))).await;
}

#[tokio::test]
async fn with_tls_and_a_private_authority() {
    let authority = Authority::new().unwrap();
    let redis = Redis::start_with(&[], Some(&authority)).unwrap();
    let mut settings = settings(&redis.url());
    settings.authority = Some(std::fs::read(authority.file()).unwrap());
    works_beside(settings).await;
}

#[tokio::test]
async fn on_a_unix_socket() {
    let redis = Redis::start().unwrap();
    works_beside(settings(&format!("unix://{}", redis.socket().display()))).await;
}

#[tokio::test]
async fn valkey_is_as_good() {
    let valkey = Redis::start_valkey().unwrap();
    works_beside(settings(&valkey.url())).await;
}

#[tokio::test]
async fn a_cluster_holds_the_entries_on_all_its_nodes() {
    let mut cluster = Cluster::start().unwrap();
    let plane = plane_beside(&format!("redis+cluster://{}", cluster.hosts())).await;
    let tokens: Vec<String> = (0..200).map(|number| token_of("alice", &number.to_string())).collect();
    let registered: Vec<&str> = tokens.iter().map(String::as_str).collect();
    plane.register(&registered).await;
    plane.logout_all(&tokens[0]).await;
    plane.until_up().await;
    until_it_hears_itself(&plane).await;
    let sizes: Vec<i64> = cluster.nodes().iter().map(|node| number(node, &["DBSIZE"])).collect();
    assert!(sizes.iter().all(|size| *size > 20), "{sizes:?}");
    plane.lose_database().await;
    for token in &tokens {
        plane.redis_says_revoked(token).await;
    }
}

#[tokio::test]
async fn after_a_failover_the_new_primary_is_used_and_complete() {
    let mut sentinel = Sentinel::start(3).unwrap();
    let plane = plane_beside(&format!("redis+sentinel://{}/{}", sentinel.hosts(), Sentinel::SERVICE)).await;
    let (before, meanwhile) = (token_of("alice", "1"), token_of("alice", "2"));
    plane.logout(&before).await;
    sentinel.first().server().kill().unwrap();
    assert_eq!(plane.logout(&meanwhile).await.status, 200);
    assert_eq!(plane.verdict(&before).await, "revoked");
    sentinel.wait_for_failover().unwrap();
    plane.until_up().await;
    until_it_hears_itself(&plane).await;
    for token in [&before, &meanwhile] {
        assert_eq!(get(sentinel.second(), &plane.names(token).await[0]), Some(NOW.to_string()));
    }
}
