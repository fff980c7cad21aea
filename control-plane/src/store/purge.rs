//! The background purge: what no proxy can need any more goes, in portions that let logouts through between them.

use std::time::Duration;

use tracing::{info, warn};

use super::command::{Purged, Unavailable};
use super::sql::PURGE_ROWS;
use super::writer::Writer;
use crate::metrics::Metrics;
use crate::stop::Stop;

/// Purges every `interval` until it is told to stop.
pub async fn run(writer: &Writer, metrics: &Metrics, interval: Duration, mut stop: Stop) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.requested() => return,
        }
        match everything(writer, metrics).await {
            Ok(Purged { tokens: 0, revocations: 0 }) => {}
            Ok(Purged { tokens, revocations }) => info!(tokens, revocations, "purged expired rows"),
            Err(error) => warn!(%error, "the purge stopped; it goes on at the next interval"),
        }
    }
}

/// Purges until nothing expired is left, and returns what was removed.
///
/// # Errors
///
/// The database could not be written; what was removed before stays removed.
pub async fn everything(writer: &Writer, metrics: &Metrics) -> Result<Purged, Unavailable> {
    let mut total = Purged::default();
    loop {
        let step = writer.purge().await?;
        metrics.purged(step);
        total.tokens += step.tokens;
        total.revocations += step.revocations;
        if step.tokens.max(step.revocations) < PURGE_ROWS.unsigned_abs() {
            return Ok(total);
        }
    }
}
