//! How far the log has been copied to Redis. Pure.

use crate::log::LogPosition;

/// The newest head that this process knows, and the seq up to which the log has been copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    head: LogPosition,
    through: u64,
}

impl Progress {
    /// Nothing has been copied.
    pub(super) const fn new(head: LogPosition) -> Self {
        Self { head, through: 0 }
    }

    /// The newest head.
    pub(super) const fn head(&self) -> LogPosition {
        self.head
    }

    /// Everything up to this seq has been copied.
    pub(super) const fn through(&self) -> u64 {
        self.through
    }

    /// How many entries have not been copied yet.
    pub(super) const fn pending(&self) -> u64 {
        self.head.seq.saturating_sub(self.through)
    }

    /// Records a head that was read or committed. Another epoch is another log.
    pub(super) fn observe(&mut self, head: LogPosition) {
        if head.epoch != self.head.epoch {
            *self = Self::new(head);
        } else {
            self.head.seq = self.head.seq.max(head.seq);
        }
    }

    /// Records that the entries after `from` and up to `to` were copied. If an entry before them is missing, nothing
    /// changes: the copy goes on from the gap.
    pub(super) fn copied(&mut self, head: LogPosition, from: u64, to: u64) {
        if head.epoch == self.head.epoch && from <= self.through {
            self.through = self.through.max(to);
        }
    }

    /// Continues from the seq that the marker of the same log names.
    pub(super) fn resume(&mut self, through: u64) {
        self.through = through.min(self.head.seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Epoch;

    fn head(epoch: u8, seq: u64) -> LogPosition {
        LogPosition { epoch: Epoch::from_bytes([epoch; 16]), seq }
    }

    #[test]
    fn a_gap_is_not_passed_over() {
        let mut progress = Progress::new(head(1, 10));
        progress.copied(head(1, 10), 0, 10);
        // 11 and 12 could not be written; 13 could.
        progress.observe(head(1, 13));
        progress.copied(head(1, 13), 12, 13);
        assert_eq!((progress.through(), progress.pending()), (10, 3));
        progress.copied(head(1, 13), 10, 13);
        assert_eq!((progress.through(), progress.pending()), (13, 0));
    }

    #[test]
    fn another_epoch_is_copied_from_its_beginning() {
        let mut progress = Progress::new(head(1, 10));
        progress.copied(head(1, 10), 0, 10);
        progress.observe(head(2, 4));
        assert_eq!((progress.head(), progress.through()), (head(2, 4), 0));
        progress.copied(head(1, 11), 0, 11);
        assert_eq!(progress.through(), 0);
    }

    #[test]
    fn an_older_head_that_arrives_late_changes_nothing() {
        let mut progress = Progress::new(head(1, 10));
        progress.observe(head(1, 9));
        assert_eq!(progress.head(), head(1, 10));
    }

    #[test]
    fn a_marker_never_says_more_than_there_is() {
        let mut progress = Progress::new(head(1, 10));
        progress.resume(12);
        assert_eq!(progress.through(), 10);
        progress.resume(0);
        assert_eq!(progress.pending(), 10);
    }
}
