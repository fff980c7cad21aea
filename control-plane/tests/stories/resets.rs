//! A flood of HTTP/2 connections whose streams are reset as they begin does not fill the log of the real binary.

use std::fs::read_to_string;

use tempfile::TempDir;

use crate::binary::Server;
use crate::slow::reset;

/// Connections that the server ends for it.
const CONNECTIONS: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_ended_for_abuse_are_one_line_with_their_number() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    let address = server.public.strip_prefix("http://").unwrap().to_owned();
    for _ in 0..CONNECTIONS {
        assert_eq!(reset(address.clone(), "/api/v2/logout".to_owned()).await, "enhance your calm");
    }
    // What was not told yet is told at the end.
    server.stop();
    let log = read_to_string(directory.path().join("log")).unwrap();
    assert!(!log.contains("h2::"), "{log}");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("HTTP/2 connections were ended")).collect();
    let number =
        |line: &&str| serde_json::from_str::<serde_json::Value>(line).unwrap()["connections"].as_u64().unwrap();
    assert_eq!(lines.iter().map(number).sum::<u64>(), CONNECTIONS, "{log}");
    assert!(lines.len() <= 3, "{log}");
}
