//! Logouts that are committed and not yet answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::granted::Granted;
use super::peers::Peers;
use crate::log::{ControlPlaneId, ControlPlaneRow, Epoch, LogPosition};

/// Names the wait of one logout, or of all logouts of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaitId(u64);

/// Why a logout may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Safe {
    /// Every lease from before the commit is acknowledged or over.
    Acknowledged,
    /// So much time has passed that every lease from before the commit is over, whichever control plane granted it, and the
    /// log was read since.
    Outlasted,
}

/// Why a logout will never be confirmed: another history has replaced the one that it was committed to, and may lack
/// the logout. So it is not known whether the logout is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Superseded;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Waits {
    waits: BTreeMap<WaitId, Wait>,
    next: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wait {
    position: LogPosition,
    /// When the commit returned.
    returned: Duration,
    /// When the wait began; not before `returned`.
    began: Duration,
    deadline: Duration,
    /// The other control planes that may be in the way; `None` until the rows have been read.
    others: Option<BTreeSet<ControlPlaneId>>,
}

impl Waits {
    pub(super) fn add(
        &mut self,
        position: LogPosition,
        returned: Duration,
        began: Duration,
        deadline: Duration,
    ) -> WaitId {
        let id = WaitId(self.next);
        self.next = self.next.wrapping_add(1);
        self.waits.insert(id, Wait { position, returned, began, deadline, others: None });
        id
    }

    /// Records all rows of others, read by a statement that began at `began`.
    ///
    /// The first statement that begins after the commit shows every control plane that can be in the way: a control
    /// plane that registers later grants only from readings that show the revocation. So later statements only take
    /// control planes away, except that a row of nobody takes the place of a control plane that seems to be dead. All
    /// this holds within the epoch that the rows were read with, because another epoch may have begun on a copy of the
    /// database that lacks rows.
    pub(super) fn rows(&mut self, epoch: Epoch, rows: &[ControlPlaneRow], peers: &Peers, began: Duration) {
        let concerned = |wait: &&mut Wait| wait.position.epoch == epoch && began >= wait.began;
        for wait in self.waits.values_mut().filter(concerned) {
            let before = wait.others.take();
            let was = |row: &&ControlPlaneRow| before.as_ref().is_none_or(|before| before.contains(&row.id));
            let in_the_way = |row: &&ControlPlaneRow| peers.may_be_in_the_way(row.id, wait.position, began);
            let rows = rows.iter().filter(|row| row.is_nobody() || was(row)).filter(in_the_way);
            wait.others = Some(rows.map(|row| row.id).collect());
        }
    }

    /// Records that a control plane has confirmed everything up to `position`.
    pub(super) fn confirmed(&mut self, id: ControlPlaneId, position: LogPosition) {
        for wait in self.waits.values_mut().filter(|wait| position.covers(wait.position)) {
            wait.others.as_mut().map(|others| others.remove(&id));
        }
    }

    /// Takes out the waits that are over.
    pub(super) fn take_ended(
        &mut self,
        granted: &mut Granted,
        now: Duration,
    ) -> Vec<(WaitId, Result<Safe, Superseded>)> {
        // There may be many waits and many leases, so one pass over the leases serves all waits.
        let clear = granted.clear(now);
        let mut promised = None;
        let ended: Vec<_> =
            self.waits.iter().filter_map(|(id, wait)| Some((*id, wait.ended(granted, clear, now)?))).collect();
        for (id, ended) in &ended {
            let seq = self.waits.remove(id).map(|wait| wait.position.seq);
            promised = promised.max(seq.filter(|_| *ended == Ok(Safe::Acknowledged)));
        }
        if let (Some(seq), Some(clear)) = (promised, clear) {
            granted.promise(LogPosition { seq, ..clear });
        }
        ended
    }

    /// When the next wait may end by the passing of time alone.
    ///
    /// Some waits are held up only by leases from here. Among those of one history, the wait with the lowest position
    /// ends first: a lease that does not cover this position covers none of the others.
    pub(super) fn wake_at(&self, granted: &Granted, now: Duration) -> Option<Duration> {
        let mut lowest = BTreeMap::new();
        for wait in self.waits.values().filter(|wait| wait.no_other_is_in_the_way()) {
            let seq = lowest.entry(wait.position.epoch).or_insert(wait.position.seq);
            *seq = wait.position.seq.min(*seq);
        }
        let over = lowest.into_iter().filter_map(|(epoch, seq)| granted.over_for(LogPosition { epoch, seq }, now));
        self.waits.values().filter_map(|wait| wait.ends_at(granted, now)).chain(over).min()
    }

    /// True if some waits need the rows, or confirmations of other control planes.
    pub(super) fn wait_for_others(&self) -> bool {
        self.waits.values().any(|wait| !wait.no_other_is_in_the_way())
    }

    pub(super) fn forget(&mut self, id: WaitId) {
        self.waits.remove(&id);
    }
}

impl Wait {
    /// How the wait ends at `now`; `None` if it goes on. No lease from here is in the way up to `clear`.
    fn ended(&self, granted: &Granted, clear: Option<LogPosition>, now: Duration) -> Option<Result<Safe, Superseded>> {
        let is_clear = clear.is_some_and(|clear| clear.covers(self.position));
        if granted.log().is_superseded(self.position.epoch, self.returned) {
            Some(Err(Superseded))
        } else if is_clear && self.no_other_is_in_the_way() {
            Some(Ok(Safe::Acknowledged))
        } else if now >= self.deadline {
            self.outlasted(granted)
        } else {
            None
        }
    }

    /// How the wait ends now that every lease from before is over. That says nothing unless the log is still of the same
    /// history. Only a reading since the commit can show that, so without one the wait goes on.
    fn outlasted(&self, granted: &Granted) -> Option<Result<Safe, Superseded>> {
        let LogPosition { epoch, .. } = self.position;
        let is_known = granted.log().head().is_some_and(|head| head.epoch == epoch);
        match is_known {
            true => granted.log().is_shown_since(epoch, self.returned).then_some(Ok(Safe::Outlasted)),
            false => Some(Err(Superseded)),
        }
    }

    /// When time alone ends the wait; `None` if something else has to happen.
    fn ends_at(&self, granted: &Granted, now: Duration) -> Option<Duration> {
        (now < self.deadline || self.outlasted(granted).is_some()).then_some(self.deadline)
    }

    fn no_other_is_in_the_way(&self) -> bool {
        self.others.as_ref().is_some_and(BTreeSet::is_empty)
    }
}
