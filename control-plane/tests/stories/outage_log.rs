//! What an operator reads in the log of the real binary while the database or Redis is away.

use std::fs::read_to_string;
use std::path::Path;
use std::time::{Duration, Instant};

use curfew_testbed::servers::{Mariadb, Postgres, Redis, Server as DatabaseServer};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Server, command, curfew};

/// How long a database is away: some seconds, in which everything fails several times.
const OUTAGE: Duration = Duration::from_secs(6);

const PATIENCE: Duration = Duration::from_secs(60);

fn start(directory: &Path, settings: &[(&str, &str)]) -> Server {
    let mut command = command(directory);
    command.envs(settings.iter().copied()).env("CURFEW_PURGE_INTERVAL", "1s");
    Server::spawn(directory, command)
}

/// Logs out a new user, and returns what the command says.
fn log_out(directory: &Path, server: &Server) -> String {
    let (_, token, _) = curfew(directory, server, &["token", "mint", "--user", "alice"]);
    let (_, told, error) = curfew(directory, server, &["logout", "--token", &token]);
    format!("{told}{error}")
}

/// The lines of the log.
fn lines(directory: &Path) -> Vec<Value> {
    let log = read_to_string(directory.join("log")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn wait_for(directory: &Path, message: &str) {
    let until = Instant::now() + PATIENCE;
    while !lines(directory).iter().any(|line| line["message"] == message) {
        assert!(Instant::now() < until, "{message} is not in {:#?}", lines(directory));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What was told since the start, at the level of the default setting: each line as its level and its message.
fn told(directory: &Path, since: usize) -> Vec<String> {
    let told = lines(directory);
    let told = told.iter().skip(since);
    told.map(|line| format!("{} {}", line["level"].as_str().unwrap(), line["message"].as_str().unwrap())).collect()
}

/// Plays an outage: logouts and probes meanwhile, and one logout after it.
fn play(directory: &Path, server: &Server, database: &mut DatabaseServer) -> Vec<String> {
    assert_eq!(log_out(directory, server), "Successfully Logged Out.");
    let since = lines(directory).len();
    database.kill().unwrap();
    let until = Instant::now() + OUTAGE;
    while Instant::now() < until {
        let said = log_out(directory, server);
        assert!(said.contains("503"), "{said}");
        curfew(directory, server, &["sessions", "--user", "alice"]);
        curfew(directory, server, &["gateways"]);
    }
    database.restart().unwrap();
    wait_for(directory, "the database answers again");
    let until = Instant::now() + PATIENCE;
    while log_out(directory, server) != "Successfully Logged Out." {
        assert!(Instant::now() < until);
    }
    let log = read_to_string(directory.join("log")).unwrap();
    for part in ["Io(", "Database(", "PoolTimedOut", "kind:", "sqlx", "PgDatabaseError", "NOTICE"] {
        assert!(!log.contains(part), "{part} in {log}");
    }
    told(directory, since)
}

/// The lines about an outage: its beginning, its end, and the new epoch of a server that has started again. Between them may be
/// unknown outcomes of commits.
fn only_its_beginning_and_its_end(told: &[String]) {
    let unknown = "ERROR a commit failed; whether these commands were carried out is not known";
    // The summary of refused logouts, once in ten seconds, is told in quiet times too.
    let others = [unknown, "WARN failed logouts"];
    let told: Vec<_> = told.iter().map(String::as_str).filter(|line| !others.contains(line)).collect();
    let lost = "ERROR the database does not answer: logouts get 503, and requests with tokens do when leases are over";
    let (back, begun) =
        ("INFO the database answers again", "WARN the database's server has started again: a new epoch begins");
    assert!(told == [lost, back, begun] || told == [lost, begun, back], "{told:?}");
}

#[test]
fn an_outage_of_postgresql_is_told_once() {
    let (directory, mut postgres) = (TempDir::new().unwrap(), Postgres::start().unwrap());
    let server = start(directory.path(), &[("DATABASE_URL", &postgres.url())]);
    only_its_beginning_and_its_end(&play(directory.path(), &server, postgres.server()));
    let cause = lines(directory.path()).iter().find_map(|line| Some(line["cause"].as_str()?.to_owned())).unwrap();
    assert!(cause.contains("refused") && cause.contains("does the server run"), "{cause}");
}

#[test]
fn an_outage_of_mariadb_is_told_once() {
    let (directory, mut mariadb) = (TempDir::new().unwrap(), Mariadb::start().unwrap());
    let url = mariadb.fresh_database("outage").unwrap();
    let server = start(directory.path(), &[("DATABASE_URL", &url)]);
    only_its_beginning_and_its_end(&play(directory.path(), &server, mariadb.server()));
}

#[test]
fn an_outage_of_redis_is_told_once_for_each_of_its_two_uses() {
    let (directory, mut redis) = (TempDir::new().unwrap(), Redis::start().unwrap());
    let server = start(directory.path(), &[("REDIS_URL", &redis.url())]);
    let directory = directory.path();
    wait_for(directory, "control planes hear each other through Redis");
    let since = lines(directory).len();
    redis.server().kill().unwrap();
    let until = Instant::now() + 2 * OUTAGE;
    while Instant::now() < until {
        assert_eq!(log_out(directory, &server), "Successfully Logged Out.");
    }
    redis.server().restart().unwrap();
    let until = Instant::now() + PATIENCE;
    let back = ["INFO Redis is in use", "INFO control planes hear each other through Redis"];
    while !back.iter().all(|line| told(directory, since).iter().any(|told| told == line)) {
        assert!(Instant::now() < until, "{:?}", told(directory, since));
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut told = told(directory, since);
    told.retain(|line| line != "INFO copying all revocations to Redis");
    told.sort();
    assert_eq!(
        told,
        [
            "INFO Redis is in use",
            "INFO control planes hear each other through Redis",
            "WARN Redis is left alone for now: checks ask the database, and nothing is lost",
            "WARN control planes do not hear each other through Redis: logouts take longer",
        ]
    );
}
