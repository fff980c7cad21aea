//! Servers that are refused, and servers that fail while they are used.

use std::time::{Duration, Instant};

use curfew_control_plane::store::command::{LogoutOutcome, Unavailable};
use curfew_control_plane::store::{self, Database, watch};
use curfew_core::wire::CheckVerdict::{Active, Revoked};
use curfew_testbed::link::{Direction, Link};
use curfew_testbed::ports::loopback;
use curfew_testbed::servers::{Authority, Mariadb, Postgres};

use crate::place::{Kind, NOW, Place, mariadb, on_each_database, outcome, postgres, settings, token};

/// The error of a start with this URL.
async fn refused(url: &str) -> String {
    let database = Database::from_url(url).unwrap();
    match store::migrate(&database).await {
        Err(failure) => failure.to_string(),
        Ok(_) => store::prepare(&database, &settings(), NOW, false).await.unwrap_err().to_string(),
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_one_line_without_the_password() {
    let port = postgres().port();
    let maria = mariadb().port();
    let (user, with) = ("curfew:only-for-tests", "are user, password and TLS as the server wants them?");
    for (url, expected) in [
        (format!("postgres://{user}@127.0.0.1:1/x"), vec!["Connection refused", "does the server run"]),
        (format!("mysql://{user}@127.0.0.1:1/x"), vec!["Connection refused", "does the server run"]),
        (format!("postgres://{user}@no-such-host.invalid/x"), vec!["is the host's name right?"]),
        (format!("postgres://curfew:hunter2@127.0.0.1:{port}/postgres"), vec!["password authentication failed", with]),
        (format!("mysql://curfew:hunter2@127.0.0.1:{maria}/mysql"), vec!["Access denied", with]),
        (format!("postgres://{user}@127.0.0.1:{port}/absent"), vec!["does not exist", "create the database first"]),
        (format!("mysql://{user}@127.0.0.1:{maria}/absent"), vec!["Unknown database", "create the database first"]),
        (format!("postgres://{user}@127.0.0.1:{port}/postgres?sslmode=require"), vec!["TLS"]),
        (format!("mysql://{user}@127.0.0.1:{maria}/mysql?ssl-mode=REQUIRED"), vec!["TLS"]),
    ] {
        let line = refused(&url).await;
        for part in expected {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains('\n') && !line.contains("hunter2") && !line.contains("only-for-tests"), "{line}");
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_at_the_start() {
    let place = Place::new(Kind::Postgres, "rights");
    postgres().execute("DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN PASSWORD 'poor'").unwrap();
    let poor = place.url.replace("curfew:only-for-tests", "poor:poor");
    let line = refused(&poor).await;
    assert!(line.starts_with("the schema cannot be made: permission denied for schema public"), "{line}");
    drop(place.open().await);
    place.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO poor; GRANT UPDATE ON feed_head TO poor").await;
    let line = refused(&poor).await;
    assert!(line.contains("permission denied for table") && line.contains("the account lacks a right"), "{line}");
    // These are all rights that it needs.
    let tables = "user_token_logs, revocations, subject_keyspaces, replicas, key_sets, key_fetches";
    let rights =
        format!("GRANT INSERT, UPDATE, DELETE ON {tables} TO poor; GRANT UPDATE ON retention_kept, clock_mark TO poor");
    place.execute(&rights).await;
    store::prepare(&Database::from_url(&poor).unwrap(), &settings(), NOW, false).await.unwrap();
    store::reckon(&Database::from_url(&poor).unwrap(), &place.clock()).await.unwrap();
}

#[tokio::test]
async fn tls_is_used_and_checked_where_it_is_asked_for() {
    let authority = Authority::new().unwrap();
    let postgres = Postgres::start_with(&[], Some(&authority)).unwrap();
    let mariadb = Mariadb::start_with(&[], Some(&authority)).unwrap();
    let stranger = Authority::new().unwrap();
    mariadb.fresh_database("tls").unwrap();
    for (with, without) in [
        (
            format!("{}?sslmode=verify-full&sslrootcert=", postgres.url()),
            format!("{}?sslmode=verify-full", postgres.url()),
        ),
        (
            format!("{}?ssl-mode=VERIFY_IDENTITY&ssl-ca=", mariadb.url().replace("/mysql", "/tls")),
            format!("{}?ssl-mode=VERIFY_IDENTITY", mariadb.url().replace("/mysql", "/tls")),
        ),
    ] {
        let good = Database::from_url(&format!("{with}{}", authority.file().display())).unwrap();
        store::migrate(&good).await.unwrap();
        let line = refused(&format!("{with}{}", stranger.file().display())).await;
        assert!(line.contains("certificate"), "{line}");
        let line = refused(&without).await;
        assert!(line.contains("certificate"), "{line}");
    }
}

#[tokio::test]
async fn a_server_that_may_lose_commits_is_told() {
    let postgres = Postgres::start_with(&["fsync=off", "synchronous_commit=off"], None).unwrap();
    let mariadb = Mariadb::start_with(&["innodb-flush-log-at-trx-commit=2"], None).unwrap();
    for (url, expected) in [
        (
            postgres.fresh_database("weak").unwrap(),
            "PostgreSQL's fsync is off: a logout answered with 200 may be lost in a crash",
        ),
        (
            mariadb.fresh_database("weak").unwrap(),
            "MariaDB's innodb_flush_log_at_trx_commit is 2 and not 1: a logout answered with 200 may be lost in a crash",
        ),
    ] {
        let database = Database::from_url(&url).unwrap();
        store::migrate(&database).await.unwrap();
        let prepared = store::prepare(&database, &settings(), NOW, false).await.unwrap();
        assert_eq!(prepared.warnings, [expected]);
    }
}

#[tokio::test]
async fn a_read_only_server_is_no_primary() {
    let mariadb = Mariadb::start().unwrap();
    let url = mariadb.fresh_database("replica").unwrap();
    let database = Database::from_url(&url).unwrap();
    store::migrate(&database).await.unwrap();
    mariadb.execute("SET GLOBAL read_only = 1").unwrap();
    let line = refused(&url).await;
    assert!(line.contains("the server is read-only or a standby, as replicas are: name the primary"), "{line}");
}

#[tokio::test]
async fn a_server_whose_engine_is_read_only_is_no_primary() {
    let mut mariadb = Mariadb::start().unwrap();
    let url = mariadb.fresh_database("reader").unwrap();
    let database = Database::from_url(&url).unwrap();
    store::migrate(&database).await.unwrap();
    store::prepare(&database, &settings(), NOW, false).await.unwrap();
    // A reader of Aurora says that it is one by this setting alone.
    mariadb.server().restart_with("--innodb-read-only=1").unwrap();
    let place = crate::place::open(&database);
    assert!(place.store.head().await.is_err());
    let line = store::head(&database).await.unwrap_err().to_string();
    assert!(line.contains("the server is read-only or a standby, as replicas are: name the primary"), "{line}");
    assert!(refused(&url).await.contains("name the primary"));
}

#[tokio::test]
async fn a_mariadb_that_is_made_read_only_is_not_read_over_the_connections_that_are_open() {
    let mariadb = Mariadb::start().unwrap();
    let database = Database::from_url(&mariadb.fresh_database("demoted").unwrap()).unwrap();
    store::migrate(&database).await.unwrap();
    store::prepare(&database, &settings(), NOW, false).await.unwrap();
    let plane = crate::place::open(&database);
    let early = token("alice", 1);
    let _ = plane.store.writer().logout(early.clone()).await.unwrap();
    for _ in 0..20 {
        assert_eq!(plane.verdict(&early).await, Revoked);
    }
    // The account may write all the same, but the server's primary would never have these writes.
    mariadb.execute("SET GLOBAL read_only = 1").unwrap();
    assert!(plane.store.check(&early.keys, None).await.is_err());
    assert_eq!(plane.store.writer().logout(token("alice", 2)).await, Err(Unavailable::NotWritten));
    watch::look(&plane.store).await;
    assert!(plane.store.head().await.is_err());
    assert!(!plane.store.is_writable());
    mariadb.execute("SET GLOBAL read_only = 0").unwrap();
    watch::look(&plane.store).await;
    assert_eq!(plane.verdict(&early).await, Revoked);
    assert!(plane.store.is_writable());
    assert_eq!(plane.head().await.seq, 1);
}

on_each_database! {
    async fn while_another_session_holds_the_head_no_logout_is_confirmed(place: &Place) {
        let plane = place.open().await;
        let mut other = place.connection().await;
        let lock = match place.kind {
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres | Kind::Mariadb => "BEGIN; SELECT seq FROM feed_head FOR UPDATE",
        };
        sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
        let started = Instant::now();
        assert_eq!(plane.store.writer().logout(token("alice", 1)).await, Err(Unavailable::NotWritten));
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
        // Reading goes on.
        assert_eq!(plane.head().await.seq, 0);
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        assert_eq!(plane.store.writer().logout(token("alice", 1)).await.map(outcome), Ok(LogoutOutcome::LoggedOut));
        assert_eq!(place.counts().await, (1, 1, 1));
    }
}

on_each_database! {
    async fn a_logout_that_met_a_lock_is_tried_again(place: &Place) {
        let plane = place.open().await;
        let mut other = place.connection().await;
        let lock = match place.kind {
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres | Kind::Mariadb => "BEGIN; SELECT seq FROM feed_head FOR UPDATE",
        };
        sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
        let writer = plane.store.writer().clone();
        let logout = tokio::spawn(async move { writer.logout(token("alice", 1)).await });
        // This is longer than the first attempt waits, and shorter than two attempts wait.
        tokio::time::sleep(Duration::from_millis(1_400)).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        assert_eq!(logout.await.unwrap().map(outcome), Ok(LogoutOutcome::LoggedOut));
        assert_eq!(place.counts().await, (1, 1, 1));
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_carried_out_fails_alone() {
    let place = Place::new(Kind::Postgres, "alone");
    let plane = place.open().await;
    let mut other = place.connection().await;
    sqlx::raw_sql("BEGIN; SELECT seq FROM feed_head FOR UPDATE").execute(&mut other).await.unwrap();
    // The first batch waits for the lock, and the second takes all commands that arrive meanwhile.
    let mut impossible = token("alice", 0);
    impossible.user = Some("no such\0sign".to_owned());
    let tokens = [token("bob", 0), token("bob", 1), impossible, token("bob", 2)];
    let logouts: Vec<_> = tokens
        .into_iter()
        .map(|token| {
            let writer = plane.store.writer().clone();
            tokio::spawn(async move { writer.logout(token).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let mut outcomes = Vec::new();
    for logout in logouts {
        outcomes.push(logout.await.unwrap().map(outcome));
    }
    let done = Ok(LogoutOutcome::LoggedOut);
    assert_eq!(outcomes, [done, done, Err(Unavailable::NotWritten), done]);
    assert_eq!(place.counts().await, (3, 3, 3));
    assert!(plane.store.is_writable());
}

#[tokio::test]
async fn a_postgres_database_that_cannot_hold_any_name_is_refused() {
    postgres().execute("DROP DATABASE IF EXISTS latin").unwrap();
    postgres().execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0").unwrap();
    let line = refused(&postgres().url().replace("/postgres", "/latin")).await;
    assert!(line.contains("the database's encoding is LATIN1: make it with ENCODING 'UTF8'"), "{line}");
}

/// A server so far away that making a connection takes longer than a read may take.
async fn far_away(url: &str, port: u16, way: Duration) {
    let link = Link::to(loopback(port)).unwrap();
    let database =
        Database::from_url(&url.replace(&format!(":{port}/"), &format!(":{}/", link.address().port()))).unwrap();
    store::migrate(&database).await.unwrap();
    link.delay(Direction::Answers, way);
    store::prepare(&database, &settings(), NOW, false).await.unwrap();
    assert_eq!(store::head(&database).await.unwrap().seq, 0);
    let plane = crate::place::open(&database);
    assert_eq!(plane.verdict(&token("alice", 1)).await, Active);
}

#[tokio::test]
async fn a_postgres_far_away_is_read_from() {
    far_away(&postgres().fresh_database("far").unwrap(), postgres().port(), Duration::from_millis(80)).await;
}

#[tokio::test]
async fn a_mariadb_far_away_is_read_from() {
    far_away(&mariadb().fresh_database("far").unwrap(), mariadb().port(), Duration::from_millis(55)).await;
}

/// A server that is killed, started again and frozen.
async fn outage(url: &str, server: &mut curfew_testbed::servers::Server) {
    let place_url = Database::from_url(url).unwrap();
    store::migrate(&place_url).await.unwrap();
    store::prepare(&place_url, &settings(), NOW, false).await.unwrap();
    let plane = crate::place::open(&place_url);
    let early = token("alice", 1);
    let _ = plane.store.writer().logout(early.clone()).await.unwrap();
    assert_eq!(plane.verdict(&early).await, Revoked);
    server.kill().unwrap();
    assert!(plane.store.check(&early.keys, None).await.is_err());
    assert!(plane.store.writer().logout(token("alice", 2)).await.is_err());
    server.restart().unwrap();
    // A server that has just come back may take some time, but never forgets.
    let until = Instant::now() + Duration::from_secs(20);
    while plane.store.check(&early.keys, None).await.is_err() && Instant::now() < until {
        // The server has started again, so its log is taken over under a new epoch.
        watch::look(&plane.store).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(plane.verdict(&early).await, Revoked);
    assert_eq!(plane.store.writer().logout(token("alice", 3)).await.map(outcome), Ok(LogoutOutcome::LoggedOut));
    server.freeze();
    let started = Instant::now();
    assert!(plane.store.check(&early.keys, None).await.is_err());
    // The filter gives up after 500 ms. The remaining time allows for a busy machine.
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
    let unwritten = plane.store.writer().logout(token("alice", 4)).await;
    assert!(unwritten.is_err(), "{unwritten:?}");
    // The public listener gives a request ten seconds.
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    assert!(plane.store.writer().logout(token("alice", 5)).await.is_err());
    server.thaw();
    let thawed = Instant::now();
    assert_eq!(plane.store.writer().logout(token("alice", 6)).await.map(outcome), Ok(LogoutOutcome::LoggedOut));
    assert_eq!(plane.verdict(&early).await, Revoked);
    assert!(thawed.elapsed() < Duration::from_secs(3), "{:?}", thawed.elapsed());
}

/// A network that drops everything while its connections stay open.
async fn black_hole(url: &str, port: u16) {
    let link = Link::to(loopback(port)).unwrap();
    let database =
        Database::from_url(&url.replace(&format!(":{port}/"), &format!(":{}/", link.address().port()))).unwrap();
    store::migrate(&database).await.unwrap();
    store::prepare(&database, &settings(), NOW, false).await.unwrap();
    let plane = crate::place::open(&database);
    let early = token("alice", 1);
    let _ = plane.store.writer().logout(early.clone()).await.unwrap();
    assert_eq!(plane.verdict(&early).await, Revoked);
    link.hold(Direction::Requests);
    link.hold(Direction::Answers);
    let started = Instant::now();
    // There are more reads than the pool has connections, and each is given up while it waits for an answer.
    let reads = (0..30).map(|_| plane.store.check(&early.keys, None));
    assert!(futures_util::future::join_all(reads).await.iter().all(Result::is_err));
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
    let unwritten = plane.store.writer().logout(token("alice", 2)).await;
    assert!(unwritten.is_err(), "{unwritten:?}");
    watch::look(&plane.store).await;
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    link.mend();
    let mended = Instant::now();
    assert_eq!(plane.verdict(&early).await, Revoked);
    assert_eq!(plane.store.writer().logout(token("alice", 3)).await.map(outcome), Ok(LogoutOutcome::LoggedOut));
    assert!(mended.elapsed() < Duration::from_secs(5), "{:?}", mended.elapsed());
}

#[tokio::test]
async fn a_postgres_behind_a_black_hole_is_given_up_in_seconds() {
    black_hole(&postgres().fresh_database("hole").unwrap(), postgres().port()).await;
}

#[tokio::test]
async fn a_mariadb_behind_a_black_hole_is_given_up_in_seconds() {
    black_hole(&mariadb().fresh_database("hole").unwrap(), mariadb().port()).await;
}

#[tokio::test]
async fn a_postgres_that_is_killed_and_frozen_costs_answers_and_no_logouts() {
    let mut postgres = Postgres::start().unwrap();
    let url = postgres.fresh_database("outage").unwrap();
    outage(&url, postgres.server()).await;
}

#[tokio::test]
async fn a_mariadb_that_is_killed_and_frozen_costs_answers_and_no_logouts() {
    let mut mariadb = Mariadb::start().unwrap();
    let url = mariadb.fresh_database("outage").unwrap();
    outage(&url, mariadb.server()).await;
}
