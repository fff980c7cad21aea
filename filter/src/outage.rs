//! Says once that the control plane gives no answers, and once that it does again.
//!
//! Whoever sends requests decides how often a check fails; a line for each would let them write the log.

use std::time::Duration;

/// The least time between two lines, for a control plane that comes and goes.
const INTERVAL: Duration = Duration::from_secs(10);

/// What is known of the control plane's health.
#[derive(Debug, Default)]
pub struct Outage {
    failed: u64,
    told_at: Option<Duration>,
    told: bool,
}

/// Something to tell the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Checks have begun to fail.
    Began,
    /// Checks are answered again.
    Ended {
        /// How many had failed.
        failed: u64,
    },
}

impl Outage {
    /// A check has ended, with an answer or without, at this monotonic time.
    pub fn ended(&mut self, answered: bool, now: Duration) -> Option<Notice> {
        if answered {
            let failed = std::mem::take(&mut self.failed);
            return std::mem::take(&mut self.told).then_some(Notice::Ended { failed });
        }
        self.failed = self.failed.saturating_add(1);
        let quiet = self.told_at.is_none_or(|told_at| now.saturating_sub(told_at) >= INTERVAL);
        if self.told || !quiet {
            return None;
        }
        self.told = true;
        self.told_at = Some(now);
        Some(Notice::Began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_when_it_begins_and_when_it_ends() {
        let mut outage = Outage::default();
        let second = Duration::from_secs;
        assert_eq!(outage.ended(true, second(0)), None);
        assert_eq!(outage.ended(false, second(1)), Some(Notice::Began));
        assert_eq!(outage.ended(false, second(60)), None);
        assert_eq!(outage.ended(true, second(61)), Some(Notice::Ended { failed: 2 }));
        assert_eq!(outage.ended(true, second(62)), None);
    }

    #[test]
    fn one_that_comes_and_goes_is_told_once_per_interval() {
        let mut outage = Outage::default();
        let told = (0..1000).filter(|tenth| {
            let now = Duration::from_millis(tenth * 100);
            outage.ended(false, now) == Some(Notice::Began) || outage.ended(true, now) == Some(Notice::Began)
        });
        assert_eq!(told.count(), 10);
    }
}
