//! Logouts that are committed and not yet answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::leases::Leases;
use super::peers::Peers;
use crate::log::{ControlPlaneId, ControlPlaneRow, Epoch, LogPosition};

/// Names a logout that waits, or several that one commit made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaitId(u64);

/// Why a logout may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Safe {
    /// Every lease from before it is acknowledged or over.
    Acknowledged,
    /// Every lease from before it must be over by now, whoever granted it.
    Outlasted,
}

/// Another history has taken the place of the one that the logout was committed to, and may lack it: nobody knows whether it
/// is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Superseded;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Waits {
    waits: BTreeMap<WaitId, Wait>,
    next: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wait {
    head: LogPosition,
    /// When the commit had returned.
    returned: Duration,
    /// When the wait began, which is not before that.
    began: Duration,
    deadline: Duration,
    /// The other control planes that may be in the way; `None` before the rows were read.
    others: Option<BTreeSet<ControlPlaneId>>,
}

impl Waits {
    pub(super) fn add(&mut self, head: LogPosition, returned: Duration, began: Duration, deadline: Duration) -> WaitId {
        let id = WaitId(self.next);
        self.next = self.next.wrapping_add(1);
        self.waits.insert(id, Wait { head, returned, began, deadline, others: None });
        id
    }

    /// All rows of others, from a reading that began at `began`. A control plane that registers after a commit grants only
    /// from readings after that, so what the first reading after the commit shows is all; later ones only take away. All that
    /// holds within the epoch that they were read with: another one may have begun on a copy that lacks rows.
    pub(super) fn rows(&mut self, epoch: Epoch, rows: &[ControlPlaneRow], peers: &Peers, began: Duration) {
        let told_of = |wait: &&mut Wait| wait.head.epoch == epoch && began >= wait.began;
        for wait in self.waits.values_mut().filter(told_of) {
            let hinder = rows.iter().map(|row| row.id).filter(|id| peers.may_hinder(*id, wait.head, began));
            let hinder: BTreeSet<_> = hinder.collect();
            wait.others = Some(match wait.others.take() {
                None => hinder,
                Some(others) => others.intersection(&hinder).copied().collect(),
            });
        }
    }

    /// A control plane has confirmed everything up to `head`.
    pub(super) fn confirmed(&mut self, id: ControlPlaneId, head: LogPosition) {
        for wait in self.waits.values_mut().filter(|wait| head.covers(wait.head)) {
            wait.others.as_mut().map(|others| others.remove(&id));
        }
    }

    /// Takes out those that may be answered, and those that can no more be confirmed.
    pub(super) fn take_ended(&mut self, leases: &mut Leases, now: Duration) -> Vec<(WaitId, Result<Safe, Superseded>)> {
        // One look at the leases for all of them: both may be many.
        let clear = leases.clear(now);
        let mut promised = None;
        let ended: Vec<_> =
            self.waits.iter().filter_map(|(id, wait)| Some((*id, wait.ended(leases, clear, now)?))).collect();
        for (id, ended) in &ended {
            let head = self.waits.remove(id).map(|wait| wait.head.seq);
            promised = promised.max(head.filter(|_| *ended == Ok(Safe::Acknowledged)));
        }
        if let (Some(seq), Some(clear)) = (promised, clear) {
            leases.promise(LogPosition { seq, ..clear });
        }
        ended
    }

    /// When the next one may be answered by the passing of time alone. Of those that only leases from here are in the way
    /// of, the lowest of its history is the first: what does not cover that covers none of the others.
    pub(super) fn wake_at(&self, leases: &Leases, now: Duration) -> Option<Duration> {
        let mut lowest = BTreeMap::new();
        for wait in self.waits.values().filter(|wait| wait.nobody_else()) {
            let seq = lowest.entry(wait.head.epoch).or_insert(wait.head.seq);
            *seq = wait.head.seq.min(*seq);
        }
        let over = lowest.into_iter().filter_map(|(epoch, seq)| leases.over_for(LogPosition { epoch, seq }, now));
        self.waits.values().map(|wait| wait.deadline).chain(over).min()
    }

    /// Whether some wait for confirmations of others.
    pub(super) fn wait_for_others(&self) -> bool {
        self.waits.values().any(|wait| !wait.nobody_else())
    }

    pub(super) fn forget(&mut self, id: WaitId) {
        self.waits.remove(&id);
    }
}

impl Wait {
    /// How the wait ends now, if it does; `clear` is what the own leases are out of the way of.
    fn ended(&self, leases: &Leases, clear: Option<LogPosition>, now: Duration) -> Option<Result<Safe, Superseded>> {
        let is_clear = clear.is_some_and(|clear| clear.covers(self.head));
        if leases.is_superseded(self.head.epoch, self.returned) {
            Some(Err(Superseded))
        } else if self.nobody_else() && is_clear {
            Some(Ok(Safe::Acknowledged))
        } else if now >= self.deadline {
            // Every lease from before is over; but in a history that is not known to be the present one that says nothing.
            Some(if leases.epoch() == Some(self.head.epoch) { Ok(Safe::Outlasted) } else { Err(Superseded) })
        } else {
            None
        }
    }

    fn nobody_else(&self) -> bool {
        self.others.as_ref().is_some_and(BTreeSet::is_empty)
    }
}
