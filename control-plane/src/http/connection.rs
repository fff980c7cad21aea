//! One connection, HTTP/1 or HTTP/2, and the bounds on what a client can hold with it.
//!
//! `axum::serve` cannot bound the time in which a request's head must arrive, so hyper is driven here.

use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;
use std::pin::{Pin, pin};
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

use super::connections::{PATIENCE, Place, Visit};
use super::route::Listener;

/// How long a request's head may take, and how long an idle HTTP/1 connection is kept. Proxies in front should let
/// go of idle connections earlier, so that none is closed just as it is used again. While connections run out, those
/// without a request have less time: see [`Terms`](super::connections::Terms).
const HEAD_TIMEOUT: Duration = PATIENCE;

/// Bytes of an HTTP/1 request's head; Envoy's own limit is 60 KiB. The server holds no more than the client has sent.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Bytes of an HTTP/2 request's head after decompression. With HPACK a client sends only a few bytes for each of many
/// long headers. So one connection can make the server hold this many bytes for each of its streams, and the longest
/// token that is configured.
const OTHER_HTTP2_HEAD_BYTES: u32 = 8 * 1024;

/// Headers of a request over either protocol; hyper has the same limit for HTTP/1.
const MAX_HEADERS: usize = 100;

/// Streams of one HTTP/2 connection at a time.
const fn most_streams(listener: Listener) -> u32 {
    match listener {
        // As many as Envoy allows its own clients, in `envoy.yaml`.
        Listener::Public => 100,
        // Services may share one connection among many requests.
        Listener::Internal => 250,
    }
}

/// How often a silent HTTP/2 connection is sent a ping.
const HTTP2_PING: Duration = Duration::from_secs(30);

/// How old a connection may get before it is asked to end. Without this, a client that keeps to all other bounds could
/// hold its place for ever. A proxy in front just opens another connection.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Each connection's age is shorter by up to this many milliseconds, so that connections made together do not end
/// together.
const AGE_JITTER: u32 = 60_000;

/// How long a write may make no progress. A peer that sends a request and never reads the answer fills the kernel's
/// buffers, and the connection waits. No other bound ends that wait: hyper times its reads and not its writes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection without a request in progress may take to end once it was told to go. An HTTP/1 connection ends
/// at once; over HTTP/2 a client is told, and may ignore it. Its place is needed, so it is not waited for.
const LEAVE: Duration = Duration::from_millis(100);

/// How long the requests in progress may take once a connection is to end.
pub(super) const DRAIN: Duration = Duration::from_secs(10);

/// The address at the other end of a connection; each of its requests carries it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Serves a connection to its end: until the client closes it, the process stops, it is too old, the client has said
/// nothing from the start, or others need its place.
pub(super) async fn serve<T>(
    stream: T,
    place: Place,
    router: Router,
    (listener, longest_token): (Listener, usize),
    stop: CancellationToken,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = builder(listener, longest_token);
    let service = service(router, place.visit());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(timed(stream)), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = over(&place, stop) => {
            connection.as_mut().graceful_shutdown();
            // After that the connection is dropped, with all requests that are still open on it.
            timeout(DRAIN, connection).await.unwrap_or(Ok(()))
        }
        // A client that has sent no request loses nothing.
        () = place.told_to_go() => {
            if !place.has_asked() {
                return;
            }
            connection.as_mut().graceful_shutdown();
            match timeout(LEAVE, connection.as_mut()).await {
                Ok(ended) => ended,
                // A request has come just before.
                Err(_) if place.is_busy() => timeout(DRAIN, connection).await.unwrap_or(Ok(())),
                Err(_) => return,
            }
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

/// Returns when the connection is to end although its client may want to go on.
async fn over(place: &Place, stop: CancellationToken) {
    // hyper's own timeout starts only when hyper knows the protocol, and a client that sends one byte can keep it from knowing.
    let silent = async {
        sleep(HEAD_TIMEOUT).await;
        if place.has_asked() {
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
    // Without randomness all connections get the same age, which is no reason to fail.
    let jitter = getrandom::u32().unwrap_or_default() % AGE_JITTER;
    MAX_AGE.saturating_sub(Duration::from_millis(jitter.into()))
}

/// The router as hyper's service. It records that a request is in progress, and tells the request its connection.
fn service(
    router: Router,
    visit: Visit,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Body>, Infallible>> + Send,
> + Clone {
    service_fn(move |mut request: Request<Incoming>| {
        let in_progress = visit.begin();
        request.extensions_mut().insert(Peer(visit.peer()));
        request.extensions_mut().insert(visit.clone());
        let router = (request.headers().len() <= MAX_HEADERS).then(|| router.clone());
        async move {
            let _in_progress = in_progress;
            match router {
                Some(router) => router.oneshot(request).await,
                None => Ok(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response()),
            }
        }
    })
}

fn builder(listener: Listener, longest_token: usize) -> Builder<TokioExecutor> {
    let longest_head = u32::try_from(longest_token).unwrap_or(u32::MAX).saturating_add(OTHER_HTTP2_HEAD_BYTES);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(HTTP2_PING);
    http2.max_header_list_size(longest_head).max_concurrent_streams(most_streams(listener));
    builder
}

#[cfg(test)]
mod tests;
