//! One connection, HTTP/1 or HTTP/2, and the bounds on what a client can hold with it.
//!
//! `axum::serve` cannot bound the time in which a request's head must arrive, so hyper is driven here.

use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

/// How long a request's head may take, and how long an idle HTTP/1 connection is kept. Proxies in front should let
/// go of idle connections earlier, so that none is closed just as it is used again.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of an HTTP/1 request's head; Envoy's own limit is 60 KiB. What is held is what was sent.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Bytes of an HTTP/2 request's head when it is unpacked. HPACK lets a client send some bytes for each of many long
/// headers, so this times the streams is what one connection can make the server hold. A token has 8 KiB at most.
const MAX_HTTP2_HEAD_BYTES: u32 = 16 * 1024;

/// Headers of a request over either protocol; hyper has the same limit for HTTP/1.
const MAX_HEADERS: usize = 100;

/// Streams of one HTTP/2 connection at a time.
#[derive(Debug, Clone, Copy)]
pub enum Streams {
    /// For clients: as many as Envoy allows its own, in `envoy.yaml`.
    Public,
    /// For services, which may share one connection among many requests.
    Internal,
}

impl Streams {
    const fn most(self) -> u32 {
        match self {
            Self::Public => 100,
            Self::Internal => 250,
        }
    }
}

/// How often a silent HTTP/2 connection is asked whether anyone is there.
const HTTP2_PING: Duration = Duration::from_secs(30);

/// How old a connection may get before it is asked to end. A client that keeps to all other bounds could hold its
/// place for ever; a proxy in front just opens the next one.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Up to this much less, in milliseconds, so that connections made together do not end together.
const AGE_JITTER: u32 = 60_000;

/// How long a peer may take to make room for the next byte. A peer that asks and never reads the answer leaves the kernel's
/// buffers full and the connection waiting, which no other bound ends: hyper times its reads and not its writes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long what has begun may take to finish once a connection is to end.
pub(super) const DRAIN: Duration = Duration::from_secs(10);

/// Who is at the other end of a connection, left with each of its requests.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Drives a connection to its end: the client's wish, the stop, its age, or a silence from the start.
pub(super) async fn serve<T>(stream: T, peer: Peer, router: Router, streams: Streams, stop: CancellationToken)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let service = service(router, peer, Arc::clone(&asked));
    let builder = builder(streams);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(timed(stream)), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = over(&asked, stop) => {
            connection.as_mut().graceful_shutdown();
            // Then it is dropped, whatever is still open on it.
            timeout(DRAIN, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}

/// Fails a write that makes no progress for [`WRITE_TIMEOUT`].
fn timed<T: AsyncRead + AsyncWrite>(stream: T) -> Pin<Box<TimeoutStream<T>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    Box::pin(stream)
}

/// Returns when the connection is to end though its client may want to go on.
async fn over(asked: &AtomicBool, stop: CancellationToken) {
    // hyper's own timeout starts only when it knows the protocol, and a client can keep that open with its first byte.
    let silent = async {
        sleep(HEAD_TIMEOUT).await;
        if asked.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = sleep(max_age()) => {}
        () = silent => {}
    }
}

fn max_age() -> Duration {
    // Without randomness they all get the same age, which is no harm worth a failure.
    let jitter = getrandom::u32().unwrap_or_default() % AGE_JITTER;
    MAX_AGE.saturating_sub(Duration::from_millis(jitter.into()))
}

/// The router as hyper's service; notes that a request has come, and from whom.
fn service(
    router: Router,
    peer: Peer,
    asked: Arc<AtomicBool>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Body>, Infallible>> + Send,
> + Clone {
    service_fn(move |mut request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(peer);
        let router = (request.headers().len() <= MAX_HEADERS).then(|| router.clone());
        async move {
            match router {
                Some(router) => router.oneshot(request).await,
                None => Ok(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response()),
            }
        }
    })
}

fn builder(streams: Streams) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(HTTP2_PING);
    http2.max_header_list_size(MAX_HTTP2_HEAD_BYTES).max_concurrent_streams(streams.most());
    builder
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use axum::routing::get;
    use hyper::client::conn::http2;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;
    use tokio_util::sync::DropGuard;

    use super::*;
    use crate::http::progress::WRITE_TIMEOUT;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// A connection over a pipe that holds `buffer` bytes; the task ends with it and tells how long that took.
    fn connect(router: Router, buffer: usize) -> (DuplexStream, JoinHandle<Duration>, DropGuard) {
        let (theirs, ours) = duplex(buffer);
        let stop = CancellationToken::new();
        let stopper = stop.clone().drop_guard();
        let started = Instant::now();
        let task = tokio::spawn(async move {
            // One that never ended would make the story hang, and not fail.
            let _ = timeout(2 * MAX_AGE, serve(ours, Peer([192, 0, 2, 1].into()), router, Streams::Public, stop)).await;
            started.elapsed()
        });
        (theirs, task, stopper)
    }

    fn hello() -> Router {
        Router::new().route("/", get(async || "hello"))
    }

    /// An answer that never comes.
    fn never() -> Router {
        Router::new().route("/", get(pending::<()>))
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
    async fn what_does_not_finish_is_dropped_after_the_drain() {
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
}
