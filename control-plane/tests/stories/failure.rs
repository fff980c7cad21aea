//! A database that cannot be written: the token stays alive, and the answer says so.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use sqlx::Executor;

use crate::plane::{Plane, ask, with_secret};
use crate::tokens::token_of;

const NOT_WRITTEN: &str = "503\ncache-control: no-store\n\
    content-type: application/problem+json\nretry-after: 1\n\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
    \"detail\":\"The request was not carried out and nothing was changed: a token to be logged out is still valid. Try again.\",\
    \"code\":\"unavailable\"}";

#[tokio::test]
async fn while_another_process_holds_the_lock_no_logout_is_confirmed() {
    let plane = Plane::start().await;
    let token = token_of("alice", "1");
    let tokens = [token.as_str()];
    let mut other = plane.database().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let (logout, all, registered) =
        tokio::join!(plane.logout(&token), plane.logout_all(&token), plane.register(&tokens));
    for answer in [logout, all, registered] {
        assert_eq!(answer.whole(), NOT_WRITTEN);
    }
    assert_eq!(plane.verdict(&token).await, "active");
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(plane.rows().await, (0, 0, 0));
    // The writer has recovered by itself.
    assert_eq!(plane.logout(&token).await.status, 200);
    assert_eq!(plane.verdict(&token).await, "revoked");
}

#[tokio::test]
async fn a_transaction_that_fails_half_way_leaves_nothing_behind() {
    let plane = Plane::start().await;
    let (token, other) = (token_of("alice", "1"), token_of("bob", "2"));
    let mut database = plane.database().await;
    let trap = "CREATE TRIGGER trap BEFORE UPDATE ON feed_head BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    database.execute(trap).await.unwrap();
    let (one, two) = tokio::join!(plane.logout_all(&token), plane.logout(&other));
    assert_eq!(one.whole(), NOT_WRITTEN);
    assert_eq!(two.whole(), NOT_WRITTEN);
    assert_eq!(plane.rows().await, (0, 0, 0));
    assert_eq!(plane.verdict(&token).await, "active");
    assert_eq!(
        ask(plane.internal(), Request::get("/readyz")).await.body,
        "{\"parts\":{\"database\":{\"consequence\":\"Checks are answered; the last logout or registration could not be \
         written.\",\"status\":\"degraded\"}},\"status\":\"degraded\"}"
    );
    database.execute("DROP TRIGGER trap").await.unwrap();
    assert_eq!(plane.logout_all(&token).await.status, 200);
}

#[tokio::test]
async fn a_commit_that_fails_is_not_said_to_have_changed_nothing() {
    let plane = Plane::start().await;
    let token = token_of("alice", "1");
    let mut database = plane.database().await;
    // A foreign key that is checked at the commit, and makes it fail.
    let trap = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER trap AFTER UPDATE ON feed_head BEGIN INSERT INTO child VALUES (1); END";
    database.execute(trap).await.unwrap();
    assert_eq!(
        plane.logout(&token).await.whole(),
        "503\ncache-control: no-store\ncontent-type: application/problem+json\nretry-after: 1\n\n\
         {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
         \"detail\":\"The request was not confirmed: a token to be logged out may still be valid. Try again.\",\
         \"code\":\"unavailable\"}"
    );
    database.execute("DROP TRIGGER trap").await.unwrap();
    assert_eq!(plane.logout(&token).await.status, 200);
}

/// A control plane whose database another connection has locked, for readers too. The lock needs a moment in which the
/// control plane's own tasks have no connection open. Such a moment comes soon after the start.
async fn locked_out() -> (Plane, impl Sized) {
    for _ in 0..200 {
        let plane = Plane::start().await;
        let mut other = plane.database().await;
        other.execute("PRAGMA busy_timeout = 0").await.unwrap();
        let lock = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE feed_head SET seq = 0";
        if other.execute(lock).await.is_ok() {
            return (plane, other);
        }
    }
    panic!("the control plane always has a connection open");
}

#[tokio::test]
async fn a_read_that_takes_too_long_says_nothing_of_a_logout() {
    let (mut plane, _other) = locked_out().await;
    Arc::get_mut(&mut plane.state).unwrap().request_timeout = Duration::from_millis(100);
    let question = serde_json::to_value(plane.question(&token_of("alice", "1"))).unwrap();
    let check = plane.internal_post("/internal/v1/check", question).await;
    let sessions = with_secret(Request::get("/internal/v1/users/alice/sessions"));
    for answer in [check, ask(plane.internal(), sessions).await] {
        assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
        assert!(answer.body.contains(r#""detail":"The database did not answer. Try again.""#), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_database_that_lost_its_tables_is_unavailable_and_not_ready() {
    let plane = Plane::start().await;
    let token = token_of("alice", "1");
    let question = serde_json::to_value(plane.question(&token)).unwrap();
    plane.database().await.execute("DROP TABLE feed_head").await.unwrap();
    assert_eq!(plane.logout(&token).await.whole(), NOT_WRITTEN);
    let check = plane.internal_post("/internal/v1/check", question).await;
    assert_eq!(
        check.whole(),
        "503\ncache-control: no-store\ncontent-type: application/problem+json\nretry-after: 1\n\n\
         {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
         \"detail\":\"The database did not answer. Try again.\",\"code\":\"unavailable\"}"
    );
    assert_eq!(
        ask(plane.internal(), Request::get("/readyz")).await.whole(),
        "503\ncache-control: no-store\ncontent-type: application/problem+json\nretry-after: 1\n\n\
         {\"code\":\"unavailable\",\"detail\":\"A part that every answer needs does not work.\",\
         \"parts\":{\"database\":{\"consequence\":\"Checks and logouts are answered with 503; tokens stay as they are.\",\
         \"status\":\"down\"}},\"status\":503,\"title\":\"Service Unavailable\",\"type\":\"about:blank\"}"
    );
    assert_eq!(ask(plane.internal(), Request::get("/livez")).await.body, r#"{"status":"ok"}"#);
}

#[tokio::test]
async fn a_database_whose_file_is_gone_does_not_start_anew_with_an_empty_one() {
    let plane = Plane::start().await;
    for file in ["curfew.db", "curfew.db-wal", "curfew.db-shm"] {
        let _ = std::fs::remove_file(plane.file().with_file_name(file));
    }
    assert_eq!(plane.logout(&token_of("alice", "1")).await.whole(), NOT_WRITTEN);
    assert!(!plane.file().exists());
}
