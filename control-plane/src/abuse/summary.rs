//! Refused logouts, summed up for the log: a flood of them is one line in ten seconds and not a flood of lines.
//!
//! The counts are in the metrics as well; the line is for operators that read logs. It names no token, user or address.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The interval between two lines.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// The refusals since the last line, by code, and by reason where a code has several.
#[derive(Debug, Default)]
pub struct FailedLogouts(Mutex<BTreeMap<(&'static str, Option<&'static str>), u64>>);

impl FailedLogouts {
    /// Counts one refusal.
    pub fn record(&self, code: &'static str, reason: Option<&'static str>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((code, reason)).or_default();
        *count = count.saturating_add(1);
    }

    /// The counts since the last call, such as `token_expired=2 token_invalid/signature=40`; `None` if there are none.
    pub fn take(&self) -> Option<String> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut line = String::new();
        for ((code, reason), count) in counts {
            let separator = if line.is_empty() { "" } else { " " };
            let (slash, reason) = reason.map_or(("", ""), |reason| ("/", reason));
            // Writing to a String does not fail.
            let _ = write!(line, "{separator}{code}{slash}{reason}={count}");
        }
        (!line.is_empty()).then_some(line)
    }

    /// Writes the line every [`INTERVAL`] until the stop, and once more then.
    pub async fn report(&self, stop: CancellationToken) {
        loop {
            let stopped = tokio::time::timeout(INTERVAL, stop.cancelled()).await;
            if let Some(by_code) = self.take() {
                warn!(by_code, "failed logouts");
            }
            if stopped.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_and_then_the_count_starts_again() {
        let failures = FailedLogouts::default();
        assert_eq!(failures.take(), None);
        for _ in 0..40 {
            failures.record("token_invalid", Some("signature"));
        }
        failures.record("token_expired", None);
        failures.record("token_invalid", Some("issuer"));
        let line = "token_expired=1 token_invalid/issuer=1 token_invalid/signature=40";
        assert_eq!(failures.take().as_deref(), Some(line));
        assert_eq!(failures.take(), None);
    }
}
