//! This control plane's own row in `replicas`, by which the others know that it may have granted leases.

use std::time::Duration;

use super::lease_times::LeaseTimes;

/// Beats whose writing is remembered; the older ones have expired, though writes that fail are repeated often.
const REMEMBERED: usize = 32;

/// Writes of the own row, each with the next number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Presence {
    terms: LeaseTimes,
    /// The numbers written or being written, and when each was begun.
    beats: Vec<(u64, Duration)>,
}

impl Presence {
    pub(super) fn new(terms: LeaseTimes) -> Self {
        Self { terms, beats: Vec::new() }
    }

    /// When the row is to be written next.
    pub(super) fn due_at(&self) -> Duration {
        let every = self.terms.row_life() / 3;
        self.beats.last().map_or(Duration::ZERO, |(_, begun)| begun.saturating_add(every))
    }

    /// Begins a write, and returns its number.
    pub(super) fn begin(&mut self, now: Duration) -> u64 {
        let beat = self.beats.last().map_or(1, |(beat, _)| beat.saturating_add(1));
        if self.beats.len() >= REMEMBERED {
            self.beats.remove(0);
        }
        self.beats.push((beat, now));
        beat
    }

    /// Whether a reading of the log that began at `began`, and showed the own row with this number, may be granted from.
    ///
    /// Counted from the beginning of the write, because the others may have seen the row from then on.
    pub(super) fn vouches(&self, seen: Option<u64>, began: Duration) -> bool {
        let begun = self.beats.iter().find(|(beat, _)| Some(*beat) == seen);
        begun.is_some_and(|(_, begun)| began.saturating_sub(*begun) <= self.terms.row_life())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn presence() -> Presence {
        Presence::new(LeaseTimes { lease: ms(900), hold: ms(300), drift_ppm: 0 })
    }

    #[test]
    fn the_row_is_written_at_once_and_three_times_in_its_life() {
        let mut presence = presence();
        assert_eq!(presence.due_at(), ms(0));
        assert_eq!(presence.begin(ms(50)), 1);
        assert_eq!(presence.due_at(), ms(350));
        assert_eq!(presence.begin(ms(360)), 2);
    }

    #[test]
    fn only_a_reading_that_saw_a_row_of_late_may_be_granted_from() {
        let mut presence = presence();
        presence.begin(ms(50));
        assert!(!presence.vouches(None, ms(60)), "not registered, or removed");
        assert!(!presence.vouches(Some(2), ms(60)), "not ours");
        assert!(presence.vouches(Some(1), ms(950)));
        assert!(!presence.vouches(Some(1), ms(951)));
        presence.begin(ms(951));
        assert!(!presence.vouches(Some(1), ms(960)), "the new one has not arrived");
        assert!(presence.vouches(Some(2), ms(960)));
    }

    #[test]
    fn old_beats_are_forgotten() {
        let mut presence = presence();
        for beat in 1..=40 {
            assert_eq!(presence.begin(ms(beat * 300)), beat);
        }
        assert!(!presence.vouches(Some(8), ms(2400)) && presence.vouches(Some(40), ms(12_000)));
        assert_eq!(presence.beats.len(), REMEMBERED);
    }
}
