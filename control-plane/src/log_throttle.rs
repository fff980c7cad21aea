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

#[cfg(test)]
mod tests {
    use super::*;

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
