//! A log line that is written at most once in an interval, however often there is a reason for it.
//!
//! During an outage each request fails in the same way. A line for each would bury everything else and fill the disk. The
//! first line is written at once; later ones say how many failures they stand for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two lines.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Counts the failures, or other occasions, behind one kind of line.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Occasions since the last line.
    count: u64,
    last_line: Option<Instant>,
}

impl LogThrottle {
    /// Counts one occasion. If a line is to be written at `now`, returns the number of occasions that it stands for, including
    /// this one. `None` if the last line was written less than [`INTERVAL`] ago.
    pub fn line(&self, now: Instant) -> Option<u64> {
        self.lines(1, now)
    }

    /// The same for `count` occasions at once.
    pub fn lines(&self, count: u64, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.count = state.count.saturating_add(count);
        if state.last_line.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            return None;
        }
        state.last_line = Some(now);
        Some(std::mem::take(&mut state.count))
    }
}

/// A log line about a trouble that lasts: written when the trouble begins, and again only if its reason changes, until it is over.
#[derive(Debug, Default)]
pub struct LastingTrouble(Mutex<Lasting>);

#[derive(Debug, Default)]
struct Lasting {
    told: Option<String>,
    last_line: Option<Instant>,
}

impl LastingTrouble {
    /// The trouble is there, for this reason. True if a line is to be written: never more than one in an [`INTERVAL`].
    pub fn is_news(&self, reason: &str, now: Instant) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = state.last_line.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL);
        if recent || state.told.as_deref() == Some(reason) {
            return false;
        }
        (state.told, state.last_line) = (Some(reason.to_owned()), Some(now));
        true
    }

    /// The trouble is over. True if a line has told of it.
    pub fn is_over(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).told.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_that_lasts_is_told_once_for_each_reason() {
        let (trouble, start) = (LastingTrouble::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!trouble.is_over());
        assert!(trouble.is_news("refused", start) && !trouble.is_news("refused", after(3600)));
        assert!(trouble.is_news("wrong password", after(3601)));
        assert!(trouble.is_over() && !trouble.is_over());
        // One that comes and goes is told of once in an interval.
        assert!(!trouble.is_news("refused", after(3602)) && !trouble.is_over());
        assert!(trouble.is_news("refused", after(3611)));
    }

    #[test]
    fn the_first_line_comes_at_once_and_the_next_one_counts_what_came_between() {
        let (throttle, start) = (LogThrottle::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(throttle.line(start), Some(1));
        for seconds in [0, 1, 9] {
            assert_eq!(throttle.line(after(seconds)), None, "{seconds}");
        }
        assert_eq!(throttle.line(after(10)), Some(4));
        assert_eq!(throttle.line(after(19)), None);
        assert_eq!(throttle.line(after(3600)), Some(2));
    }
}
