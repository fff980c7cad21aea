//! For how long one client is refused.

use std::time::Duration;

/// The longest time without an admission: from the sending of the first request that fails to the answer of the next
/// one that is admitted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Spell {
    since: Option<Duration>,
    longest: Duration,
}

impl Spell {
    pub(super) fn add(&mut self, admitted: bool, started: Duration, ended: Duration) {
        if admitted {
            if let Some(since) = self.since.take() {
                self.longest = self.longest.max(ended.saturating_sub(since));
            }
        } else {
            self.since.get_or_insert(started);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.longest = self.longest.max(other.longest);
    }

    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spell_lasts_from_the_first_refusal_to_the_next_admission() {
        let mut spell = Spell::default();
        let answers = [(true, 0, 1), (false, 10, 12), (false, 20, 22), (true, 30, 31), (false, 40, 41), (true, 42, 43)];
        for (admitted, from, to) in answers {
            spell.add(admitted, Duration::from_millis(from), Duration::from_millis(to));
        }
        assert_eq!(spell.longest(), Duration::from_millis(21));
    }
}
