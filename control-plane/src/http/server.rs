//! One listener: accepts connections, bounds what a client can hold, and finishes requests when told to stop.
//!
//! `axum::serve` cannot bound the time in which a request's head must arrive, so hyper is driven here.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::stop::Stop;

/// Open connections of one listener; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;

/// How long a request's head may take, and how long an idle HTTP/1 connection is kept. Proxies in front should let
/// go of idle connections earlier, so that none is closed just as it is used again.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a request's head; Envoy's own limit is 60 KiB.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The same for HTTP/2, which counts in another type.
const MAX_HTTP2_HEAD_BYTES: u32 = 64 * 1024;

/// How often a silent HTTP/2 connection is asked whether anyone is there.
const HTTP2_PING: Duration = Duration::from_secs(30);

/// How long requests may take to finish after the stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until it is told to stop, then finishes what has begun and returns.
pub async fn serve(listener: TcpListener, router: Router, mut stop: Stop) {
    let builder = builder();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let open = GracefulShutdown::new();
    loop {
        let (stream, slot) = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = stop.requested() => break,
        };
        let asked = Arc::new(AtomicBool::new(false));
        let service = service(router.clone(), Arc::clone(&asked));
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        tokio::spawn(hold(open.watch(connection), asked, slot));
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, open.shutdown()).await.is_err() {
        warn!("some requests did not finish before the server stopped");
    }
}

/// The next connection, and its place among [`MAX_CONNECTIONS`].
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there is always a slot to wait for.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are one small write each; Nagle's algorithm would only hold them back.
                let _ = stream.set_nodelay(true);
                return (stream, slot);
            }
            Err(error) => {
                // Out of file descriptors, mostly: it passes when connections close, and a busy loop helps nobody.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Drives a connection to its end. One that has not asked anything in [`HEAD_TIMEOUT`] is dropped: hyper's own
/// timeout starts only when it knows the protocol, and a client can keep that open with its first byte.
async fn hold<C, E>(connection: C, asked: Arc<AtomicBool>, slot: Option<OwnedSemaphorePermit>)
where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut connection = pin!(connection);
    let ended = match tokio::time::timeout(HEAD_TIMEOUT, &mut connection).await {
        Ok(ended) => ended,
        Err(_) if asked.load(Ordering::Relaxed) => connection.await,
        Err(_) => Ok(()),
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
    drop(slot);
}

/// The router as hyper's service; notes that a request has come.
fn service(
    router: Router,
    asked: Arc<AtomicBool>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Body>, Infallible>> + Send,
> + Clone {
    service_fn(move |request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        router.clone().oneshot(request)
    })
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HTTP2_PING).max_header_list_size(MAX_HTTP2_HEAD_BYTES);
    builder
}
