//! The other control planes, as their rows and their messages show them.
//!
//! No clock is compared with another machine's or with the database's. A row carries a number, its beat, which its owner
//! raises. If a control plane sees a beat unchanged for long enough, it takes the owner for dead and replaces the row, in the
//! database, by a row that belongs to nobody. From then on the owner can grant nothing, because its readings do not show its
//! row. When the row of nobody was there for as long as a lease lasts, the owner's leases are over. So it does not matter
//! what the owner's clock shows: a control plane that was paused together with its clock believes that its row is young.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lease_times::LeaseTimes;
use crate::log::{ControlPlaneId, ControlPlaneRow, LogPosition};

/// What is known of the other control planes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Peers {
    times: LeaseTimes,
    seen: BTreeMap<ControlPlaneId, Seen>,
    /// When the last statement ended that showed the rows.
    looked: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Seen {
    beat: u64,
    /// When the first statement ended that showed this beat.
    since: Duration,
    confirmed: Option<LogPosition>,
}

impl Seen {
    fn is_nobody(&self) -> bool {
        self.beat == ControlPlaneRow::NOBODY
    }
}

/// The rows of others that have to go, each only while it still has this beat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StaleRows {
    /// Rows of nobody that may be removed: all leases for which they stand are over.
    pub over: Vec<(ControlPlaneId, u64)>,
    /// Rows of control planes that seem to be dead. Each is to be replaced by a row of nobody, in one statement.
    pub silent: Vec<(ControlPlaneId, u64)>,
}

impl Peers {
    pub(super) fn new(times: LeaseTimes) -> Self {
        Self { times, seen: BTreeMap::new(), looked: Duration::ZERO }
    }

    /// Records all rows of others, read by a statement that ended at `ended`.
    pub(super) fn rows(&mut self, rows: &[ControlPlaneRow], ended: Duration) {
        // Nobody could write while the database was away, and the others get the same time to write as always.
        let was_away = ended.saturating_sub(self.looked) > self.times.row_life();
        self.looked = ended;
        self.seen.retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows {
            let seen = self.seen.entry(row.id).or_insert(Seen { beat: row.beat, since: ended, confirmed: None });
            if seen.beat != row.beat || (was_away && !row.is_nobody()) {
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
            !seen.confirmed.is_some_and(|confirmed| confirmed.covers(position)) && !self.is_over(seen, began)
        })
    }

    /// True if all leases are over for which this row stands. That can be known of a row of nobody alone.
    fn is_over(&self, seen: &Seen, began: Duration) -> bool {
        seen.is_nobody() && began.saturating_sub(seen.since) >= self.times.lease_over()
    }

    fn is_silent(&self, seen: &Seen, began: Duration) -> bool {
        !seen.is_nobody() && began.saturating_sub(seen.since) >= self.times.patience()
    }

    /// Each control plane whose row was read last: whether it is silent, and whether it has confirmed everything up to `head`.
    pub(super) fn each(
        &self,
        head: Option<LogPosition>,
        began: Duration,
    ) -> impl Iterator<Item = (ControlPlaneId, bool, bool)> {
        let planes = self.seen.iter().filter(|(_, seen)| !seen.is_nobody());
        planes.map(move |(id, seen)| {
            let confirmed = seen.confirmed.zip(head).is_some_and(|(confirmed, head)| confirmed.covers(head));
            (*id, self.is_silent(seen, began), confirmed)
        })
    }

    /// The rows of nobody that are over, and the rows of control planes that seem to be dead.
    pub(super) fn stale(&self, began: Duration) -> StaleRows {
        let those = |is: fn(&Self, &Seen, Duration) -> bool| {
            let stale = self.seen.iter().filter(move |(_, seen)| is(self, seen, began));
            stale.map(|(id, seen)| (*id, seen.beat)).collect()
        };
        StaleRows { over: those(Self::is_over), silent: those(Self::is_silent) }
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

    /// A control plane is silent after 1000 ms, and its leases are over after another 1000 ms.
    fn peers() -> Peers {
        Peers::new(LeaseTimes { lease: ms(1000), hold: ms(300), drift_ppm: 0 })
    }

    #[test]
    fn an_unknown_control_plane_may_be_in_the_way() {
        assert!(peers().may_be_in_the_way(OTHER, head(1), ms(100_000)));
    }

    #[test]
    fn a_silent_control_plane_is_in_the_way_until_its_row_was_replaced_for_as_long_as_a_lease() {
        let mut peers = peers();
        peers.rows(&[row(1, None)], ms(100));
        peers.rows(&[row(1, None)], ms(1000));
        assert_eq!(peers.stale(ms(1099)), StaleRows::default());
        assert_eq!(peers.stale(ms(1100)), StaleRows { over: vec![], silent: vec![(OTHER, 1)] });
        assert!(peers.may_be_in_the_way(OTHER, head(1), ms(100_000)), "it may grant again at any time");
        let replaced = ControlPlaneRow::nobody(ControlPlaneId::from_bytes([8; 16]));
        peers.rows(&[replaced], ms(1200));
        peers.rows(&[replaced], ms(1900));
        assert!(peers.may_be_in_the_way(replaced.id, head(1), ms(2199)));
        assert!(!peers.may_be_in_the_way(replaced.id, head(1), ms(2200)));
        assert_eq!(peers.stale(ms(2199)), StaleRows::default());
        assert_eq!(peers.stale(ms(2200)), StaleRows { over: vec![(replaced.id, 0)], silent: vec![] });
    }

    #[test]
    fn nobody_is_taken_for_dead_right_after_the_database_was_away() {
        let mut peers = peers();
        peers.rows(&[row(1, None)], ms(100));
        peers.rows(&[row(1, None)], ms(1101));
        assert_eq!(peers.stale(ms(2100)), StaleRows::default());
        assert_eq!(peers.stale(ms(2101)), StaleRows { over: vec![], silent: vec![(OTHER, 1)] });
        peers.rows(&[row(2, None)], ms(2200));
        assert_eq!(peers.stale(ms(3199)), StaleRows::default());
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
        assert_eq!(peers, Peers { looked: ms(200), ..self::peers() });
    }
}
