//! One listener: accepts connections up to a bound, and waits for them when told to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::connection::{self, DRAIN, Peer, Streams};
use crate::log_throttle::LogThrottle;

/// Serves until it is told to stop, then finishes what has begun and returns. At most `connections` are open at once;
/// further ones wait in the kernel's queue.
pub async fn serve(listener: TcpListener, router: Router, connections: u32, streams: Streams, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS)));
    let (begun, failures) = (TaskTracker::new(), LogThrottle::default());
    loop {
        let (stream, peer, slot) = tokio::select! {
            accepted = accept(&listener, &slots, &failures) => accepted,
            () = stop.cancelled() => break,
        };
        let connection = connection::serve(stream, peer, router.clone(), streams, stop.clone());
        begun.spawn(async move {
            connection.await;
            drop(slot);
        });
    }
    drop(listener);
    begun.close();
    if tokio::time::timeout(DRAIN, begun.wait()).await.is_err() {
        warn!("some requests did not finish before the server stopped");
    }
}

/// The next connection, and its place among those that may be open.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    failures: &LogThrottle,
) -> (TcpStream, Peer, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there is always a slot to wait for.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are one small write each; Nagle's algorithm would only hold them back.
                let _ = stream.set_nodelay(true);
                return (stream, Peer(peer.ip()), slot);
            }
            Err(error) => {
                if let Some(failures) = failures.line(Instant::now()) {
                    warn!(%error, failures, "connections could not be accepted");
                }
                // Out of file descriptors, mostly: it passes when connections close, and a busy loop helps nobody.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
