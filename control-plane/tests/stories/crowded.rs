//! Clients of the real binary that hold connections for nothing: others get a place all the same, and nobody loses a request.

use std::fs::read_to_string;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::binary::Server;

/// With this limit on open files the public listener has 96 places and the internal one 192.
const SCRIPT: &str = r#"ulimit -n 512 && exec "$0" "$@""#;

/// More connections than either listener has places.
const CROWD: usize = 250;

/// How long a fresh connection may wait for its answer.
const SOON: Duration = Duration::from_secs(1);

fn start(directory: &Path) -> Server {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, env!("CARGO_BIN_EXE_curfew")]).env_clear().current_dir(directory);
    Server::spawn(directory, command)
}

fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Opens a crowd of connections, each of which sends these bytes and waits.
fn crowd(url: &str, bytes: &[u8]) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = connect(url);
        // The server may have closed it already.
        let _ = stream.write_all(bytes);
        stream
    };
    (0..CROWD).map(open).collect()
}

/// Asks over a fresh connection, and returns the answer and how long it took.
fn ask(url: &str, path: &str) -> (String, Duration) {
    let asked = Instant::now();
    let mut stream = connect(url);
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer, asked.elapsed())
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let directory = TempDir::new().unwrap();
    let server = start(directory.path());
    // Silence, half a head, HTTP/2 without a stream, and a request that was answered long ago.
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for bytes in [b"".as_slice(), b"GET / HTTP/1.1\r\nhost: x\r\n", preface, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let _held = [crowd(&server.public, bytes), crowd(&server.internal, bytes)];
        for (url, path, status) in [(&server.public, "/nothing", "404"), (&server.internal, "/livez", "200")] {
            let (answer, took) = ask(url, path);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(took < SOON, "{took:?} behind a crowd that sent {:?}", String::from_utf8_lossy(bytes));
        }
    }
}

#[test]
fn operators_see_the_crowd_in_the_metrics_and_once_in_the_log() {
    let directory = TempDir::new().unwrap();
    let server = start(directory.path());
    let _held = crowd(&server.public, b"");
    // The last ones may still wait to be accepted.
    let until = Instant::now() + Duration::from_secs(20);
    let closed = r#"curfew_connections_closed_total{listener="public",reason="crowded"}"#;
    let metrics = loop {
        let (metrics, _) = ask(&server.internal, "/metrics");
        let number = metrics.lines().find_map(|line| line.strip_prefix(closed)?.trim().parse().ok()).unwrap_or(0);
        if number >= CROWD - 96 || Instant::now() > until {
            break metrics;
        }
    };
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{metrics}"));
        line.trim().parse::<usize>().unwrap()
    };
    let silent = value(r#"curfew_connections{listener="public",state="silent"}"#);
    assert!((80..=96).contains(&silent), "{silent}");
    assert_eq!(value(r#"curfew_connections{listener="internal",state="busy"}"#), 1);
    assert!(value(closed) >= CROWD - 96);
    let log = read_to_string(directory.path().join("log")).unwrap();
    let told: Vec<_> = log.lines().filter(|line| line.contains("to keep room for others")).collect();
    assert_eq!(told.len(), 1, "{log}");
    for part in ["\"WARN\"", r#""listener":"public""#, r#""reason":"crowded""#, r#""address":"127.0.0.1""#] {
        assert!(told[0].contains(part), "{} has no {part}", told[0]);
    }
}

#[test]
fn a_request_that_has_begun_keeps_its_place_in_the_crowd() {
    let directory = TempDir::new().unwrap();
    let server = start(directory.path());
    let mut client = connect(&server.internal);
    let head = "POST /api/v2/lgt-all HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
    client.write_all(format!("{head}content-length: 4\r\n\r\n[1").as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let _held = [crowd(&server.internal, b""), crowd(&server.internal, b"")];
    client.write_all(b"2]").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
}
