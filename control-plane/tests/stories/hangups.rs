//! SIGHUP at the real binary: keys are read again, and the process goes on.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use curfew_testbed::ports::{lasting, loopback};
use curfew_testbed::tokens::{Signer, jwks};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};
use tempfile::TempDir;

use crate::binary::{Server, command, curfew};
use crate::tokens::SECRET;

const PATIENCE: Duration = Duration::from_secs(30);

const TOLD: &str = "reading files of keys again, and asking the issuers for theirs";

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn hang_up(process: u32) {
    assert!(Command::new("kill").args(["-HUP", &process.to_string()]).status().unwrap().success());
}

fn log(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap()
}

/// The names of the keys that the server shows to operators.
fn kids(directory: &Path, server: &Server) -> Vec<String> {
    let (code, shown, error) = curfew(directory, server, &["keys", "list", "--json"]);
    assert_eq!(code, Some(0), "{error}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let keys = shown["sets"][0]["keys"].as_array().cloned().unwrap_or_default();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_hangup_has_the_file_of_keys_read_again_and_ends_nothing() {
    let directory = TempDir::new().unwrap();
    let [one, two] = ["one", "two"].map(|kid| Signer::named(kid).unwrap());
    let file = directory.path().join("keys.json");
    fs::write(&file, jwks([&one]).to_string()).unwrap();
    let mut serve = command(directory.path());
    serve.env("JWKS_FILE", &file);
    let server = Server::spawn(directory.path(), serve);
    until("the file is read", || kids(directory.path(), &server) == ["one"]);
    fs::write(&file, jwks([&two]).to_string()).unwrap();
    hang_up(server.id());
    until("the new key is shown", || kids(directory.path(), &server) == ["two"]);
    until("the signal is told", || log(directory.path()).contains(TOLD));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_hangup_does_not_end_a_server_that_has_only_a_secret() {
    let directory = TempDir::new().unwrap();
    let mut serve = command(directory.path());
    serve.env("JWT_SECRET", SECRET);
    let server = Server::spawn(directory.path(), serve);
    for count in 1..=2 {
        hang_up(server.id());
        until("the signal is told", || log(directory.path()).matches(TOLD).count() == count);
    }
    let (code, shown, _) = curfew(directory.path(), &server, &["keys", "list", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &shown["sets"][0]["secret"]), (Some(0), &Value::Bool(true)));
    assert_eq!(server.stop().0, Some(0));
}

/// Killed when it is dropped.
struct Starting(Child);

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Another process holds the database for a while, so the start takes long.
#[tokio::test]
async fn a_hangup_during_the_start_does_not_end_it() {
    let directory = TempDir::new().unwrap();
    assert!(command(directory.path()).arg("migrate").output().unwrap().status.success());
    let options = SqliteConnectOptions::new().filename(directory.path().join("curfew-data/curfew.db"));
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    database.execute("BEGIN IMMEDIATE").await.unwrap();
    let (public, internal) = (loopback(lasting().unwrap()), loopback(lasting().unwrap()));
    let addresses = [public.to_string(), internal.to_string()];
    let child = command(directory.path())
        .args(["serve", "--public-listen", &addresses[0], "--internal-listen", &addresses[1]])
        .stdout(Stdio::null())
        .stderr(fs::File::create(directory.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let mut starting = Starting(child);
    until("it listens", || TcpStream::connect(internal).is_ok());
    hang_up(starting.0.id());
    std::thread::sleep(Duration::from_millis(300));
    assert!(starting.0.try_wait().unwrap().is_none(), "{}", log(directory.path()));
    assert!(!log(directory.path()).contains(TOLD), "it has started already");
    database.execute("ROLLBACK").await.unwrap();
    until("the signal is told when it has started", || log(directory.path()).contains(TOLD));
    assert!(starting.0.try_wait().unwrap().is_none());
}
