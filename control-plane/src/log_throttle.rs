//! A log line that is written seldom, however often there is cause for it.
//!
//! During an outage each request fails in the same way, and one line for each would bury everything else and fill the
//! disk. The first line comes at once; later ones say how many there would have been.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often there may be a line.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Counts occasions for one kind of line.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Occasions since the last line.
    count: u64,
    last_line: Option<Instant>,
}

impl LogThrottle {
    /// Counts one occasion. The number of occasions that a line at `now` stands for, this one included, or nothing if
    /// the last line is less than [`INTERVAL`] ago.
    pub fn line(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.count = state.count.saturating_add(1);
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
        let (seldom, start) = (LogThrottle::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(seldom.line(start), Some(1));
        for seconds in [0, 1, 9] {
            assert_eq!(seldom.line(after(seconds)), None, "{seconds}");
        }
        assert_eq!(seldom.line(after(10)), Some(4));
        assert_eq!(seldom.line(after(19)), None);
        assert_eq!(seldom.line(after(3600)), Some(2));
    }
}
