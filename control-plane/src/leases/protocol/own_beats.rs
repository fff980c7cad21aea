//! The beats of this control plane's own row in `replicas`. The row shows the other control planes that this one may
//! have granted leases.

use std::time::Duration;

use super::lease_times::LeaseTimes;

/// How many beats are remembered. Older ones have expired, even if failed writes are repeated often.
const REMEMBERED: usize = 32;

/// The writes of the own row. Each has the next number, its *beat*.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OwnBeats {
    times: LeaseTimes,
    /// The beats that are written or being written, each with the time at which its write began.
    begun: Vec<(u64, Duration)>,
}

impl OwnBeats {
    pub(super) fn new(times: LeaseTimes) -> Self {
        Self { times, begun: Vec::new() }
    }

    /// When the row is to be written next.
    pub(super) fn due_at(&self) -> Duration {
        let every = self.times.row_life() / 3;
        self.begun.last().map_or(Duration::ZERO, |(_, begun)| begun.saturating_add(every))
    }

    /// Begins a write, and returns its beat.
    pub(super) fn begin(&mut self, now: Duration) -> u64 {
        let beat = self.begun.last().map_or(1, |(beat, _)| beat.saturating_add(1));
        if self.begun.len() >= REMEMBERED {
            self.begun.remove(0);
        }
        self.begun.push((beat, now));
        beat
    }

    /// True if leases may be granted from a reading of the log that began at `began` and showed the own row with beat `seen`.
    ///
    /// The row's life counts from the beginning of its write, because the others may have seen it from then on.
    pub(super) fn vouch_for(&self, seen: Option<u64>, began: Duration) -> bool {
        let begun = self.begun.iter().find(|(beat, _)| Some(*beat) == seen);
        begun.is_some_and(|(_, begun)| began.saturating_sub(*begun) <= self.times.row_life())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn beats() -> OwnBeats {
        OwnBeats::new(LeaseTimes { lease: ms(900), hold: ms(300), drift_ppm: 0 })
    }

    #[test]
    fn the_row_is_written_at_once_and_three_times_in_its_life() {
        let mut beats = beats();
        assert_eq!(beats.due_at(), ms(0));
        assert_eq!(beats.begin(ms(50)), 1);
        assert_eq!(beats.due_at(), ms(350));
        assert_eq!(beats.begin(ms(360)), 2);
    }

    #[test]
    fn leases_are_granted_only_from_a_reading_that_saw_a_recent_row() {
        let mut beats = beats();
        beats.begin(ms(50));
        assert!(!beats.vouch_for(None, ms(60)), "not registered, or removed");
        assert!(!beats.vouch_for(Some(2), ms(60)), "not ours");
        assert!(beats.vouch_for(Some(1), ms(950)));
        assert!(!beats.vouch_for(Some(1), ms(951)));
        beats.begin(ms(951));
        assert!(!beats.vouch_for(Some(1), ms(960)), "the new one has not arrived");
        assert!(beats.vouch_for(Some(2), ms(960)));
    }

    #[test]
    fn old_beats_are_forgotten() {
        let mut beats = beats();
        for beat in 1..=40 {
            assert_eq!(beats.begin(ms(beat * 300)), beat);
        }
        assert!(!beats.vouch_for(Some(8), ms(2400)) && beats.vouch_for(Some(40), ms(12_000)));
        assert_eq!(beats.begun.len(), REMEMBERED);
    }
}
