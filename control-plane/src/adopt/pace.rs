//! The number of rows in the next portion, and the pause before it. Logouts wait while a portion is written. Pure.

use std::time::Duration;

/// How long a portion may keep logouts waiting.
const BUDGET: Duration = Duration::from_millis(100);

/// Rows of the first portion.
const FIRST: i64 = 100;

/// Fewer rows would take hardly less time, because most of a small transaction's cost is its commit.
const FEWEST: i64 = 25;

/// The pace of an adoption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    rows: i64,
    most: i64,
    least_pause: Duration,
}

impl Pace {
    /// A pace of at most this many rows in a portion, and at least this pause after each.
    pub(super) fn new(most: i64, least_pause: Duration) -> Self {
        Self { rows: FIRST.min(most), most, least_pause }
    }

    /// Rows of the next portion.
    pub(super) const fn rows(self) -> i64 {
        self.rows
    }

    /// The pause after a portion that held logouts up for this long. It is at least as long, so that half of the time
    /// is free for logouts.
    pub(super) fn after(&mut self, held: Duration) -> Duration {
        if held > BUDGET {
            self.rows = (self.rows / 2).max(FEWEST.min(self.most));
        } else if held < BUDGET / 2 {
            self.rows = self.rows.saturating_mul(2).min(self.most);
        }
        held.max(self.least_pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn portions_grow_while_they_are_quick_and_shrink_when_they_are_not() {
        let mut pace = Pace::new(1000, 20 * MS);
        let mut seen = Vec::new();
        for held in [10, 10, 10, 10, 60, 200, 200, 99] {
            pace.after(held * MS);
            seen.push(pace.rows());
        }
        assert_eq!(seen, [200, 400, 800, 1000, 1000, 500, 250, 250]);
    }

    #[test]
    fn logouts_get_as_much_time_as_a_portion_took() {
        let mut pace = Pace::new(1000, 20 * MS);
        assert_eq!(pace.after(5 * MS), 20 * MS);
        assert_eq!(pace.after(300 * MS), 300 * MS);
    }

    #[test]
    fn portions_stay_worth_a_commit_and_are_never_larger_than_was_asked_for() {
        for (most, fewest) in [(3, 3), (1000, 25)] {
            let mut pace = Pace::new(most, MS);
            for _ in 0..9 {
                pace.after(1000 * MS);
            }
            assert_eq!(pace.rows(), fewest);
        }
    }
}
