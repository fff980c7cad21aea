//! Whether the database answers, and the lines in the log about it. No I/O, no clock.
//!
//! In an outage everything fails that uses the database: reads, rows, batches, the purge. If each of them wrote lines, an
//! operator would find ten reasons and no cause. So they are counted here, and the watch ([`super::watch`]), which looks at the
//! database each second, writes one line when it answers no more and one when it is back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::Error;
use tokio::time::Instant;

use super::sql;
use crate::log_throttle::INTERVAL;

/// What began while the database was away may fail for so long after it is back: longer than a read waits, and than a connection
/// is tried for.
const SETTLING: Duration = Duration::from_secs(2);

/// What to tell an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// The database answers no more.
    Lost {
        /// Why, in words for operators.
        cause: String,
    },
    /// It answers again.
    Back {
        /// How long it did not.
        after: Duration,
        /// Reads and writes that failed meanwhile.
        failures: u64,
    },
    /// It answers the watch, but not everything else.
    Slow {
        /// Why the first of them failed.
        cause: String,
        /// Reads and writes that failed since the last line.
        failures: u64,
    },
}

/// What is known of the database's answers.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    lost: Option<Instant>,
    failures: u64,
    /// The cause of the first failure that no line has told of.
    cause: Option<String>,
    last_slow: Option<Instant>,
    /// When it was told last that the database is back.
    back: Option<Instant>,
}

impl Outage {
    /// Counts a read or write that failed. True if the database did not answer, so that the watch tells of it; a caller writes a
    /// line of its own only about other errors.
    pub(crate) fn explains(&self, error: &Error) -> bool {
        if sql::is_distrusted(error) {
            return true;
        }
        if !sql::is_no_answer(error) {
            return false;
        }
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        state.cause.get_or_insert_with(|| sql::explained(error));
        true
    }

    /// The watch has looked, and got an answer or this error. Returns the line that is to be written.
    pub(super) fn looked(&self, failed: Option<&Error>, now: Instant) -> Option<Line> {
        let mut state = self.lock();
        match (failed, state.lost) {
            (Some(_), Some(_)) => None,
            (Some(error), None) => {
                state.lost = Some(now);
                state.cause = None;
                Some(Line::Lost { cause: sql::explained(error) })
            }
            (None, Some(lost)) => {
                let failures = std::mem::take(&mut state.failures);
                (state.lost, state.cause, state.back) = (None, None, Some(now));
                Some(Line::Back { after: now.saturating_duration_since(lost), failures })
            }
            (None, None) => state.slow(now),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn slow(&mut self, now: Instant) -> Option<Line> {
        if self.back.is_some_and(|back| now.saturating_duration_since(back) < SETTLING) {
            (self.cause, self.failures) = (None, 0);
            return None;
        }
        if self.last_slow.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            return None;
        }
        let cause = self.cause.take()?;
        self.last_slow = Some(now);
        Some(Line::Slow { cause, failures: std::mem::take(&mut self.failures) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    fn refused() -> Error {
        std::io::Error::from(ErrorKind::ConnectionRefused).into()
    }

    #[test]
    fn an_outage_is_one_line_when_it_begins_and_one_when_it_is_over() {
        let (outage, start) = (Outage::default(), Instant::now());
        assert!(outage.explains(&refused()) && outage.explains(&Error::PoolTimedOut));
        let cause = sql::explained(&refused());
        assert!(cause.contains("does the server run"), "{cause}");
        assert_eq!(outage.looked(Some(&refused()), start), Some(Line::Lost { cause }));
        for second in 1..30 {
            assert!(outage.explains(&Error::PoolTimedOut));
            assert_eq!(outage.looked(Some(&refused()), start + Duration::from_secs(second)), None);
        }
        let back = start + Duration::from_secs(30);
        assert_eq!(outage.looked(None, back), Some(Line::Back { after: Duration::from_secs(30), failures: 31 }));
        assert_eq!(outage.looked(None, back), None);
    }

    #[test]
    fn failures_of_a_database_that_answers_the_watch_are_told_once_in_an_interval() {
        let (outage, start) = (Outage::default(), Instant::now());
        let late = || Error::from(std::io::Error::from(ErrorKind::TimedOut));
        outage.explains(&late());
        assert!(matches!(outage.looked(None, start), Some(Line::Slow { failures: 1, .. })));
        outage.explains(&late());
        outage.explains(&late());
        assert_eq!(outage.looked(None, start + Duration::from_secs(9)), None);
        let line = outage.looked(None, start + Duration::from_secs(10));
        assert!(matches!(line, Some(Line::Slow { failures: 2, .. })));
        assert_eq!(outage.looked(None, start + Duration::from_secs(30)), None);
    }

    #[test]
    fn what_began_in_an_outage_and_fails_after_it_belongs_to_it() {
        let (outage, start) = (Outage::default(), Instant::now());
        outage.looked(Some(&refused()), start);
        let back = start + Duration::from_secs(5);
        assert!(matches!(outage.looked(None, back), Some(Line::Back { .. })));
        outage.explains(&Error::PoolTimedOut);
        assert_eq!(outage.looked(None, back + Duration::from_secs(1)), None);
        assert_eq!(outage.looked(None, back + Duration::from_secs(2)), None);
        outage.explains(&Error::PoolTimedOut);
        assert!(matches!(outage.looked(None, back + Duration::from_secs(3)), Some(Line::Slow { failures: 1, .. })));
    }

    #[test]
    fn an_error_of_one_statement_is_no_outage() {
        let outage = Outage::default();
        assert!(!outage.explains(&Error::RowNotFound));
        assert_eq!(outage.looked(None, Instant::now()), None);
    }
}
