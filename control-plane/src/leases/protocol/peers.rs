//! The other control planes, as their rows and their messages show them.
//!
//! No clock is compared with another machine's or with the database's. A row carries a number, its beat, which its owner
//! raises. A control plane that sees a beat unchanged for long enough, by its own clock, knows that the owner's leases are
//! over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lease_times::LeaseTimes;
use crate::log::{ControlPlaneId, ControlPlaneRow, LogPosition};

/// What is known of the other control planes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Peers {
    times: LeaseTimes,
    seen: BTreeMap<ControlPlaneId, Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Seen {
    beat: u64,
    /// When the first statement ended that showed this beat.
    since: Duration,
    confirmed: Option<LogPosition>,
}

impl Peers {
    pub(super) fn new(times: LeaseTimes) -> Self {
        Self { times, seen: BTreeMap::new() }
    }

    /// Records all rows of others, read by a statement that ended at `ended`.
    pub(super) fn rows(&mut self, rows: &[ControlPlaneRow], ended: Duration) {
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

    /// Records that a control plane has confirmed everything up to `position`. This is true however late it arrives.
    pub(super) fn confirmed(&mut self, id: ControlPlaneId, position: LogPosition) {
        if let Some(seen) = self.seen.get_mut(&id)
            && !seen.confirmed.is_some_and(|known| known.covers(position))
        {
            seen.confirmed = Some(position);
        }
    }

    /// True if leases of this control plane may be in the way of a logout at `position`. Its row was in the rows that were read
    /// last, by a statement that began at `began`, after the logout's commit.
    pub(super) fn may_be_in_the_way(&self, id: ControlPlaneId, position: LogPosition, began: Duration) -> bool {
        self.seen.get(&id).is_none_or(|seen| {
            !seen.confirmed.is_some_and(|confirmed| confirmed.covers(position)) && !self.is_silent(seen, began)
        })
    }

    fn is_silent(&self, seen: &Seen, began: Duration) -> bool {
        began.saturating_sub(seen.since) >= self.times.silence()
    }

    /// Each control plane whose row was read last: whether it is silent, and whether it has confirmed everything up to `head`.
    pub(super) fn each(
        &self,
        head: Option<LogPosition>,
        began: Duration,
    ) -> impl Iterator<Item = (ControlPlaneId, bool, bool)> {
        self.seen.iter().map(move |(id, seen)| {
            let confirmed = seen.confirmed.zip(head).is_some_and(|(confirmed, head)| confirmed.covers(head));
            (*id, self.is_silent(seen, began), confirmed)
        })
    }

    /// The rows that may be removed, each only while it still has this beat. Their owners grant no leases by them any
    /// more, and all leases that they have granted are over.
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

    /// A control plane is silent after 2000 ms.
    fn peers() -> Peers {
        Peers::new(LeaseTimes { lease: ms(1000), hold: ms(300), drift_ppm: 0 })
    }

    #[test]
    fn an_unknown_control_plane_may_be_in_the_way() {
        assert!(peers().may_be_in_the_way(OTHER, head(1), ms(100_000)));
    }

    #[test]
    fn a_silent_control_plane_may_be_in_the_way_until_its_leases_are_over() {
        let mut peers = peers();
        peers.rows(&[row(1, None)], ms(100));
        peers.rows(&[row(1, None)], ms(1500));
        assert!(peers.may_be_in_the_way(OTHER, head(1), ms(2099)));
        assert!(!peers.may_be_in_the_way(OTHER, head(1), ms(2100)));
        assert_eq!(peers.silent(ms(2099)), []);
        assert_eq!(peers.silent(ms(2100)), [(OTHER, 1)]);
        peers.rows(&[row(2, None)], ms(2200));
        assert!(peers.may_be_in_the_way(OTHER, head(1), ms(2200)));
    }

    #[test]
    fn a_confirmation_counts_in_its_own_history_and_for_what_it_covers() {
        let mut peers = peers();
        peers.rows(&[row(1, Some(head(5)))], ms(100));
        assert!(!peers.may_be_in_the_way(OTHER, head(5), ms(110)));
        assert!(peers.may_be_in_the_way(OTHER, head(6), ms(110)));
        let restored = LogPosition { epoch: Epoch::from_bytes([2; 16]), seq: 3 };
        assert!(peers.may_be_in_the_way(OTHER, restored, ms(110)));
        peers.confirmed(OTHER, head(6));
        peers.rows(&[row(2, Some(head(5)))], ms(120));
        assert!(!peers.may_be_in_the_way(OTHER, head(6), ms(130)));
    }

    #[test]
    fn a_control_plane_whose_row_is_gone_is_forgotten() {
        let mut peers = peers();
        peers.rows(&[row(1, Some(head(5)))], ms(100));
        peers.rows(&[], ms(200));
        peers.confirmed(OTHER, head(9));
        assert_eq!(peers, self::peers());
    }
}
