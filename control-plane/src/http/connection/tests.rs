//! Stories over one connection through a pipe, with a clock that stands until everything waits for it.

use std::io::ErrorKind;

use hyper::client::conn::http2;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::*;
use crate::http::connections::{Connections, Terms};
use crate::http::counters::Counters;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A connection over a pipe that holds `buffer` bytes. The task ends with the connection, and returns how long it
/// lasted.
fn connect(router: Router, buffer: usize) -> (DuplexStream, JoinHandle<Duration>, DropGuard) {
    connect_for(8 * 1024, router, buffer)
}

/// The same where tokens may be as long as this.
fn connect_for(longest_token: usize, router: Router, buffer: usize) -> (DuplexStream, JoinHandle<Duration>, DropGuard) {
    let (theirs, ours) = duplex(buffer);
    let stop = CancellationToken::new();
    let stopper = stop.clone().drop_guard();
    let started = Instant::now();
    let task = tokio::spawn(async move {
        // Without a timeout, a connection that never ends would make the test hang instead of fail.
        let _ = timeout(2 * MAX_AGE, serve(ours, place(), router, (Listener::Public, longest_token), stop)).await;
        started.elapsed()
    });
    (theirs, task, stopper)
}

fn place() -> Place {
    let connections = Connections::new(Listener::Public, Terms::new(100, None), Counters::default());
    connections.enter([192, 0, 2, 1].into(), Instant::now()).unwrap()
}

fn hello() -> Router {
    Router::new().fallback(async || "hello")
}

/// An answer that never comes.
fn never() -> Router {
    Router::new().fallback(pending::<()>)
}

fn assert_about(took: Duration, seconds: std::ops::RangeInclusive<u64>) {
    assert!(seconds.contains(&took.as_secs()), "{took:?} is not of {seconds:?}");
}

#[tokio::test(start_paused = true)]
async fn an_http1_client_that_keeps_asking_is_asked_to_come_again() {
    let (mut client, task, _stopper) = connect(hello(), 4096);
    let mut answer = vec![0; 4096];
    while client.write_all(REQUEST).await.is_ok() && client.read(&mut answer).await.unwrap_or(0) > 0 {
        sleep(Duration::from_secs(1)).await;
    }
    assert_about(task.await.unwrap(), 240..=301);
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_keeps_asking_is_asked_to_come_again() {
    let (client, task, _stopper) = connect(hello(), 4096);
    let executor = TokioExecutor::new();
    let (mut sender, connection) = http2::handshake(executor, TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    let request = || Request::builder().uri("http://x/").body(String::new()).unwrap();
    while sender.ready().await.is_ok() && sender.send_request(request()).await.is_ok() {
        sleep(Duration::from_secs(1)).await;
    }
    assert_about(task.await.unwrap(), 240..=301);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_finish_is_dropped_after_the_drain() {
    let (mut client, task, _stopper) = connect(never(), 4096);
    client.write_all(REQUEST).await.unwrap();
    assert_about(task.await.unwrap(), 250..=311);

    let (mut client, task, stopper) = connect(never(), 4096);
    client.write_all(REQUEST).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    drop(stopper);
    assert_about(task.await.unwrap(), 11..=12);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_with_the_stop() {
    let (mut client, task, stopper) = connect(hello(), 4096);
    client.write_all(REQUEST).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    drop(stopper);
    assert_about(task.await.unwrap(), 1..=1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_next_to_nothing_is_dropped() {
    for beginning in [b"P".as_slice(), b"", b"GET / HTTP/1.1\r\nho"] {
        let (mut client, task, _stopper) = connect(hello(), 4096);
        client.write_all(beginning).await.unwrap();
        assert_about(task.await.unwrap(), 60..=70);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_dropped() {
    // HTTP/2's preface and empty settings make the server write its own.
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice();
    for asked in [REQUEST, http2] {
        let (mut client, task, _stopper) = connect(hello(), 40);
        client.write_all(asked).await.unwrap();
        let most = WRITE_TIMEOUT.as_secs();
        assert_about(task.await.unwrap(), most..=most);
    }
}

#[tokio::test]
async fn a_head_that_unpacks_to_much_is_refused_however_short_it_was() {
    let (client, _task, _stopper) = connect(hello(), 1 << 16);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    for (count, bytes, expected) in [(99, 1, 200), (101, 1, 431), (2, 6_000, 200), (3, 6_000, 431)] {
        let mut request = Request::builder().uri("http://x/");
        for _ in 0..count {
            request = request.header("x-flood", "x".repeat(bytes));
        }
        sender.ready().await.unwrap();
        let answer = sender.send_request(request.body(String::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), expected, "{count} of {bytes} bytes");
    }
}

#[tokio::test]
async fn the_longest_token_fits_into_a_head_of_either_protocol() {
    for longest_token in [16 * 1024, 48 * 1024] {
        let authorization = format!("Bearer {}", "x".repeat(longest_token));
        let (mut client, _task, _stopper) = connect_for(longest_token, hello(), 1 << 17);
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 15];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");

        let (client, _task, _stopper) = connect_for(longest_token, hello(), 1 << 17);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().uri("http://x/").header("authorization", authorization);
        let answer = sender.send_request(request.body(String::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_to_a_peer_that_reads_nothing_is_given_up() {
    let (ours, _theirs) = duplex(8);
    let started = Instant::now();
    let error = timed(ours).write_all(&[0; 64]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(started.elapsed().as_secs(), WRITE_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_gets_it_all() {
    let (ours, mut theirs) = duplex(8);
    let slow = async {
        for _ in 0..8 {
            sleep(WRITE_TIMEOUT - Duration::from_secs(1)).await;
            theirs.read_exact(&mut [0; 8]).await.unwrap();
        }
    };
    let mut ours = timed(ours);
    let (written, ()) = tokio::join!(ours.write_all(&[0; 64]), slow);
    written.unwrap();
}
