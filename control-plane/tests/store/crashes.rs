//! A database server that crashes and comes back without commits that it had shown.

use std::time::{Duration, Instant};

use curfew_control_plane::leases::protocol::Barrier;
use curfew_control_plane::log::{ControlPlaneId, LogPosition};
use curfew_control_plane::store::command::TokenRecord;
use curfew_control_plane::store::{self, Database, watch};
use curfew_core::WorkerId;
use curfew_core::wire::CheckVerdict::{Active, Revoked};
use curfew_core::wire::FeedRequest;
use curfew_testbed::servers::{Mariadb, Postgres, Server};

use crate::place::{NOW, Plane, answered, open, settings, token};

/// Logouts that are under way when the server is killed.
const LOST: u64 = 20;

/// MySQL and MariaDB tell their starts by the second, and a small one starts in a part of it.
async fn another_second() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// What a worker says that has applied the log up to here.
fn poll(applied: LogPosition) -> FeedRequest {
    FeedRequest {
        worker: WorkerId::from_bytes([1; 16]),
        keyspaces: Vec::new(),
        epoch: Some(applied.epoch),
        applied: applied.seq,
        hold_ms: 0,
        leaving: false,
    }
}

/// The seqs and keys that a control plane sends to its workers.
async fn read(plane: &Plane) -> (LogPosition, Vec<(u64, TokenRecord)>) {
    let page = answered(async || plane.store.log_page(ControlPlaneId::from_bytes([7; 16]), 1, 1000).await).await;
    let tokens: Vec<_> = (0..LOST).map(|number| token("alice", number)).collect();
    let entries = page.entries.iter().filter_map(|entry| {
        let token = tokens.iter().find(|token| token.keys.token == entry.key)?;
        Some((entry.seq, token.clone()))
    });
    (page.head, entries.collect())
}

#[tokio::test]
async fn a_seq_that_a_crash_has_freed_is_not_taken_for_the_one_that_workers_have_applied() {
    // MariaDB writes its log once in this many seconds, and otherwise with each commit, as long as the setting is 1.
    let mut mariadb = Mariadb::start_with(&["innodb-flush-log-at-timeout=2700"], None).unwrap();
    another_second().await;
    let database = Database::from_url(&mariadb.fresh_database("crash").unwrap()).unwrap();
    store::migrate(&database).await.unwrap();
    store::prepare(&database, &settings(), NOW, false).await.unwrap();
    let (writes, reads) = (open(&database), open(&database));
    let durable = token("carol", 1);
    let _ = writes.store.writer().logout(durable.clone()).await.unwrap();
    mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 0").unwrap();
    // Under load: another control plane reads and sends pages all the time.
    for number in 0..LOST {
        let _ = writes.store.writer().logout(token("alice", number)).await.unwrap();
        let _ = reads.head().await;
    }
    let (applied, sent) = read(&reads).await;
    assert_eq!(sent.len() as u64, LOST);
    mariadb.server().restart().unwrap();

    // Another control plane, which has never read the old log, gives the same seqs to other logouts.
    let fresh = open(&database);
    watch::look(&fresh.store).await;
    let before = fresh.head().await;
    assert!(before.seq < applied.seq, "nothing was lost: {before:?}, {applied:?}");
    let late: Vec<_> = (0..LOST).map(|number| token("bob", number)).collect();
    for token in &late {
        let _ = fresh.store.writer().logout(token.clone()).await.unwrap();
    }
    let after = fresh.head().await;
    assert!(after.seq >= applied.seq, "{after:?}, {applied:?}");
    // The worker's next poll, at whichever control plane: the worker has to begin anew, and learns of every logout.
    watch::look(&reads.store).await;
    for plane in [&fresh, &reads] {
        let head = plane.head().await;
        assert_eq!(Barrier::page_after(&poll(applied), head), None, "{head:?}, {applied:?}");
        assert_eq!(plane.verdict(&durable).await, Revoked);
        assert_eq!(plane.verdict(&late[0]).await, Revoked);
        assert_eq!(plane.verdict(&sent[0].1).await, Active);
    }
}

/// Kills a server and starts it again, and waits until its log is read again.
async fn restarted(url: &str, server: &mut Server) {
    let database = Database::from_url(url).unwrap();
    store::migrate(&database).await.unwrap();
    store::prepare(&database, &settings(), NOW, false).await.unwrap();
    let plane = open(&database);
    let _ = plane.store.writer().logout(token("alice", 1)).await.unwrap();
    let before = plane.head().await;
    another_second().await;
    server.restart().unwrap();
    // Not a row is read before the writer has begun a new epoch.
    let until = Instant::now() + Duration::from_secs(20);
    while plane.store.head().await.is_err() && Instant::now() < until {
        watch::look(&plane.store).await;
    }
    let after = plane.head().await;
    assert_eq!((after.epoch == before.epoch, after.seq), (false, 1));
    assert_eq!(plane.verdict(&token("alice", 1)).await, Revoked);
    // The epoch stays until the next start of the server.
    watch::look(&plane.store).await;
    let _ = plane.store.writer().logout(token("alice", 2)).await.unwrap();
    assert_eq!(open(&database).head().await, LogPosition { seq: 2, ..after });
}

#[tokio::test]
async fn each_start_of_a_postgres_begins_a_new_epoch() {
    let mut postgres = Postgres::start().unwrap();
    let url = postgres.fresh_database("again").unwrap();
    restarted(&url, postgres.server()).await;
}

#[tokio::test]
async fn each_start_of_a_mariadb_begins_a_new_epoch() {
    let mut mariadb = Mariadb::start().unwrap();
    let url = mariadb.fresh_database("again").unwrap();
    restarted(&url, mariadb.server()).await;
}
