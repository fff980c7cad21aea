//! Which other control planes there are, and what has changed since the last look: for the log, the metrics and `/readyz`. Pure.
//!
//! Nothing here decides about a logout; [`super::super::protocol`] does. A control plane has a row while workers poll it. It removes
//! the row itself when it stops or when no worker polls it any more. A row that stands still is one of a control plane that has died,
//! hangs or is cut off. The first control plane that sees this replaces the row by a row of nobody, so another one may see no more
//! than that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::log::ControlPlaneId;

/// How long a control plane that has fallen silent counts as lost: long enough for a prober to see it.
const LOST_FOR: Duration = Duration::from_secs(60);

/// What the rows show of another control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::leases) struct Peer {
    pub(in crate::leases) id: ControlPlaneId,
    /// Its row has stood still for so long that it is replaced now.
    pub(in crate::leases) is_silent: bool,
    /// It has confirmed all logouts of the log.
    pub(in crate::leases) has_confirmed: bool,
}

/// A change to tell an operator of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::leases) enum Change {
    /// A control plane is there that was not.
    Came(ControlPlaneId),
    /// It has said nothing for so long that its row is replaced.
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
    /// The rows of nobody.
    nobody: BTreeSet<ControlPlaneId>,
    /// When each of those that were lost was found to be silent.
    lost: BTreeMap<ControlPlaneId, Duration>,
}

impl Company {
    /// Takes in what the rows show at `now`, those of control planes and those of nobody, and returns what has changed.
    pub(in crate::leases) fn look(
        &mut self,
        peers: Vec<Peer>,
        nobody: BTreeSet<ControlPlaneId>,
        now: Duration,
    ) -> Vec<Change> {
        self.lost.retain(|_, at| now.saturating_sub(*at) < LOST_FOR);
        let before = |id| self.peers.iter().find(|peer| peer.id == id);
        let mut changes: Vec<_> = peers.iter().filter_map(|peer| changed(before(peer.id), peer)).collect();
        let gone = self.peers.iter().filter(|peer| !peer.is_silent && !peers.iter().any(|other| other.id == peer.id));
        // As many of those that are gone as there are new rows of nobody did not leave: others have replaced their rows.
        let replaced = nobody.difference(&self.nobody).count();
        changes.extend(
            gone.enumerate().map(
                |(number, peer)| {
                    if number < replaced { Change::Silent(peer.id) } else { Change::Left(peer.id) }
                },
            ),
        );
        for change in &changes {
            match change {
                Change::Silent(id) => drop(self.lost.insert(*id, now)),
                Change::Came(id) => drop(self.lost.remove(id)),
                Change::Left(_) => {}
            }
        }
        self.peers = peers;
        self.nobody = nobody;
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

    /// Looks while there is no row of nobody.
    fn look(company: &mut Company, peers: Vec<Peer>, now: Duration) -> Vec<Change> {
        company.look(peers, BTreeSet::new(), now)
    }

    #[test]
    fn each_change_is_told_once() {
        let mut company = Company::default();
        let came = look(&mut company, vec![peer(ONE, false), peer(TWO, false)], s(1));
        assert_eq!(came, [Change::Came(ONE), Change::Came(TWO)]);
        assert_eq!(company.others(s(1)), Others { alive: 2, confirmed: 2, lost: 0 });
        assert_eq!(look(&mut company, vec![peer(ONE, false), peer(TWO, false)], s(2)), []);
        assert_eq!(look(&mut company, vec![peer(ONE, false), peer(TWO, true)], s(6)), [Change::Silent(TWO)]);
        // Its row is replaced then, which is no second change.
        assert_eq!(look(&mut company, vec![peer(ONE, false)], s(7)), []);
        assert_eq!(company.others(s(7)), Others { alive: 1, confirmed: 1, lost: 1 });
        assert_eq!(look(&mut company, vec![], s(8)), [Change::Left(ONE)]);
        assert_eq!(company.others(s(66)), Others::default());
    }

    #[test]
    fn a_control_plane_that_hung_and_goes_on_has_come_again() {
        let mut company = Company::default();
        look(&mut company, vec![peer(ONE, false)], s(1));
        look(&mut company, vec![peer(ONE, true)], s(5));
        assert_eq!(look(&mut company, vec![peer(ONE, false)], s(6)), [Change::Came(ONE)]);
        assert_eq!(company.others(s(6)), Others { alive: 1, confirmed: 1, lost: 0 });
    }

    #[test]
    fn a_row_that_a_dead_process_left_behind_is_found_to_be_silent() {
        let mut company = Company::default();
        // A row that was left behind by a process that died before this one started.
        assert_eq!(look(&mut company, vec![peer(TWO, false)], s(1)), [Change::Came(TWO)]);
        assert_eq!(look(&mut company, vec![peer(TWO, true)], s(5)), [Change::Silent(TWO)]);
        assert_eq!(look(&mut company, vec![peer(TWO, true)], s(6)), []);
    }
    #[test]
    fn a_control_plane_whose_row_another_one_has_replaced_has_fallen_silent_and_did_not_leave() {
        let (mut company, nobody) = (Company::default(), BTreeSet::from([ControlPlaneId::from_bytes([9; 16])]));
        company.look(vec![peer(ONE, false), peer(TWO, false)], BTreeSet::new(), s(1));
        assert_eq!(company.look(vec![peer(ONE, false)], nobody.clone(), s(2)), [Change::Silent(TWO)]);
        assert_eq!(company.others(s(2)), Others { alive: 1, confirmed: 1, lost: 1 });
        assert_eq!(company.look(vec![], nobody, s(3)), [Change::Left(ONE)], "that row of nobody was there before");
    }
}
