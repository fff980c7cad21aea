//! The logouts that wait for their confirmation, as their callers see them.

use std::time::Duration;

use tokio::sync::watch;

use super::protocol::{Barrier, Safe, Superseded, WaitId};
use crate::log::LogPosition;

/// A position that is committed, until it is known whether it is confirmed.
pub struct Pending {
    position: LogPosition,
    ended: watch::Receiver<Option<Result<(), Unconfirmed>>>,
}

/// It is not known whether workers still admit what was logged out. Another history of the log, which may lack the
/// logout, has replaced the one that it was committed to; or this control plane ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unconfirmed;

impl Pending {
    /// Returns when no worker admits a new request with what was logged out.
    ///
    /// # Errors
    ///
    /// See [`Unconfirmed`].
    pub async fn confirmed(&mut self) -> Result<(), Unconfirmed> {
        let ended = self.ended.wait_for(Option::is_some).await.map_err(|_| Unconfirmed)?;
        (*ended).unwrap_or(Err(Unconfirmed))
    }

    /// The position that is waited for.
    pub const fn position(&self) -> LogPosition {
        self.position
    }

    /// True if it is confirmed already.
    pub fn is_confirmed(&self) -> bool {
        *self.ended.borrow() == Some(Ok(()))
    }
}

/// All callers that wait for one position.
pub(super) struct Waiting {
    id: WaitId,
    position: LogPosition,
    /// When the commit returned.
    returned: Duration,
    /// When the first caller began to wait.
    pub(super) began: Duration,
    /// True if no worker had a lease from here at that time.
    pub(super) without_leases: bool,
    ended: watch::Sender<Option<Result<(), Unconfirmed>>>,
}

impl Waiting {
    /// A wait that the barrier knows by `id`.
    pub(super) fn new(
        id: WaitId,
        position: LogPosition,
        returned: Duration,
        began: Duration,
        without_leases: bool,
    ) -> Self {
        Self { id, position, returned, began, without_leases, ended: watch::Sender::new(None) }
    }

    /// The position that is waited for.
    pub(super) const fn position(&self) -> LogPosition {
        self.position
    }

    fn pending(&self) -> Pending {
        Pending { position: self.position, ended: self.ended.subscribe() }
    }
}

/// All waits, and what was confirmed.
#[derive(Default)]
pub(super) struct WaitingLogouts {
    waits: Vec<Waiting>,
    /// Everything up to here is confirmed, if a caller asks once more. Of two histories the one that was confirmed last is
    /// remembered.
    confirmed: Option<Confirmation>,
}

/// A position that was confirmed, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Confirmation {
    position: LogPosition,
    at: Duration,
}

impl WaitingLogouts {
    /// Joins a wait for the same position: it is for the same commit, or one of the two commits revoked nothing.
    ///
    /// A wait for a later return is not joined: it does not notice another history that was there in between.
    pub(super) fn join(&self, position: LogPosition, returned: Duration) -> Option<Pending> {
        let joined = |waiting: &&Waiting| waiting.position == position && waiting.returned <= returned;
        self.waits.iter().rev().find(joined).map(Waiting::pending)
    }

    /// Adds a wait.
    pub(super) fn add(&mut self, waiting: Waiting) -> Pending {
        let pending = waiting.pending();
        self.waits.push(waiting);
        pending
    }

    /// What was confirmed from here covers what was committed before it, so a caller that asks again need not wait again,
    /// unless another history was seen since.
    pub(super) fn confirmed(&self, position: LogPosition, barrier: &Barrier) -> Option<Pending> {
        let covers = |confirmed: &Confirmation| {
            confirmed.position.covers(position) && !barrier.is_superseded(position.epoch, confirmed.at)
        };
        self.confirmed.filter(covers).map(|_| Pending { position, ended: watch::channel(Some(Ok(()))).1 })
    }

    /// Takes out a wait that the barrier has ended.
    pub(super) fn take(&mut self, id: WaitId) -> Option<Waiting> {
        let place = self.waits.iter().position(|waiting| waiting.id == id)?;
        Some(self.waits.swap_remove(place))
    }

    /// Tells the callers of a wait that was taken out how it has ended.
    pub(super) fn end(&mut self, waiting: &Waiting, ended: Result<Safe, Superseded>, at: Duration) {
        if ended.is_ok() && !self.confirmed.is_some_and(|confirmed| confirmed.position.covers(waiting.position)) {
            self.confirmed = Some(Confirmation { position: waiting.position, at });
        }
        waiting.ended.send_replace(Some(ended.map(drop).map_err(|Superseded| Unconfirmed)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::leases::protocol::{LeaseTimes, Reading};
    use crate::log::{ControlPlaneId, Epoch};

    use super::*;

    fn position(epoch: u8, seq: u64) -> LogPosition {
        LogPosition { epoch: Epoch::from_bytes([epoch; 16]), seq }
    }

    /// A wait that began when its commit returned.
    fn waiting(at: LogPosition, returned: Duration) -> Waiting {
        let mut barrier = Barrier::new(ControlPlaneId::from_bytes([1; 16]), LeaseTimes::default());
        Waiting::new(barrier.asked(at, returned), at, returned, returned, true)
    }

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn confirm(waits: &mut WaitingLogouts, position: LogPosition, at: Duration) {
        waits.end(&waiting(position, Duration::ZERO), Ok(Safe::Acknowledged), at);
    }

    /// A control plane that knows the log up to here, by readings that began at these times.
    fn that_read(heads: &[(LogPosition, Duration)]) -> Barrier {
        let mut barrier = Barrier::new(ControlPlaneId::from_bytes([1; 16]), LeaseTimes::default());
        for (head, began) in heads.iter().copied() {
            assert!(barrier.reading_ended(&Reading { began, head, own_beat: None }, began));
        }
        barrier
    }

    #[test]
    fn what_was_confirmed_stays_confirmed() {
        let (mut waits, mut barrier) = (WaitingLogouts::default(), that_read(&[(position(1, 9), ms(1))]));
        confirm(&mut waits, position(1, 7), ms(10));
        confirm(&mut waits, position(1, 5), ms(20));
        assert!(waits.confirmed(position(1, 6), &barrier).is_some_and(|pending| pending.is_confirmed()));
        barrier = that_read(&[(position(1, 9), ms(1)), (position(2, 1), ms(30))]);
        confirm(&mut waits, position(2, 1), ms(40));
        assert!(waits.confirmed(position(2, 1), &barrier).is_some());
        assert!(waits.confirmed(position(1, 6), &barrier).is_none());
    }

    #[test]
    fn what_was_confirmed_counts_no_more_when_another_history_was_seen() {
        let mut waits = WaitingLogouts::default();
        confirm(&mut waits, position(1, 7), ms(10));
        let replaced = [(position(1, 7), ms(1)), (position(2, 1), ms(20))];
        assert!(waits.confirmed(position(1, 7), &that_read(&replaced)).is_none());
        let came_back = [replaced[0], replaced[1], (position(1, 7), ms(30))];
        assert!(waits.confirmed(position(1, 7), &that_read(&came_back)).is_none());
        let mut distrusting = that_read(&replaced[..1]);
        assert!(waits.confirmed(position(1, 7), &distrusting).is_some());
        distrusting.distrust(ms(20));
        assert!(waits.confirmed(position(1, 7), &distrusting).is_none());
    }

    #[tokio::test]
    async fn callers_that_wait_for_one_commit_are_told_together() {
        let mut waits = WaitingLogouts::default();
        let first = waiting(position(1, 7), Duration::from_secs(5));
        let id = first.id;
        let mut pending = [waits.add(first), waits.join(position(1, 7), Duration::from_secs(5)).unwrap()];
        assert!(pending.iter().all(|pending| !pending.is_confirmed()));
        let taken = waits.take(id).unwrap();
        waits.end(&taken, Ok(Safe::Outlasted), ms(5));
        for pending in &mut pending {
            assert_eq!(pending.confirmed().await, Ok(()));
            assert!(pending.is_confirmed());
        }
    }

    #[tokio::test]
    async fn callers_of_a_logout_that_was_superseded_are_told_so_and_nothing_is_confirmed() {
        let mut waits = WaitingLogouts::default();
        let first = waiting(position(1, 7), Duration::ZERO);
        let id = first.id;
        let mut pending = waits.add(first);
        let taken = waits.take(id).unwrap();
        waits.end(&taken, Err(Superseded), ms(5));
        assert_eq!(pending.confirmed().await, Err(Unconfirmed));
        assert!(!pending.is_confirmed());
        assert!(waits.confirmed(position(1, 7), &that_read(&[(position(1, 7), ms(1))])).is_none());
    }

    #[test]
    fn a_commit_does_not_join_a_wait_that_counts_from_later() {
        let mut waits = WaitingLogouts::default();
        waits.add(waiting(position(1, 7), Duration::from_secs(5)));
        assert!(waits.join(position(1, 7), Duration::from_secs(4)).is_none());
        assert!(waits.join(position(1, 7), Duration::from_secs(6)).is_some());
        assert!(waits.join(position(2, 7), Duration::from_secs(6)).is_none());
    }
}
