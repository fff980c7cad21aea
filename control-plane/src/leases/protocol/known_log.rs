//! What this control plane knows of the log, and what it has promised about its leases. All times are by the local
//! clock.

use std::time::Duration;

use crate::log::{Epoch, LogPosition};

/// The log, as readings and commits have shown it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct KnownLog {
    known: Option<Known>,
    /// When the latest reading or commit began that showed an epoch which another one has replaced since, or when the database
    /// was last found to be one that may not be believed.
    replaced: Option<Duration>,
}

/// The present epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Known {
    /// The newest head.
    head: LogPosition,
    /// When the latest reading or commit that showed this epoch began.
    began: Duration,
    /// When the last reading or commit that showed this epoch ended.
    ended: Duration,
    /// The seq up to which this control plane has promised that no lease from here is in the way. After the promise no
    /// lease may be granted from a reading that shows less, such as a reading that was under way at that moment.
    floor: u64,
}

impl KnownLog {
    /// Records that a reading of the log, or a commit, that began at `began` has shown `head`. False if no lease may be
    /// granted from it.
    pub(super) fn learn(&mut self, head: LogPosition, began: Duration, now: Duration) -> bool {
        let usable = match self.known {
            None => Known { head, began, ended: now, floor: 0 },
            Some(known) if known.head.epoch == head.epoch && head.seq < known.floor => return false,
            Some(known) if known.head.covers(head) => Known { began: began.max(known.began), ended: now, ..known },
            Some(known) if head.covers(known.head) => {
                Known { head, began: began.max(known.began), ended: now, ..known }
            }
            // Epochs have no order. It is certain that this epoch has replaced the known one only if the reading began after
            // the known one was last shown. Equal times are not enough.
            Some(known) if began > known.ended => {
                self.replaced = self.replaced.max(Some(known.began));
                Known { head, began, ended: now, floor: 0 }
            }
            Some(_) => return false,
        };
        self.known = Some(usable);
        true
    }

    /// The newest head.
    pub(super) fn head(&self) -> Option<LogPosition> {
        self.known.map(|known| known.head)
    }

    /// True if the log had another epoch after a commit to this epoch had returned, even if this epoch has come back
    /// since: a reading that began after the return has shown the other epoch.
    pub(super) fn is_superseded(&self, epoch: Epoch, returned: Duration) -> bool {
        let other = self.known.filter(|known| known.head.epoch != epoch).map(|known| known.began);
        other.max(self.replaced).is_some_and(|began| began >= returned)
    }

    /// True if this epoch was there after a commit to it had returned: a reading or a commit that began after the return has
    /// shown it.
    pub(super) fn is_shown_since(&self, epoch: Epoch, returned: Duration) -> bool {
        self.known.is_some_and(|known| known.head.epoch == epoch && known.began >= returned)
    }

    /// Records that at this time the database was found to be one that may not be believed. It may be of another history.
    pub(super) fn distrust(&mut self, at: Duration) {
        self.replaced = self.replaced.max(Some(at));
    }

    /// From now on a reading that shows less than `position` may not be used.
    pub(super) fn promise(&mut self, position: LogPosition) {
        if let Some(known) = self.known.as_mut().filter(|known| known.head.epoch == position.epoch) {
            known.floor = known.floor.max(position.seq);
        }
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

    #[test]
    fn a_history_is_newer_if_its_reading_began_after_the_other_was_known() {
        let mut log = KnownLog::default();
        log.learn(head(OLD, 5), ms(0), ms(10));
        assert!(!log.learn(head(NEW, 1), ms(10), ms(20)));
        assert!(log.learn(head(NEW, 1), ms(11), ms(20)));
        assert!(!log.learn(head(OLD, 9), ms(15), ms(30)));
    }

    #[test]
    fn a_commit_is_superseded_by_another_history_that_was_read_after_it() {
        let mut log = KnownLog::default();
        assert!(!log.is_superseded(OLD, ms(0)), "nothing is known");
        log.learn(head(OLD, 5), ms(0), ms(10));
        log.learn(head(OLD, 6), ms(20), ms(30));
        assert!(!log.is_superseded(OLD, ms(15)) && !log.is_superseded(OLD, ms(40)));
        assert!(log.is_superseded(NEW, ms(15)), "the new history was replaced by the old one");
        assert!(!log.is_superseded(NEW, ms(25)), "the commit may be newer than what is known");
        log.learn(head(NEW, 1), ms(50), ms(60));
        assert!(log.is_superseded(OLD, ms(50)) && !log.is_superseded(OLD, ms(51)));
        assert!(
            log.is_superseded(NEW, ms(20)) && !log.is_superseded(NEW, ms(21)),
            "the old history was there until then"
        );
        // The old one comes back.
        log.learn(head(OLD, 6), ms(70), ms(80));
        assert!(log.is_superseded(OLD, ms(50)) && !log.is_superseded(OLD, ms(51)));
    }

    #[test]
    fn a_commit_is_shown_by_what_began_after_its_return() {
        let mut log = KnownLog::default();
        assert!(!log.is_shown_since(OLD, ms(0)));
        log.learn(head(OLD, 5), ms(20), ms(30));
        assert!(log.is_shown_since(OLD, ms(20)) && !log.is_shown_since(OLD, ms(21)));
        assert!(!log.is_shown_since(NEW, ms(20)));
    }

    #[test]
    fn what_was_committed_before_the_database_was_distrusted_may_be_lost() {
        let mut log = KnownLog::default();
        log.learn(head(OLD, 5), ms(0), ms(10));
        log.distrust(ms(20));
        assert!(log.is_superseded(OLD, ms(20)) && !log.is_superseded(OLD, ms(21)));
    }
}
