//! The other control planes, as their rows and messages show them.
//!
//! No clock is compared with another machine's, nor with the database's. A row carries a number that its owner raises; whoever
//! sees the number stand still for long enough, on the own clock, knows that the owner's leases are over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lease_times::LeaseTimes;
use crate::log::{ControlPlaneId, ControlPlaneRow, LogPosition};

/// What is known of the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Peers {
    terms: LeaseTimes,
    seen: BTreeMap<ControlPlaneId, Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Seen {
    beat: u64,
    /// When the first reading ended that showed this beat.
    since: Duration,
    confirmed: Option<LogPosition>,
}

impl Peers {
    pub(super) fn new(terms: LeaseTimes) -> Self {
        Self { terms, seen: BTreeMap::new() }
    }

    /// All rows of others, from a reading that ended at `ended`.
    pub(super) fn read(&mut self, rows: &[ControlPlaneRow], ended: Duration) {
        self.seen.retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows {
            let seen = self.seen.entry(row.id).or_insert(Seen { beat: row.beat, since: ended, confirmed: None });
            if seen.beat != row.beat {
                (seen.beat, seen.since) = (row.beat, ended);
            }
            if let Some(confirmed) = row.confirmed {
                self.confirmed(row.id, confirmed);
            }
        }
    }

    /// A control plane says how far no lease of its is in the way. That stays true, however late it is heard.
    pub(super) fn confirmed(&mut self, id: ControlPlaneId, head: LogPosition) {
        if let Some(seen) = self.seen.get_mut(&id)
            && !seen.confirmed.is_some_and(|known| known.covers(head))
        {
            seen.confirmed = Some(head);
        }
    }

    /// Whether leases of this control plane may be in the way of a logout at `head`, going by a reading of the rows that
    /// began at `began`, after the commit, and showed this one.
    pub(super) fn may_hinder(&self, id: ControlPlaneId, head: LogPosition, began: Duration) -> bool {
        self.seen.get(&id).is_none_or(|seen| {
            !seen.confirmed.is_some_and(|confirmed| confirmed.covers(head)) && !self.is_silent(seen, began)
        })
    }

    fn is_silent(&self, seen: &Seen, began: Duration) -> bool {
        began.saturating_sub(seen.since) >= self.terms.silence()
    }

    /// The rows that may be removed, each as long as its beat is still this: nobody grants by them, and all leases from them
    /// are over.
    pub(super) fn silent(&self, began: Duration) -> Vec<(ControlPlaneId, u64)> {
        let silent = self.seen.iter().filter(|(_, seen)| self.is_silent(seen, began));
        silent.map(|(id, seen)| (*id, seen.beat)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Epoch;

    const EPOCH: Epoch = Epoch::from_bytes([1; 16]);
    const OTHER: ControlPlaneId = ControlPlaneId::from_bytes([7; 16]);

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    const fn head(seq: u64) -> LogPosition {
        LogPosition { epoch: EPOCH, seq }
    }

    const fn row(beat: u64, confirmed: Option<LogPosition>) -> ControlPlaneRow {
        ControlPlaneRow { id: OTHER, beat, confirmed }
    }

    /// Silence is 2000 ms.
    fn peers() -> Peers {
        Peers::new(LeaseTimes { lease: ms(1000), hold: ms(300), drift_ppm: 0 })
    }

    #[test]
    fn one_that_is_not_known_hinders() {
        assert!(peers().may_hinder(OTHER, head(1), ms(100_000)));
    }

    #[test]
    fn one_that_stands_still_hinders_until_its_leases_are_over() {
        let mut peers = peers();
        peers.read(&[row(1, None)], ms(100));
        peers.read(&[row(1, None)], ms(1500));
        assert!(peers.may_hinder(OTHER, head(1), ms(2099)));
        assert!(!peers.may_hinder(OTHER, head(1), ms(2100)));
        assert_eq!(peers.silent(ms(2099)), []);
        assert_eq!(peers.silent(ms(2100)), [(OTHER, 1)]);
        peers.read(&[row(2, None)], ms(2200));
        assert!(peers.may_hinder(OTHER, head(1), ms(2200)));
    }

    #[test]
    fn a_confirmation_counts_in_its_own_history_and_for_what_it_covers() {
        let mut peers = peers();
        peers.read(&[row(1, Some(head(5)))], ms(100));
        assert!(!peers.may_hinder(OTHER, head(5), ms(110)));
        assert!(peers.may_hinder(OTHER, head(6), ms(110)));
        let restored = LogPosition { epoch: Epoch::from_bytes([2; 16]), seq: 3 };
        assert!(peers.may_hinder(OTHER, restored, ms(110)));
        peers.confirmed(OTHER, head(6));
        peers.read(&[row(2, Some(head(5)))], ms(120));
        assert!(!peers.may_hinder(OTHER, head(6), ms(130)));
    }

    #[test]
    fn one_whose_row_is_gone_is_forgotten() {
        let mut peers = peers();
        peers.read(&[row(1, Some(head(5)))], ms(100));
        peers.read(&[], ms(200));
        peers.confirmed(OTHER, head(9));
        assert_eq!(peers, self::peers());
    }
}
