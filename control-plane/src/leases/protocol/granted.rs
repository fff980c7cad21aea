//! The leases that this control plane has granted, and what is known of the workers that hold them.

use std::collections::BTreeMap;
use std::time::Duration;

use curfew_core::WorkerId;

use super::known_log::KnownLog;
use super::lease_times::LeaseTimes;
use crate::log::{Epoch, LogPosition};

/// The most workers that may hold a lease at once. A further worker gets no lease, and asks for each request instead.
/// No worker is forgotten before its lease is over: a forgotten lease would be in the way of logouts without being
/// known.
const MAX_WORKERS: usize = 65_536;

/// What a worker has acknowledged: that it holds everything up to a position, or that it will never decide again. It
/// stays true for ever; see [`curfew_core::wire::FeedRequest::worker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ack {
    /// The worker.
    pub worker: WorkerId,
    /// What it holds; `None` if it has left.
    pub held: Option<LogPosition>,
}

/// The granted leases, by worker, and the log that they were granted from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Granted {
    times: LeaseTimes,
    log: KnownLog,
    holders: BTreeMap<WorkerId, Holder>,
}

/// A worker with a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Holder {
    epoch: Epoch,
    /// The worker's copy holds everything up to this seq whenever the worker admits by a lease from here.
    covered: u64,
    /// The time by which all its leases from here are over.
    until: Duration,
    /// The highest seq that the other control planes were told the worker holds.
    told: u64,
}

impl Holder {
    fn covers(&self, position: LogPosition) -> bool {
        self.has_left() || (self.epoch == position.epoch && self.covered >= position.seq)
    }

    fn covered_by(&self, ack: Ack) -> Option<u64> {
        match ack.held {
            None => Some(u64::MAX),
            Some(held) => (held.epoch == self.epoch).then_some(held.seq),
        }
    }

    /// True if it will never decide again.
    fn has_left(&self) -> bool {
        self.covered == u64::MAX
    }
}

impl Granted {
    pub(super) fn new(times: LeaseTimes) -> Self {
        Self { times, log: KnownLog::default(), holders: BTreeMap::new() }
    }

    /// See [`KnownLog::learn`].
    pub(super) fn learn(&mut self, head: LogPosition, began: Duration, now: Duration) -> bool {
        self.log.learn(head, began, now)
    }

    /// See [`KnownLog::distrust`].
    pub(super) fn distrust(&mut self, at: Duration) {
        self.log.distrust(at);
    }

    /// What is known of the log.
    pub(super) fn log(&self) -> &KnownLog {
        &self.log
    }

    /// Records a lease from a usable reading that began at `began` and showed `head`. False if the worker may get none: there
    /// is no room, it still holds a lease from another epoch, or it has said that it will never decide again.
    pub(super) fn grant(&mut self, worker: WorkerId, head: LogPosition, began: Duration, now: Duration) -> bool {
        let until = began.saturating_add(self.times.lease_over());
        let room = self.holders.len() < MAX_WORKERS;
        match self.holders.get_mut(&worker) {
            // The worker may still decide by an older lease, so `covered` stays that of the older lease.
            Some(holder) if holder.until > now => {
                let known = !holder.has_left() && holder.epoch == head.epoch;
                holder.until = if known { holder.until.max(until) } else { holder.until };
                known
            }
            known if known.is_some() || room => {
                self.holders.insert(worker, Holder { epoch: head.epoch, covered: head.seq, until, told: 0 });
                true
            }
            _ => false,
        }
    }

    /// Records what a worker has acknowledged.
    pub(super) fn acknowledged(&mut self, ack: Ack) {
        if let Some(holder) = self.holders.get_mut(&ack.worker)
            && let Some(covered) = holder.covered_by(ack)
        {
            holder.covered = holder.covered.max(covered);
        }
    }

    /// True if the other control planes are to be told of this, because they may have granted leases to this worker, too.
    /// Notes that they were told.
    pub(super) fn is_untold(&mut self, ack: Ack) -> bool {
        let Some(holder) = self.holders.get_mut(&ack.worker) else { return true };
        let news = holder.covered_by(ack).is_some_and(|covered| covered > holder.told);
        holder.told = holder.covered_by(ack).unwrap_or(0).max(holder.told);
        news
    }

    /// The position up to which no lease from here is in the way at this moment. It must not leave this control plane
    /// before [`Self::promise`]: until then leases may still be granted from readings that show less.
    pub(super) fn clear(&self, now: Duration) -> Option<LogPosition> {
        let LogPosition { epoch, seq } = self.log.head()?;
        let mut live = self.holders.values().filter(|holder| holder.until > now && !holder.has_left());
        let seq = live.try_fold(seq, |seq, holder| (holder.epoch == epoch).then_some(seq.min(holder.covered)))?;
        Some(LogPosition { epoch, seq })
    }

    /// From now on no lease is granted that does not cover `position`, which is clear.
    pub(super) fn promise(&mut self, position: LogPosition) {
        self.log.promise(position);
    }

    /// When the last lease that does not cover `position` is over; `None` if there is none.
    pub(super) fn over_for(&self, position: LogPosition, now: Duration) -> Option<Duration> {
        let holders = self.holders.values().filter(|holder| holder.until > now && !holder.covers(position));
        holders.map(|holder| holder.until).max()
    }

    /// The position up to which no lease from here is in the way, now or later.
    pub(super) fn confirm(&mut self, now: Duration) -> Option<LogPosition> {
        let clear = self.clear(now)?;
        self.promise(clear);
        Some(clear)
    }

    /// How many workers with a lease hold everything up to `position`, and how many have a lease at all.
    pub(super) fn count(&self, position: LogPosition, now: Duration) -> (usize, usize) {
        let live = self.holders.values().filter(|holder| holder.until > now && !holder.has_left());
        live.fold((0, 0), |(hold, all), holder| (hold + usize::from(holder.covers(position)), all + 1))
    }

    /// Forgets the leases that are over.
    pub(super) fn sweep(&mut self, now: Duration) {
        self.holders.retain(|_, holder| holder.until > now);
    }

    /// True if no lease is left.
    pub(super) fn all_over(&self, now: Duration) -> bool {
        self.holders.values().all(|holder| holder.until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Epoch = Epoch::from_bytes([1; 16]);
    const NEW: Epoch = Epoch::from_bytes([2; 16]);

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    const fn head(epoch: Epoch, seq: u64) -> LogPosition {
        LogPosition { epoch, seq }
    }

    const fn worker(id: u8) -> WorkerId {
        WorkerId::from_bytes([id; 16])
    }

    impl Granted {
        /// True if no lease is in the way of `head`. Then this is also promised.
        fn clear_for(&mut self, head: LogPosition, now: Duration) -> bool {
            let clear = self.clear(now).is_some_and(|clear| clear.covers(head));
            if clear {
                self.promise(head);
            }
            clear
        }
    }

    /// A lease lasts 1000 ms, by this clock and by the worker's.
    fn granted() -> Granted {
        let mut granted = Granted::new(LeaseTimes { lease: ms(1000), hold: ms(300), drift_ppm: 0 });
        assert!(granted.learn(head(OLD, 5), ms(0), ms(0)));
        granted
    }

    #[test]
    fn a_lease_is_in_the_way_until_it_is_acknowledged_or_over() {
        let mut granted = granted();
        assert!(granted.grant(worker(1), head(OLD, 5), ms(0), ms(10)));
        assert!(granted.clear_for(head(OLD, 5), ms(10)));
        assert!(granted.learn(head(OLD, 6), ms(20), ms(20)));
        assert_eq!(granted.over_for(head(OLD, 6), ms(20)), Some(ms(1000)));
        assert_eq!(granted.confirm(ms(20)), Some(head(OLD, 5)));
        assert!(granted.clear_for(head(OLD, 6), ms(1000)));
        granted.acknowledged(Ack { worker: worker(1), held: Some(head(OLD, 6)) });
        assert!(granted.clear_for(head(OLD, 6), ms(30)));
        assert_eq!(granted.confirm(ms(30)), Some(head(OLD, 6)));
    }

    #[test]
    fn a_second_lease_does_not_hide_the_first() {
        let mut granted = granted();
        granted.grant(worker(1), head(OLD, 5), ms(0), ms(0));
        granted.learn(head(OLD, 6), ms(100), ms(100));
        granted.grant(worker(1), head(OLD, 6), ms(100), ms(100));
        assert_eq!(granted.over_for(head(OLD, 6), ms(110)), Some(ms(1100)));
        // The second lease is granted after the first is over.
        granted.grant(worker(1), head(OLD, 6), ms(1100), ms(1100));
        assert!(granted.clear_for(head(OLD, 6), ms(1110)));
    }

    #[test]
    fn nothing_is_granted_from_a_reading_that_shows_less_than_was_promised() {
        let mut granted = granted();
        assert!(granted.learn(head(OLD, 4), ms(0), ms(10)), "no one was told anything");
        assert_eq!(granted.confirm(ms(10)), Some(head(OLD, 5)));
        assert!(!granted.learn(head(OLD, 4), ms(0), ms(10)));
        granted.learn(head(OLD, 7), ms(10), ms(20));
        assert!(granted.learn(head(OLD, 6), ms(10), ms(20)));
        assert!(granted.clear_for(head(OLD, 7), ms(20)));
        assert!(!granted.learn(head(OLD, 6), ms(10), ms(30)));
        assert!(!granted.clear_for(head(OLD, 8), ms(30)), "not known here yet: an older reading may be under way");
    }

    #[test]
    fn the_others_hear_of_each_acknowledgement_once() {
        let mut granted = granted();
        let ack = |seq| Ack { worker: worker(1), held: Some(head(OLD, seq)) };
        assert!(granted.is_untold(ack(5)), "the others may know this worker even if this control plane does not");
        granted.grant(worker(1), head(OLD, 6), ms(0), ms(0));
        assert!(granted.is_untold(ack(6)) && !granted.is_untold(ack(6)) && granted.is_untold(ack(7)));
        assert!(granted.is_untold(Ack { held: None, ..ack(0) }));
    }

    #[test]
    fn an_acknowledgement_of_another_history_counts_for_nothing() {
        let mut granted = granted();
        granted.grant(worker(1), head(OLD, 5), ms(0), ms(0));
        assert!(granted.learn(head(NEW, 1), ms(1), ms(10)));
        assert_eq!(granted.confirm(ms(10)), None);
        granted.acknowledged(Ack { worker: worker(1), held: Some(head(NEW, 1)) });
        assert!(!granted.clear_for(head(NEW, 1), ms(999)));
        assert!(!granted.grant(worker(1), head(NEW, 1), ms(10), ms(20)));
        assert_eq!(granted.confirm(ms(1010)), Some(head(NEW, 1)));
    }

    #[test]
    fn a_worker_that_has_left_is_no_longer_waited_for() {
        let mut granted = granted();
        granted.grant(worker(1), head(OLD, 5), ms(0), ms(0));
        granted.acknowledged(Ack { worker: worker(1), held: None });
        assert!(granted.learn(head(NEW, 1), ms(1), ms(10)));
        assert!(granted.clear_for(head(NEW, 1), ms(10)));
        assert_eq!(granted.confirm(ms(10)), Some(head(NEW, 1)));
    }

    #[test]
    fn acknowledgements_may_come_late_twice_or_from_unknown_workers() {
        let mut granted = granted();
        granted.grant(worker(1), head(OLD, 5), ms(0), ms(0));
        granted.learn(head(OLD, 7), ms(10), ms(10));
        let ack = |id, seq| Ack { worker: worker(id), held: Some(head(OLD, seq)) };
        for (id, seq) in [(2, 7), (1, 7), (1, 7), (1, 6)] {
            granted.acknowledged(ack(id, seq));
        }
        assert_eq!(granted.confirm(ms(20)), Some(head(OLD, 7)));
    }

    #[test]
    fn workers_are_forgotten_when_their_leases_are_over_and_not_for_want_of_room() {
        let mut granted = granted();
        let id = |number: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            WorkerId::from_bytes(bytes)
        };
        for number in 0..MAX_WORKERS {
            assert!(granted.grant(id(number), head(OLD, 5), ms(0), ms(0)));
        }
        assert!(!granted.grant(id(MAX_WORKERS), head(OLD, 5), ms(0), ms(0)));
        assert!(granted.grant(id(7), head(OLD, 5), ms(500), ms(500)));
        granted.sweep(ms(1000));
        assert_eq!(granted.holders.len(), 1);
        assert!(!granted.all_over(ms(1499)) && granted.all_over(ms(1500)));
    }
}
