//! One listener: accepts connections up to a bound, and waits for them when told to stop.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::connection::{self, DRAIN};
use super::connections::{Connections, Place, Terms};
use super::counters::Counters;
use super::route::Listener;
use crate::log_throttle::LogThrottle;

/// A listener, with what it serves and on which terms.
pub struct Server {
    /// Where connections come from.
    pub socket: TcpListener,
    /// Which of the two listeners it is.
    pub listener: Listener,
    /// What is served.
    pub router: Router,
    /// How many connections may be open.
    pub terms: Terms,
    /// Where connections are counted.
    pub counters: Counters,
    /// How long a token may be, in bytes: the head of a request must have room for it.
    pub longest_token: usize,
}

/// Serves until it is told to stop, then finishes what has begun and returns. If all connections are busy, further ones wait
/// in the kernel's queue.
pub async fn serve(server: Server, stop: CancellationToken) {
    let Server { socket, listener, router, terms, counters, longest_token } = server;
    let connections = Connections::new(listener, terms, counters);
    let (begun, sweeping) = (TaskTracker::new(), Arc::clone(&connections));
    tokio::select! {
        () = accept_all(&socket, &connections, terms, |stream, place, slot| {
            let connection = connection::serve(stream, place, router.clone(), (listener, longest_token), stop.clone());
            begun.spawn(async move {
                connection.await;
                drop(slot);
            });
        }) => {}
        () = sweeping.sweep() => {}
        () = stop.cancelled() => {}
    }
    drop(socket);
    begun.close();
    if tokio::time::timeout(DRAIN, begun.wait()).await.is_err() {
        warn!("some requests did not finish before the server stopped");
    }
}

/// Hands over each connection with its place, and with its slot among those that may be open.
async fn accept_all(
    socket: &TcpListener,
    connections: &Arc<Connections>,
    terms: Terms,
    mut begin: impl FnMut(TcpStream, Place, Option<OwnedSemaphorePermit>),
) {
    let (slots, failures) = (Arc::new(Semaphore::new(terms.most.min(Semaphore::MAX_PERMITS))), LogThrottle::default());
    loop {
        // The semaphore is never closed, so there is always a slot to wait for.
        let slot = Arc::clone(&slots).acquire_owned().await.ok();
        let (stream, peer) = accept(socket, &failures).await;
        if let Some(place) = connections.enter(peer, Instant::now()) {
            begin(stream, place, slot);
        }
    }
}

/// The next connection, and its peer.
async fn accept(socket: &TcpListener, failures: &LogThrottle) -> (TcpStream, IpAddr) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                // Answers are one small write each; Nagle's algorithm would only hold them back.
                let _ = stream.set_nodelay(true);
                return (stream, peer.ip());
            }
            Err(error) => {
                if let Some(failures) = failures.line(Instant::now()) {
                    warn!(%error, failures, "connections could not be accepted");
                }
                // Mostly there are no file descriptors left. That passes when connections close, and a busy loop would not help.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
