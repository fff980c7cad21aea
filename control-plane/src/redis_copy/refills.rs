//! How often the whole log may be copied again. Pure.
//!
//! A Redis with a full memory may evict the marker again and again. Copying the whole log each time would keep the
//! database busy and evict even more entries. It would also be useless, because checks that Redis cannot answer ask the
//! database.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between the first two copies. It doubles with each further copy.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest such time. If a copy lasted for twice as long, the next loss counts as the first one again.
const LONGEST: Duration = Duration::from_secs(300);

/// When the last copy of the whole log was begun, and how soon after it the next one may begin.
#[derive(Debug, Default)]
pub(super) struct Refills {
    last: Option<(Instant, Duration)>,
}

impl Refills {
    /// True if a copy may begin.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|(last, pause)| now.saturating_duration_since(last) >= pause)
    }

    /// Records that a copy begins.
    pub(super) fn begin(&mut self, now: Instant) {
        let earlier = self.last.filter(|(last, _)| now.saturating_duration_since(*last) < LONGEST.saturating_mul(2));
        let pause = earlier.map_or(SHORTEST, |(_, pause)| pause.saturating_mul(2).min(LONGEST));
        self.last = Some((now, pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_that_do_not_last_come_ever_less_often() {
        let mut now = Instant::now();
        let mut refills = Refills::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert!(refills.is_due(now));
            refills.begin(now);
            let due = (0..).find(|seconds| refills.is_due(now + Duration::from_secs(*seconds))).unwrap();
            pauses.push(due);
            now += Duration::from_secs(due);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }

    #[test]
    fn a_copy_that_lasted_makes_the_next_one_prompt() {
        let (mut refills, start) = (Refills::default(), Instant::now());
        for _ in 0..20 {
            refills.begin(start);
        }
        assert!(!refills.is_due(start + Duration::from_secs(299)));
        let later = start + Duration::from_secs(600);
        refills.begin(later);
        assert!(!refills.is_due(later) && refills.is_due(later + SHORTEST));
    }
}
