//! Clients of the real binary that are slow, or send too much: each of them is ended, and no other client waits for
//! that.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use curfew_control_plane::http::{Body, Listener, ROUTES, Route};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::binary::{Server, command};

/// CURFEW_REQUEST_TIMEOUT of the server: how long a body may take.
const BODY: u64 = 2;

/// The server's bounds without a setting: on a request's head, and on a peer that does not read.
const HEAD: u64 = 60;
const WRITE: u64 = 30;

/// How long a connection may take to end once it has to.
const DRAIN: u64 = 10;

/// More time for a machine that is busy with other tests.
const SPARE: u64 = 10;

/// The client's behaviour, how it ends, the most seconds until then, and the client.
type Attack = (&'static str, &'static str, u64, Pin<Box<dyn Future<Output = String> + Send>>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_holds_a_connection_for_ever_and_others_are_served_meanwhile() {
    let directory = TempDir::new().unwrap();
    let mut command = command(directory.path());
    command.env("CURFEW_REQUEST_TIMEOUT", format!("{BODY}s"));
    let server = Server::spawn(directory.path(), command);
    let addresses = [&server.public, &server.internal].map(|url| url.strip_prefix("http://").unwrap().to_owned());

    let mut played = Vec::new();
    for (address, route) in addresses.iter().zip([Listener::Public, Listener::Internal].map(entrance)) {
        let path = route.path;
        for (name, expected, bound, attack) in attacks(address, path) {
            let unread = route.body == Body::Unread;
            let (expected, bound) = if unread { without_a_body(expected, bound) } else { (expected, bound) };
            let started = Instant::now();
            let most = Duration::from_secs(bound + SPARE);
            let task = tokio::spawn(async move { (timeout(most, attack).await, started.elapsed()) });
            played.push((format!("{name} at {path}"), expected, task));
        }
    }
    let [public, internal] = addresses.clone();
    let others = tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        loop {
            for (address, path) in [(&public, "/nothing"), (&internal, "/livez")] {
                let started = Instant::now();
                let asked = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
                let answer = timeout(Duration::from_secs(SPARE), told(connect(address).await, asked.as_bytes())).await;
                assert!(answer.is_ok_and(|answer| ["404", "200"].contains(&answer.as_str())), "{path}");
                longest = longest.max(started.elapsed());
            }
            sleep(Duration::from_millis(250)).await;
        }
    });
    let mut wrong = Vec::new();
    for (name, expected, task) in played {
        let (outcome, took) = task.await.unwrap();
        let outcome = outcome.unwrap_or_else(|_| "still open".to_owned());
        println!("{name}: {outcome} after {:.1} s", took.as_secs_f64());
        if outcome != expected {
            wrong.push(format!("{name}: {outcome} after {took:?} instead of {expected}"));
        }
    }
    assert!(!others.is_finished(), "others were not served: {:?}", others.await);
    others.abort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The first entrance of a listener that always reads its body, or never does.
fn entrance(listener: Listener) -> &'static Route {
    let is_sure = |route: &Route| !matches!(route.body, Body::OptionalJson { .. });
    let mut entrances = ROUTES.iter().filter(|route| route.listener == listener && route.entrance().is_some());
    entrances.find(|route| is_sure(route)).unwrap()
}

/// The outcome if the endpoint reads no body. A slow or large body then makes no difference to the answer.
fn without_a_body(expected: &'static str, bound: u64) -> (&'static str, u64) {
    if ["408", "413"].contains(&expected) { ("401", 1) } else { (expected, bound) }
}

/// All attacks on one listener. `path` takes a POST with a body.
fn attacks(address: &str, path: &str) -> Vec<Attack> {
    let head = |more: &str| format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{more}\r\n");
    let send = |bytes: Vec<u8>| -> Pin<Box<dyn Future<Output = String> + Send>> {
        let address = address.to_owned();
        Box::pin(async move { told(connect(&address).await, &bytes).await })
    };
    let drip = |at_once: String, then: &'static [u8]| -> Pin<Box<dyn Future<Output = String> + Send>> {
        let address = address.to_owned();
        Box::pin(async move { dripped(connect(&address).await, at_once.as_bytes(), then).await })
    };
    let raw = |bytes: &[u8]| send(bytes.to_vec());
    let text = |text: String| send(text.into_bytes());
    let too_large = [head("content-length: 20000\r\n").as_bytes(), &[b'x'; 20_000]].concat();
    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 4096], b"\r\n"].concat();
    let chunks = [head("transfer-encoding: chunked\r\n").as_bytes(), &chunk.repeat(8)].concat();
    let many_headers = format!("GET / HTTP/1.1\r\nhost: x\r\n{}", "x-flood: 1\r\n".repeat(50_000));
    let long_header = format!("GET / HTTP/1.1\r\nhost: x\r\nx-flood: {}", "x".repeat(1_000_000));
    let ends_in_silence = HEAD + DRAIN;
    vec![
        ("a connection without a word", "closed", ends_in_silence, raw(b"")),
        ("one byte that may begin either protocol", "closed", ends_in_silence, raw(b"P")),
        ("half a request line", "closed", ends_in_silence, raw(b"POST /api/v2/lo")),
        ("half a head", "closed", ends_in_silence, raw(b"GET / HTTP/1.1\r\nhost: x\r\nx-a: ")),
        ("a head byte by byte", "closed", ends_in_silence, drip("GET / HTTP/1.1\r\nx-a: ".to_owned(), b"a")),
        ("a body that never comes", "408", BODY, text(head("content-length: 100\r\n"))),
        ("a body byte by byte", "408", BODY, drip(head("content-length: 10000\r\n"), b"x")),
        ("a chunked body byte by byte", "408", BODY, drip(head("transfer-encoding: chunked\r\n"), b"1\r\nx\r\n")),
        ("a body that is announced too large", "413", 1, text(head("content-length: 99999999\r\n"))),
        ("a body that is too large", "413", 1, send(too_large)),
        ("a chunked body that is too large", "413", 1, send(chunks)),
        ("a flood of headers", "431", 1, text(many_headers)),
        ("a header without end", "431", 1, text(long_header)),
        ("an answer that is not read", "closed", WRITE, Box::pin(unread(address.to_owned()))),
        ("half of HTTP/2's preface", "closed", ends_in_silence, raw(b"PRI * HTTP/2.0\r\n\r\nSM")),
        ("HTTP/2's preface and silence", "closed", ends_in_silence, raw(PREFACE)),
        ("half a frame", "closed", ends_in_silence, send([PREFACE, SETTINGS, b"\0\0\x10\x01"].concat())),
        ("a head that is to be continued", "closed", ends_in_silence, send(http2(&[headers(path, 1, 0)]))),
        (
            "streams without end",
            "408",
            BODY,
            send(http2(&[headers(path, 1, END_HEADERS), headers(path, 3, END_HEADERS)])),
        ),
        (
            "streams that are reset as they begin",
            "enhance your calm",
            1,
            Box::pin(reset(address.to_owned(), path.to_owned())),
        ),
    ]
}

async fn connect(address: &str) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends the bytes, and then only reads. Returns the answer's status or the status of its problem, or that the server
/// hung up without an answer.
async fn told(mut client: TcpStream, bytes: &[u8]) -> String {
    // The server may stop reading before it has all bytes.
    let _ = client.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = client.read(&mut chunk).await {
        answer.extend_from_slice(&chunk[..read]);
        if let Some(status) = status(&answer) {
            return status;
        }
    }
    "closed".to_owned()
}

/// The status of an answer. It is in the first line, or in the problem document, which HTTP/2 carries as plain text.
fn status(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let first = text.strip_prefix("HTTP/1.1 ").or_else(|| text.split_once("\"status\":").map(|(_, rest)| rest));
    first.filter(|rest| rest.len() >= 3).map(|rest| rest.chars().take(3).collect())
}

/// Sends some bytes at once and then a few more at intervals, until there is an answer or the connection ends.
async fn dripped(client: TcpStream, at_once: &[u8], then: &[u8]) -> String {
    let (mut reader, mut writer) = client.into_split();
    writer.write_all(at_once).await.unwrap();
    let dripping = async {
        while writer.write_all(then).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = vec![0; 4096];
    tokio::select! {
        () = dripping => unreachable!("it waits for the reader"),
        read = reader.read(&mut answer) => {
            let read = read.unwrap_or(0);
            status(&answer[..read]).unwrap_or_else(|| "closed".to_owned())
        }
    }
}

/// Sends requests without end and never reads an answer.
async fn unread(address: String) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(address.parse().unwrap()).await.unwrap();
    let asked = b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    while client.write_all(&asked).await.is_ok() {}
    "closed".to_owned()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame, which leaves all settings at their defaults.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
/// A flag of HEADERS frames (RFC 9113 section 6.2).
const END_HEADERS: u8 = 4;

/// The beginning of a connection, and these frames.
fn http2(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, SETTINGS, &frames.concat()].concat()
}

/// A frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a POST, encoded with the static table (RFC 7541 appendix A).
fn headers(path: &str, stream: u32, flags: u8) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    frame(1, flags, stream, &[b"\x83\x86\x01\x01x\x04", &[length][..], path.as_bytes()].concat())
}

/// Begins and resets streams (CVE-2023-44487) until the server ends the connection.
pub(crate) async fn reset(address: String, path: String) -> String {
    let (mut reader, mut writer) = connect(&address).await.into_split();
    writer.write_all(&http2(&[])).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut answer = Vec::new();
        let _ = reader.read_to_end(&mut answer).await;
        answer
    });
    for stream in (1..).step_by(2) {
        let pair = [headers(&path, stream, END_HEADERS), frame(3, 0, stream, &8_u32.to_be_bytes())].concat();
        if writer.write_all(&pair).await.is_err() {
            break;
        }
    }
    match goodbye(&reading.await.unwrap()) {
        Some(11) => "enhance your calm".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The error code of the GOAWAY frame (RFC 9113 section 6.8).
fn goodbye(mut answer: &[u8]) -> Option<u32> {
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = answer {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        let (payload, next) = rest.split_at_checked(length)?;
        if *kind == 7 {
            return Some(u32::from_be_bytes(payload.get(4..8)?.try_into().unwrap()));
        }
        answer = next;
    }
    None
}
