//! SIGTERM and SIGINT, which end the process, and SIGHUP, which has keys read again.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

/// The signals that end the process. No signal is lost that comes after this value was made.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns when one of them has come.
    pub(super) async fn received(&mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "stopping: finishing what has begun");
    }
}

/// SIGHUP. From here on it does not end the process, and one that comes before anybody waits for it is kept.
pub(super) struct Hangups(Signal);

impl Hangups {
    pub(super) fn new() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Returns when one has come.
    pub(super) async fn received(&mut self) {
        self.0.recv().await;
        info!(signal = "SIGHUP", "reading files of keys again, and asking the issuers for theirs");
    }
}
