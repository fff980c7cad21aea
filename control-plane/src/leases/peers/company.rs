//! Which other control planes there are, and what has changed since the last look: for the log, the metrics and `/readyz`. Pure.
//!
//! Nothing here decides about a logout; [`super::super::protocol`] does. A control plane has a row while workers poll it. It removes
//! the row itself when it stops or when no worker polls it any more. A row that stands still is one of a control plane that has died,
//! hangs or is cut off.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::log::ControlPlaneId;

/// How long a control plane that has fallen silent counts as lost: long enough for a prober to see it.
const LOST_FOR: Duration = Duration::from_secs(60);

/// What the rows show of another control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::leases) struct Peer {
    pub(in crate::leases) id: ControlPlaneId,
    /// Its row stands still, and its leases are over.
    pub(in crate::leases) is_silent: bool,
    /// It has confirmed all logouts of the log.
    pub(in crate::leases) has_confirmed: bool,
}

/// A change to tell an operator of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::leases) enum Change {
    /// A control plane is there that was not.
    Came(ControlPlaneId),
    /// It has said nothing for so long that its leases are over.
    Silent(ControlPlaneId),
    /// It has taken its row away.
    Left(ControlPlaneId),
}

/// How many other control planes there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Others {
    /// Those that are there, and not silent.
    pub alive: usize,
    /// Of these, those that have confirmed all logouts of the log.
    pub confirmed: usize,
    /// Those that are silent, or fell silent within the last minute.
    pub lost: usize,
}

/// The other control planes, as the rows showed them last.
#[derive(Debug, Default)]
pub(in crate::leases) struct Company {
    peers: Vec<Peer>,
    /// When each of those that were lost was found to be silent.
    lost: BTreeMap<ControlPlaneId, Duration>,
}

impl Company {
    /// Takes in what the rows show at `now`, and returns what has changed.
    pub(in crate::leases) fn look(&mut self, peers: Vec<Peer>, now: Duration) -> Vec<Change> {
        self.lost.retain(|_, at| now.saturating_sub(*at) < LOST_FOR);
        let before = |id| self.peers.iter().find(|peer| peer.id == id);
        let mut changes: Vec<_> = peers.iter().filter_map(|peer| changed(before(peer.id), peer)).collect();
        let gone = self.peers.iter().filter(|peer| !peer.is_silent && !peers.iter().any(|other| other.id == peer.id));
        changes.extend(gone.map(|peer| Change::Left(peer.id)));
        for change in &changes {
            match change {
                Change::Silent(id) => drop(self.lost.insert(*id, now)),
                Change::Came(id) => drop(self.lost.remove(id)),
                Change::Left(_) => {}
            }
        }
        self.peers = peers;
        changes
    }

    /// How many there are at `now`.
    pub(in crate::leases) fn others(&self, now: Duration) -> Others {
        let alive = || self.peers.iter().filter(|peer| !peer.is_silent);
        Others {
            alive: alive().count(),
            confirmed: alive().filter(|peer| peer.has_confirmed).count(),
            lost: self.lost.values().filter(|at| now.saturating_sub(**at) < LOST_FOR).count(),
        }
    }
}

fn changed(before: Option<&Peer>, peer: &Peer) -> Option<Change> {
    let was_silent = before.is_some_and(|before| before.is_silent);
    match (before, peer.is_silent) {
        (_, true) if !was_silent => Some(Change::Silent(peer.id)),
        (None, false) => Some(Change::Came(peer.id)),
        (Some(_), false) if was_silent => Some(Change::Came(peer.id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ControlPlaneId = ControlPlaneId::from_bytes([1; 16]);
    const TWO: ControlPlaneId = ControlPlaneId::from_bytes([2; 16]);

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn peer(id: ControlPlaneId, is_silent: bool) -> Peer {
        Peer { id, is_silent, has_confirmed: !is_silent }
    }

    #[test]
    fn each_change_is_told_once() {
        let mut company = Company::default();
        let came = company.look(vec![peer(ONE, false), peer(TWO, false)], s(1));
        assert_eq!(came, [Change::Came(ONE), Change::Came(TWO)]);
        assert_eq!(company.others(s(1)), Others { alive: 2, confirmed: 2, lost: 0 });
        assert_eq!(company.look(vec![peer(ONE, false), peer(TWO, false)], s(2)), []);
        assert_eq!(company.look(vec![peer(ONE, false), peer(TWO, true)], s(6)), [Change::Silent(TWO)]);
        // Its row is removed then, which is no second change.
        assert_eq!(company.look(vec![peer(ONE, false)], s(7)), []);
        assert_eq!(company.others(s(7)), Others { alive: 1, confirmed: 1, lost: 1 });
        assert_eq!(company.look(vec![], s(8)), [Change::Left(ONE)]);
        assert_eq!(company.others(s(66)), Others::default());
    }

    #[test]
    fn a_control_plane_that_hung_and_goes_on_has_come_again() {
        let mut company = Company::default();
        company.look(vec![peer(ONE, false)], s(1));
        company.look(vec![peer(ONE, true)], s(5));
        assert_eq!(company.look(vec![peer(ONE, false)], s(6)), [Change::Came(ONE)]);
        assert_eq!(company.others(s(6)), Others { alive: 1, confirmed: 1, lost: 0 });
    }

    #[test]
    fn a_row_that_a_dead_process_left_behind_is_found_to_be_silent() {
        let mut company = Company::default();
        // A row that was left behind by a process that died before this one started.
        assert_eq!(company.look(vec![peer(TWO, false)], s(1)), [Change::Came(TWO)]);
        assert_eq!(company.look(vec![peer(TWO, true)], s(5)), [Change::Silent(TWO)]);
        assert_eq!(company.look(vec![peer(TWO, true)], s(6)), []);
    }
}
