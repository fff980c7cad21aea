//! The background purge removes what no worker can need any more, in portions with time for logouts between them.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Counters;
use super::command::{Purged, Unavailable};
use super::sql::PURGE_ROWS;
use super::writer::Writer;

/// When the purge runs, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The pause when nothing is left to remove.
    pub interval: Duration,
    /// The most rows of each table that are removed in a second.
    pub rows_per_second: u32,
}

impl Pace {
    /// How long a step must last, its own work included, to keep this pace.
    fn of_step(self, step: Purged) -> Duration {
        let rows = u32::try_from(step.tokens.max(step.revocations)).unwrap_or(u32::MAX);
        Duration::from_secs(1).saturating_mul(rows) / self.rows_per_second.max(1)
    }
}

/// Purges until it is told to stop.
pub async fn run(writer: &Writer, counters: &Counters, pace: Pace, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(pace.interval) => {}
            () = stop.cancelled() => return,
        }
        let ended = tokio::select! {
            ended = at_pace(writer, counters, Some(pace)) => ended,
            // A step that is in the writer's queue is carried out.
            () = stop.cancelled() => return,
        };
        match ended {
            Ok(Purged { tokens: 0, revocations: 0 }) => {}
            Ok(Purged { tokens, revocations }) => info!(tokens, revocations, "purged expired rows"),
            // The writer has told why.
            Err(error) => debug!(%error, "the purge stopped; it goes on at the next interval"),
        }
    }
}

/// Purges without pauses until nothing expired is left, and returns what was removed.
///
/// # Errors
///
/// The database could not be written; what was removed before stays removed.
pub async fn everything(writer: &Writer, counters: &Counters) -> Result<Purged, Unavailable> {
    at_pace(writer, counters, None).await
}

async fn at_pace(writer: &Writer, counters: &Counters, pace: Option<Pace>) -> Result<Purged, Unavailable> {
    let mut total = Purged::default();
    loop {
        let began = Instant::now();
        let step = writer.purge().await?;
        counters.purged(step);
        total.tokens += step.tokens;
        total.revocations += step.revocations;
        if step.tokens.max(step.revocations) < PURGE_ROWS.unsigned_abs() {
            return Ok(total);
        }
        if let Some(pace) = pace {
            tokio::time::sleep(pace.of_step(step).saturating_sub(began.elapsed())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_its_share_of_a_second() {
        let pace = Pace { interval: Duration::from_secs(60), rows_per_second: 5000 };
        assert_eq!(pace.of_step(Purged { tokens: 500, revocations: 20 }), Duration::from_millis(100));
        assert_eq!(pace.of_step(Purged { tokens: 0, revocations: 250 }), Duration::from_millis(50));
        assert_eq!(pace.of_step(Purged::default()), Duration::ZERO);
    }
}
