//! Callers of the real binary's internal listener that do not know the secret.

use std::fs::read_to_string;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Server, curfew};

/// The status of a call with this line among its headers.
fn call(server: &Server, line: &str) -> String {
    let mut stream = TcpStream::connect(server.internal.strip_prefix("http://").unwrap()).unwrap();
    let head = "GET /internal/v1/gateways HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    stream.write_all(format!("{head}{line}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn guesses_at_the_internal_secret_are_counted_and_told_once_with_their_address() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    for number in 0..30 {
        assert_eq!(call(&server, &format!("authorization: Bearer a-guess-{number}\r\n")), "401");
    }
    assert_eq!(call(&server, ""), "401");
    // A caller that knows it is not counted, and neither are probes.
    assert_eq!(curfew(directory.path(), &server, &["gateways"]).0, Some(0));
    let metrics = metrics(&server);
    for line in [
        r#"curfew_internal_secret_refused_total{reason="wrong"} 30"#,
        r#"curfew_internal_secret_refused_total{reason="missing"} 1"#,
    ] {
        assert!(metrics.lines().any(|other| other == line), "{metrics}");
    }
    let log = read_to_string(directory.path().join("log")).unwrap();
    let told: Vec<Value> = log
        .lines()
        .filter(|line| line.contains("without the internal secret"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told.len(), 1, "{log}");
    assert_eq!((&told[0]["level"], &told[0]["address"]), (&"WARN".into(), &"127.0.0.1".into()), "{log}");
    assert!(!log.contains("a-guess"), "{log}");
}

fn metrics(server: &Server) -> String {
    let mut stream = TcpStream::connect(server.internal.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_server_leaves_no_core_dump() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    let limits = read_to_string(Path::new("/proc").join(server.id().to_string()).join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>(), ["Max", "core", "file", "size", "0", "0", "bytes"]);
}
