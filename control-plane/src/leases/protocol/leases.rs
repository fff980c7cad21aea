//! The leases that this control plane has granted, and what is known of those who hold them.

use std::collections::BTreeMap;
use std::time::Duration;

use curfew_core::WorkerId;

use super::lease_times::LeaseTimes;
use crate::log::{Epoch, LogPosition};

/// Workers that may hold a lease at once. Whoever comes when that many do gets none and asks: none is forgotten before
/// its lease is over.
const MAX_WORKERS: usize = 65_536;

/// That a worker holds everything up to somewhere, or will never decide again. It stays true for ever; see
/// [`curfew_core::wire::FeedRequest::worker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ack {
    /// The worker.
    pub worker: WorkerId,
    /// What it holds; `None` if it has left.
    pub held: Option<LogPosition>,
}

/// Leases by worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leases {
    terms: LeaseTimes,
    known: Option<Known>,
    /// When the latest reading began that showed an epoch which another one has replaced since.
    replaced: Option<Duration>,
    rows: BTreeMap<WorkerId, Row>,
}

/// What this control plane knows of the log, and has said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Known {
    /// The newest head.
    head: LogPosition,
    /// When the latest reading or commit began that showed this epoch, on the local clock.
    began: Duration,
    /// When the last reading or commit ended that showed this epoch, on the local clock.
    at: Duration,
    /// Somebody was told that no lease from here is in the way up to this seq. From then on none may be granted from a
    /// reading that shows less, such as one that was under way meanwhile.
    floor: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    epoch: Epoch,
    /// Whatever the worker admits by a lease from here, it admits with everything up to this seq in sight.
    covered: u64,
    /// By then all its leases from here are over.
    until: Duration,
    /// What the other control planes were told of it.
    told: u64,
}

impl Row {
    fn covers(&self, head: LogPosition) -> bool {
        self.has_left() || (self.epoch == head.epoch && self.covered >= head.seq)
    }

    fn covered_by(&self, ack: Ack) -> Option<u64> {
        match ack.held {
            None => Some(u64::MAX),
            Some(head) => (head.epoch == self.epoch).then_some(head.seq),
        }
    }

    /// It will never decide again.
    fn has_left(&self) -> bool {
        self.covered == u64::MAX
    }
}

impl Leases {
    pub(super) fn new(terms: LeaseTimes) -> Self {
        Self { terms, known: None, replaced: None, rows: BTreeMap::new() }
    }

    /// A reading of the log, or a commit, that began at `began` has shown `head`. `false`: leases may not be granted from it.
    pub(super) fn learn(&mut self, head: LogPosition, began: Duration, now: Duration) -> bool {
        let usable = match self.known {
            None => Known { head, began, at: now, floor: 0 },
            Some(known) if known.head.epoch == head.epoch && head.seq < known.floor => return false,
            Some(known) if known.head.covers(head) => Known { began: began.max(known.began), at: now, ..known },
            Some(known) if head.covers(known.head) => Known { head, began: began.max(known.began), at: now, ..known },
            // Epochs have no order. That one has taken the other's place is certain only from a reading that began later;
            // at the same reading of the clock is not later.
            Some(known) if began > known.at => {
                self.replaced = self.replaced.max(Some(known.began));
                Known { head, began, at: now, floor: 0 }
            }
            Some(_) => return false,
        };
        self.known = Some(usable);
        true
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.known.map(|known| known.head.epoch)
    }

    /// True if another epoch has replaced this one since a commit in this one had returned, even if this one has come back:
    /// a reading that began after the return showed the other.
    pub(super) fn is_superseded(&self, epoch: Epoch, returned: Duration) -> bool {
        let shown = match self.known {
            Some(known) if known.head.epoch != epoch => Some(known.began),
            _ => self.replaced,
        };
        shown.is_some_and(|began| began >= returned)
    }

    /// Records a lease from a reading that began at `began` and showed `head` and may be granted from; `false` if there is no
    /// room.
    pub(super) fn grant(&mut self, worker: WorkerId, head: LogPosition, began: Duration, now: Duration) -> bool {
        let until = began.saturating_add(self.terms.lease_over());
        let room = self.rows.len() < MAX_WORKERS;
        match self.rows.get_mut(&worker) {
            // An older lease may still be what it decides by.
            Some(row) if row.until > now => {
                let known = row.has_left() || row.epoch == head.epoch;
                row.until = if known { row.until.max(until) } else { row.until };
                known
            }
            known if known.is_some() || room => {
                self.rows.insert(worker, Row { epoch: head.epoch, covered: head.seq, until, told: 0 });
                true
            }
            _ => false,
        }
    }

    /// Notes what is known of a worker.
    pub(super) fn acknowledged(&mut self, ack: Ack) {
        if let Some(row) = self.rows.get_mut(&ack.worker)
            && let Some(covered) = row.covered_by(ack)
        {
            row.covered = row.covered.max(covered);
        }
    }

    /// Whether the other control planes should hear of this; they may have granted leases to this worker too.
    pub(super) fn is_untold(&mut self, ack: Ack) -> bool {
        let Some(row) = self.rows.get_mut(&ack.worker) else { return true };
        let news = row.covered_by(ack).is_some_and(|covered| covered > row.told);
        row.told = row.covered_by(ack).unwrap_or(0).max(row.told);
        news
    }

    /// Up to where no lease from here is in the way at this moment. Nothing may be told to anybody of it before
    /// [`Self::promise`]: leases may yet be granted from readings that show less.
    pub(super) fn clear(&self, now: Duration) -> Option<LogPosition> {
        let LogPosition { epoch, seq } = self.known?.head;
        let mut live = self.rows.values().filter(|row| row.until > now && !row.has_left());
        let seq = live.try_fold(seq, |seq, row| (row.epoch == epoch).then_some(seq.min(row.covered)))?;
        Some(LogPosition { epoch, seq })
    }

    /// From now on no lease is granted that does not cover this, which is clear.
    pub(super) fn promise(&mut self, head: LogPosition) {
        let known = self.known.filter(|known| known.head.epoch == head.epoch);
        self.known = known.map(|known| Known { floor: known.floor.max(head.seq), ..known }).or(self.known);
    }

    /// When the last lease that does not cover `head` is over; `None` if it is.
    pub(super) fn over_for(&self, head: LogPosition, now: Duration) -> Option<Duration> {
        let rows = self.rows.values().filter(|row| row.until > now && !row.covers(head));
        rows.map(|row| row.until).max()
    }

    /// Up to where no lease from here is in the way, now or later.
    pub(super) fn confirm(&mut self, now: Duration) -> Option<LogPosition> {
        let clear = self.clear(now)?;
        self.promise(clear);
        Some(clear)
    }

    /// How many workers with a lease hold everything up to `head`, and how many have one at all.
    pub(super) fn count(&self, head: LogPosition, now: Duration) -> (usize, usize) {
        let live = self.rows.values().filter(|row| row.until > now && !row.has_left());
        live.fold((0, 0), |(hold, all), row| (hold + usize::from(row.covers(head)), all + 1))
    }

    /// Forgets the leases that are over.
    pub(super) fn sweep(&mut self, now: Duration) {
        self.rows.retain(|_, row| row.until > now);
    }

    /// Whether no lease is left.
    pub(super) fn all_over(&self, now: Duration) -> bool {
        self.rows.values().all(|row| row.until <= now)
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

    impl Leases {
        /// Whether no lease is in the way of `head`; if so, somebody is told.
        fn clear_for(&mut self, head: LogPosition, now: Duration) -> bool {
            let clear = self.clear(now).is_some_and(|clear| clear.covers(head));
            if clear {
                self.promise(head);
            }
            clear
        }
    }

    /// A lease lasts 1000 ms for us, and 1000 for the worker.
    fn leases() -> Leases {
        let mut leases = Leases::new(LeaseTimes { lease: ms(1000), hold: ms(300), drift_ppm: 0 });
        assert!(leases.learn(head(OLD, 5), ms(0), ms(0)));
        leases
    }

    #[test]
    fn a_lease_is_in_the_way_until_it_is_acknowledged_or_over() {
        let mut leases = leases();
        assert!(leases.grant(worker(1), head(OLD, 5), ms(0), ms(10)));
        assert!(leases.clear_for(head(OLD, 5), ms(10)));
        assert!(leases.learn(head(OLD, 6), ms(20), ms(20)));
        assert_eq!(leases.over_for(head(OLD, 6), ms(20)), Some(ms(1000)));
        assert_eq!(leases.confirm(ms(20)), Some(head(OLD, 5)));
        assert!(leases.clear_for(head(OLD, 6), ms(1000)));
        leases.acknowledged(Ack { worker: worker(1), held: Some(head(OLD, 6)) });
        assert!(leases.clear_for(head(OLD, 6), ms(30)));
        assert_eq!(leases.confirm(ms(30)), Some(head(OLD, 6)));
    }

    #[test]
    fn a_second_lease_does_not_hide_the_first() {
        let mut leases = leases();
        leases.grant(worker(1), head(OLD, 5), ms(0), ms(0));
        leases.learn(head(OLD, 6), ms(100), ms(100));
        leases.grant(worker(1), head(OLD, 6), ms(100), ms(100));
        assert_eq!(leases.over_for(head(OLD, 6), ms(110)), Some(ms(1100)));
        // Granted anew when the first was over.
        leases.grant(worker(1), head(OLD, 6), ms(1100), ms(1100));
        assert!(leases.clear_for(head(OLD, 6), ms(1110)));
    }

    #[test]
    fn nothing_is_granted_from_a_reading_older_than_what_somebody_was_told() {
        let mut leases = leases();
        assert!(leases.learn(head(OLD, 4), ms(0), ms(10)), "nobody was told anything");
        assert_eq!(leases.confirm(ms(10)), Some(head(OLD, 5)));
        assert!(!leases.learn(head(OLD, 4), ms(0), ms(10)));
        leases.learn(head(OLD, 7), ms(10), ms(20));
        assert!(leases.learn(head(OLD, 6), ms(10), ms(20)));
        assert!(leases.clear_for(head(OLD, 7), ms(20)));
        assert!(!leases.learn(head(OLD, 6), ms(10), ms(30)));
        assert!(!leases.clear_for(head(OLD, 8), ms(30)), "not known here yet: an older reading may be under way");
    }

    #[test]
    fn which_of_two_histories_is_newer_is_told_by_a_reading_that_began_after_the_other_was_known() {
        let mut leases = leases();
        leases.learn(head(OLD, 5), ms(0), ms(10));
        assert!(!leases.learn(head(NEW, 1), ms(10), ms(20)));
        assert!(leases.learn(head(NEW, 1), ms(11), ms(20)));
        assert!(!leases.learn(head(OLD, 9), ms(15), ms(30)));
    }

    #[test]
    fn the_others_hear_of_each_acknowledgement_once() {
        let mut leases = leases();
        let ack = |seq| Ack { worker: worker(1), held: Some(head(OLD, seq)) };
        assert!(leases.is_untold(ack(5)), "they may know this worker, even if it is a stranger here");
        leases.grant(worker(1), head(OLD, 6), ms(0), ms(0));
        assert!(leases.is_untold(ack(6)) && !leases.is_untold(ack(6)) && leases.is_untold(ack(7)));
        assert!(leases.is_untold(Ack { held: None, ..ack(0) }));
    }

    #[test]
    fn of_another_history_nothing_follows() {
        let mut leases = leases();
        leases.grant(worker(1), head(OLD, 5), ms(0), ms(0));
        assert!(leases.learn(head(NEW, 1), ms(1), ms(10)));
        assert_eq!(leases.confirm(ms(10)), None);
        leases.acknowledged(Ack { worker: worker(1), held: Some(head(NEW, 1)) });
        assert!(!leases.clear_for(head(NEW, 1), ms(999)));
        assert!(!leases.grant(worker(1), head(NEW, 1), ms(10), ms(20)));
        assert_eq!(leases.confirm(ms(1010)), Some(head(NEW, 1)));
    }

    #[test]
    fn who_has_left_is_waited_for_no_more() {
        let mut leases = leases();
        leases.grant(worker(1), head(OLD, 5), ms(0), ms(0));
        leases.acknowledged(Ack { worker: worker(1), held: None });
        assert!(leases.learn(head(NEW, 1), ms(1), ms(10)));
        assert!(leases.clear_for(head(NEW, 1), ms(10)));
        assert_eq!(leases.confirm(ms(10)), Some(head(NEW, 1)));
    }

    #[test]
    fn acknowledgements_come_late_twice_and_from_strangers() {
        let mut leases = leases();
        leases.grant(worker(1), head(OLD, 5), ms(0), ms(0));
        leases.learn(head(OLD, 7), ms(10), ms(10));
        let ack = |id, seq| Ack { worker: worker(id), held: Some(head(OLD, seq)) };
        for (id, seq) in [(2, 7), (1, 7), (1, 7), (1, 6)] {
            leases.acknowledged(ack(id, seq));
        }
        assert_eq!(leases.confirm(ms(20)), Some(head(OLD, 7)));
    }

    #[test]
    fn rows_go_when_their_leases_are_over_and_not_for_want_of_room() {
        let mut leases = leases();
        let id = |number: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            WorkerId::from_bytes(bytes)
        };
        for number in 0..MAX_WORKERS {
            assert!(leases.grant(id(number), head(OLD, 5), ms(0), ms(0)));
        }
        assert!(!leases.grant(id(MAX_WORKERS), head(OLD, 5), ms(0), ms(0)));
        assert!(leases.grant(id(7), head(OLD, 5), ms(500), ms(500)));
        leases.sweep(ms(1000));
        assert_eq!(leases.rows.len(), 1);
        assert!(!leases.all_over(ms(1499)) && leases.all_over(ms(1500)));
    }
}
