//! The real binary on a machine whose wall clock is wrong at the start. Each story has a control plane on one SQLite file,
//! which is stopped and started with another clock.

use std::path::Path;
use std::time::Duration;

use axum::http::Method;
use curfew_control_plane::cli::client::Call;
use curfew_testbed::preloaded::Clocks;
use serde_json::Value;
use sqlx::Connection as _;
use tempfile::TempDir;

use crate::binary::{Server, command, curfew};

const DAY: i64 = 24 * 3600;

/// Longer than two intervals of the purge.
const PURGES: Duration = Duration::from_millis(2_500);

/// Starts a control plane whose wall clock is ahead by this much.
fn start(directory: &Path, ahead_seconds: i64) -> Server {
    let mut command = command(directory);
    command.env("CURFEW_PURGE_INTERVAL", "1s").envs(Clocks { ahead_seconds, bent_ppm: 0 }.variables().unwrap());
    Server::spawn(directory, command)
}

fn stop(server: Server) {
    assert_eq!(server.stop().0, Some(0));
}

async fn revocations(directory: &Path) -> i64 {
    let file = format!("sqlite://{}/curfew-data/curfew.db", directory.display());
    let mut connection = sqlx::SqliteConnection::connect(&file).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM revocations").fetch_one(&mut connection).await.unwrap()
}

async fn clock_part(server: &Server) -> Value {
    let call = Call { base: &server.internal, method: Method::GET, path: "/readyz", bearer: None, body: None };
    call.send().await.unwrap()["parts"]["clock"]["status"].clone()
}

const LOGGED_OUT: &str = "Successfully Logged Out.";
const REVOKED: &str = "error: 401 Unauthorized: The token was logged out. (token_revoked)";

#[tokio::test]
async fn a_start_with_the_clock_ahead_forgets_no_logout() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let server = start(at, 0);
    let mint = |server: &Server| curfew(at, server, &["token", "mint", "--user", "alice"]).1;
    let (token, other) = (mint(&server), mint(&server));
    assert_eq!(curfew(at, &server, &["logout", "--token", &token]).1, LOGGED_OUT);
    assert_eq!(clock_part(&server).await, Value::Null);
    stop(server);

    let server = start(at, 40 * DAY);
    assert_eq!(clock_part(&server).await, "degraded");
    tokio::time::sleep(PURGES).await;
    assert_eq!(revocations(at).await, 1);
    // By this clock the token has expired, and by all others it lives.
    assert_eq!(curfew(at, &server, &["logout", "--token", &other]).1, LOGGED_OUT);
    tokio::time::sleep(PURGES).await;
    assert_eq!(revocations(at).await, 2);
    let log = std::fs::read_to_string(at.join("log")).unwrap();
    assert!(log.contains("the wall clock is far ahead of the time that the database knows"), "{log}");
    stop(server);

    let server = start(at, 0);
    assert_eq!(clock_part(&server).await, Value::Null);
    for token in [&token, &other] {
        assert_eq!(curfew(at, &server, &["logout", "--token", token]).2, REVOKED);
    }
}

#[tokio::test]
async fn a_start_with_the_clock_behind_misses_no_token_of_the_last_half_hour() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    stop(start(at, 0));

    let server = start(at, -1800);
    assert_eq!(clock_part(&server).await, "degraded");
    let (code, _, error) = curfew(at, &server, &["logout", "--user", "alice"]);
    assert_eq!(code, Some(1), "a cutoff of half an hour ago would miss her latest tokens");
    assert!(error.starts_with("error: 503 Service Unavailable: "), "{error}");
    // A token whose issue lies in the future by this clock can be logged out all the same.
    let token = curfew(at, &server, &["token", "mint", "--user", "alice"]).1;
    assert_eq!(curfew(at, &server, &["logout", "--token", &token]).1, LOGGED_OUT);
    let log = std::fs::read_to_string(at.join("log")).unwrap();
    assert!(log.contains("the wall clock is behind the time that the database knows"), "{log}");
    stop(server);

    let server = start(at, 0);
    assert_eq!(curfew(at, &server, &["logout", "--token", &token]).2, REVOKED);
    assert_eq!(curfew(at, &server, &["logout", "--user", "alice"]).0, Some(0));
}

#[tokio::test]
async fn an_operator_accepts_a_clock_that_is_right_after_a_long_time() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let server = start(at, 0);
    let token = curfew(at, &server, &["token", "mint", "--user", "alice"]).1;
    assert_eq!(curfew(at, &server, &["logout", "--token", &token]).1, LOGGED_OUT);
    stop(server);

    // Forty days later.
    let server = start(at, 40 * DAY);
    assert_eq!(clock_part(&server).await, "degraded");
    let mut accept = command(at);
    accept.args(["clock", "accept"]).envs(Clocks { ahead_seconds: 40 * DAY, bent_ppm: 0 }.variables().unwrap());
    let output = accept.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    tokio::time::sleep(PURGES).await;
    assert_eq!((clock_part(&server).await, revocations(at).await), (Value::Null, 0));
}
