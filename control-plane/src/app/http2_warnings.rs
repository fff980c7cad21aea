//! The HTTP/2 library's warnings about its peers, counted instead of written.
//!
//! The library warns once for each connection that it ends for abuse, such as streams that are reset as they begin. An attacker
//! opens thousands of them a second, and with each could write a line into the log. So the lines are counted here, and one line in
//! [`INTERVAL`] says how many there were.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;
use tracing::{Event, Level, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{Filtered, Targets};
use tracing_subscriber::layer::Context;

use crate::log_throttle::INTERVAL;

/// Warnings since the last line. The log belongs to the process, and so does this count.
static WARNINGS: AtomicU64 = AtomicU64::new(0);

/// Counts warnings.
pub(super) struct Counting<'a>(&'a AtomicU64);

/// The layer that counts the library's warnings.
pub(super) fn layer<S: Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>>()
-> Filtered<Counting<'static>, Targets, S> {
    counting(&WARNINGS)
}

fn counting<S: Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>>(
    count: &'static AtomicU64,
) -> Filtered<Counting<'static>, Targets, S> {
    Counting(count).with_filter(Targets::new().with_target("h2", Level::WARN))
}

impl<S: Subscriber> Layer<S> for Counting<'static> {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes the line every [`INTERVAL`] until the stop, and once more then.
pub(super) async fn report(stop: CancellationToken) {
    loop {
        let stopped = tokio::time::timeout(INTERVAL, stop.cancelled()).await;
        let connections = WARNINGS.swap(0, Ordering::Relaxed);
        if connections > 0 {
            warn!(connections, "HTTP/2 connections were ended, because they broke the rules of the protocol");
        }
        if stopped.is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn warnings_of_the_library_are_counted_and_nothing_else_is() {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(counting(&COUNT)), || {
            for _ in 0..3 {
                tracing::event!(target: "h2::proto::streams::recv", Level::WARN, "streams reached limit");
            }
            tracing::event!(target: "h2::proto", Level::DEBUG, "a frame");
            tracing::event!(target: "curfew_control_plane", Level::WARN, "another warning");
        });
        assert_eq!(COUNT.load(Ordering::Relaxed), 3);
    }
}
