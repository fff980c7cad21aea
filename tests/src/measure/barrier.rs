//! What the barrier of the control planes did, from their `/metrics`: how the waits of logouts ended, and how long they took.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{AddAssign, Sub};

/// The outcomes of waits, each with its count, and the sum of the times that they took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Waits {
    outcomes: BTreeMap<String, u64>,
    seconds: f64,
}

impl Waits {
    /// Reads the counts from a page in the text format of Prometheus or OpenMetrics.
    pub fn read(page: &str) -> Self {
        let mut waits = Self::default();
        for line in page.lines() {
            if let Some((outcome, count)) = outcome(line) {
                waits.outcomes.insert(outcome.to_owned(), count);
            } else if let Some(sum) = line.strip_prefix("curfew_propagation_seconds_sum ") {
                waits.seconds = sum.parse().unwrap_or_default();
            }
        }
        waits
    }

    /// How long the waits for workers took together, in seconds.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }
}

/// The outcome and the count in a line such as `curfew_logouts_settled_total{outcome="acknowledged"} 5`.
fn outcome(line: &str) -> Option<(&str, u64)> {
    let (outcome, count) = line.strip_prefix("curfew_logouts_settled_total{outcome=\"")?.split_once("\"} ")?;
    Some((outcome, count.split(' ').next()?.parse().ok()?))
}

/// The outcomes that occurred: `acknowledged 12, outlasted 1`.
impl fmt::Display for Waits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let occurred = self.outcomes.iter().filter(|(_, count)| **count > 0);
        let words: Vec<_> = occurred.map(|(outcome, count)| format!("{outcome} {count}")).collect();
        formatter.write_str(&words.join(", "))
    }
}

impl AddAssign for Waits {
    /// Adds those of another control plane.
    fn add_assign(&mut self, other: Self) {
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.seconds += other.seconds;
    }
}

impl Sub for &Waits {
    type Output = Waits;

    /// The waits since an earlier reading.
    fn sub(self, before: Self) -> Waits {
        let earlier = |outcome: &String| before.outcomes.get(outcome).copied().unwrap_or_default();
        let since =
            self.outcomes.iter().map(|(outcome, count)| (outcome.clone(), count.saturating_sub(earlier(outcome))));
        Waits { outcomes: since.collect(), seconds: self.seconds - before.seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_between_two_readings_of_two_control_planes_are_told_by_outcome() {
        let page = |acknowledged, seconds| {
            format!(
                "# TYPE curfew_logouts_settled counter\n\
                 curfew_logouts_settled_total{{outcome=\"acknowledged\"}} {acknowledged}\n\
                 curfew_logouts_settled_total{{outcome=\"outlasted\"}} 2\n\
                 curfew_propagation_seconds_sum {seconds}\n"
            )
        };
        let before = Waits::read(&page(3, 0.5));
        let mut after = Waits::read(&page(5, 0.75));
        after += Waits::read("curfew_logouts_settled_total{outcome=\"nobody\"} 1\n");
        let since = &after - &before;
        assert_eq!(since.to_string(), "acknowledged 2, nobody 1");
        assert!((since.seconds() - 0.25).abs() < 1e-9);
    }
}
