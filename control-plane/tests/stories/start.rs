//! How the real binary starts: beside another server, under a flood, with new settings, and with a signal at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};
use tempfile::TempDir;

use crate::binary::{Server, command, curfew};

async fn database(directory: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.join("curfew-data/curfew.db"));
    SqliteConnection::connect_with(&options).await.unwrap()
}

fn log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("log")).unwrap()
}

fn start_with(directory: &Path, settings: &[(&str, &str)]) -> Server {
    let mut command = command(directory);
    command.envs(settings.iter().copied());
    Server::spawn(directory, command)
}

#[tokio::test]
async fn a_longer_life_of_tokens_is_a_longer_life_of_cutoffs() {
    let directory = TempDir::new().unwrap();
    let server = start_with(directory.path(), &[("CURFEW_MAX_TOKEN_TTL", "1h")]);
    assert_eq!(curfew(directory.path(), &server, &["logout", "--user", "alice"]).0, Some(0));
    server.stop();
    let kept = "SELECT kind, expires_at - cutoff FROM revocations";
    let rest = 5 + 5 + 2 + 60;
    for (ttl, expected) in [("2h", 2 * 3600), ("1h", 2 * 3600), ("3h", 3 * 3600)] {
        let server = start_with(directory.path(), &[("CURFEW_MAX_TOKEN_TTL", ttl)]);
        server.stop();
        let entries: Vec<(String, i64)> =
            sqlx::query_as(kept).fetch_all(&mut database(directory.path()).await).await.unwrap();
        assert_eq!(entries, [("subject".to_owned(), expected + rest)], "{ttl}");
    }
}

#[test]
fn a_flood_on_the_public_listener_leaves_the_internal_one_alone() {
    let directory = TempDir::new().unwrap();
    let mut limited = Command::new("/bin/sh");
    // If only the soft limit were set, the server would raise it again.
    limited.args(["-c", "ulimit -n 150; ulimit -S -n 140; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_curfew")]);
    limited.env_clear().current_dir(directory.path());
    let server = Server::spawn(directory.path(), limited);
    let public = server.public.strip_prefix("http://").unwrap();
    // The kernel's queue may be shorter than the flood. The kernel then lets the connections wait.
    let patience = Duration::from_millis(100);
    let connect = |_| TcpStream::connect_timeout(&public.parse().unwrap(), patience).ok();
    let flood: Vec<_> = (0..150).map_while(connect).collect();
    assert!(flood.len() > 20, "{}", flood.len());
    std::thread::sleep(Duration::from_millis(300));

    let mut client = TcpStream::connect(server.internal.strip_prefix("http://").unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    drop(flood);
    let log = log(directory.path());
    assert!(log.contains(r#""descriptors":150,"public":5,"internal":11"#), "{log}");
    assert!(!log.contains("could not be accepted"), "{log}");
}

#[test]
fn a_signal_during_the_start_ends_it_in_order() {
    let directory = TempDir::new().unwrap();
    let mut process = command(directory.path())
        .args(["serve", "--public-listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(10);
    while !log(directory.path()).contains(r#""message":"applied a migration"#) && Instant::now() < patience {}
    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(process.wait().unwrap().code(), Some(0), "{}", log(directory.path()));
    assert!(log(directory.path()).contains(r#""message":"stopped""#));
}

#[tokio::test]
async fn several_servers_that_start_at_once_on_a_fresh_file_all_start() {
    for _ in 0..10 {
        let directory = TempDir::new().unwrap();
        let migrate = |_| {
            let mut command = command(directory.path());
            command.arg("migrate").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let processes: Vec<Child> = (0..8).map(migrate).collect();
        for process in processes {
            let output = process.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let heads: i64 = sqlx::query_scalar("SELECT count(*) FROM feed_head")
            .fetch_one(&mut database(directory.path()).await)
            .await
            .unwrap();
        assert_eq!(heads, 1);
    }
}

#[test]
fn the_database_is_for_the_owner_only() {
    let directory = TempDir::new().unwrap();
    // The directory exists already, and every user may look into it.
    let url = format!("sqlite://{}/open.db", directory.path().display());
    let server = start_with(directory.path(), &[("DATABASE_URL", &url)]);
    assert_eq!(curfew(directory.path(), &server, &["logout", "--user", "alice"]).0, Some(0));
    for name in ["open.db", "open.db-wal", "open.db-shm"] {
        let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn an_outage_is_one_line_in_ten_seconds() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    database(directory.path()).await.execute("DROP TABLE user_token_logs").await.unwrap();
    for _ in 0..5 {
        let (code, _, stderr) = curfew(directory.path(), &server, &["sessions", "--user", "alice"]);
        assert_eq!(code, Some(1), "{stderr}");
    }
    let log = log(directory.path());
    assert_eq!(log.matches("the database could not be read").count(), 1, "{log}");
    assert!(!log.contains("alice"), "{log}");
}

#[test]
fn settings_that_do_nothing_are_told_once() {
    let directory = TempDir::new().unwrap();
    let settings = [
        ("REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC", "3600"),
        ("CURFEW_PURGE_INTERVALL", "5s"),
        ("CURFEW_FILTER_WASM", "curfew.wasm"),
        ("CURFEW_PUBLIC_URL", "http://127.0.0.1:1"),
    ];
    let server = start_with(directory.path(), &settings);
    server.stop();
    let log = log(directory.path());
    for line in [
        "REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC has no effect without REDIS_URL",
        "settings that this version does not know: CURFEW_FILTER_WASM, CURFEW_PURGE_INTERVALL",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line} in {log}");
    }
    assert!(!log.contains("CURFEW_PUBLIC_URL"), "{log}");
}

#[test]
fn a_life_of_entries_that_is_too_short_is_told_and_not_followed() {
    let needed = 30 * 24 * 3600 + 5 + 2 + 60 + 5;
    let warning = "REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC=";
    for (configured, warned) in [(needed - 1, true), (needed, false)] {
        let directory = TempDir::new().unwrap();
        let (configured, nobody) = (configured.to_string(), "redis://127.0.0.1:1");
        let settings = [("REDIS_URL", nobody), ("REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC", configured.as_str())];
        start_with(directory.path(), &settings).stop();
        let log = log(directory.path());
        let line = format!(
            "{warning}{configured} is shorter than tokens may live: entries live for as long as their \
                            tokens need, up to {needed} seconds"
        );
        assert_eq!(log.contains(&line), warned, "{log}");
        // No Redis listens there. That is logged, and does not prevent the start.
        assert!(log.contains("Redis is left alone for now: checks ask the database, and nothing is lost"), "{log}");
    }
}
