//! Decides whether the own row is to be written or removed. Pure; the task in `own_row` does it.

use std::time::Duration;

/// How long the row stays after the last poll.
const KEPT_AFTER_POLL: Duration = Duration::from_secs(30);

/// The state of the own row that the barrier does not keep.
#[derive(Debug, Default)]
pub(in crate::leases) struct RowState {
    /// More is confirmed than the row says.
    is_behind: bool,
    /// The highest beat at which the row was removed, or its removal was tried.
    retired: u64,
    last_poll: Option<Duration>,
}

impl RowState {
    /// Records a poll. True if it is the first one.
    pub(in crate::leases) fn polled(&mut self, now: Duration) -> bool {
        self.last_poll.replace(now).is_none()
    }

    /// True if workers have polled recently.
    pub(in crate::leases) fn is_polled(&self, now: Duration) -> bool {
        self.last_poll.is_some_and(|at| now.saturating_sub(at) < KEPT_AFTER_POLL)
    }

    /// Records that more is confirmed than the row says.
    pub(in crate::leases) fn falls_behind(&mut self) {
        self.is_behind = true;
    }

    /// True if more is confirmed than the row says. The caller has to write the row then.
    pub(in crate::leases) fn catch_up(&mut self) -> bool {
        std::mem::take(&mut self.is_behind)
    }

    /// Records that the row is about to be removed at this beat.
    pub(in crate::leases) fn retire(&mut self, beat: u64) {
        self.retired = self.retired.max(beat);
    }

    /// The beat that a reading showed, unless the row may be gone by now: then nothing may be granted from the reading.
    pub(in crate::leases) fn unless_retired(&self, beat: Option<u64>) -> Option<u64> {
        beat.filter(|beat| *beat > self.retired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_may_be_gone_vouches_for_nothing() {
        let mut row = RowState::default();
        assert_eq!((row.unless_retired(Some(1)), row.unless_retired(None)), (Some(1), None));
        row.retire(3);
        row.retire(2);
        assert_eq!((row.unless_retired(Some(3)), row.unless_retired(Some(4))), (None, Some(4)));
    }

    #[test]
    fn the_row_is_kept_for_a_while_after_the_last_poll() {
        let mut row = RowState::default();
        assert!(!row.is_polled(Duration::ZERO));
        assert!(row.polled(Duration::from_secs(5)) && !row.polled(Duration::from_secs(10)));
        assert!(row.is_polled(Duration::from_secs(39)) && !row.is_polled(Duration::from_secs(40)));
    }

    #[test]
    fn a_confirmation_that_the_row_lacks_is_written_once() {
        let mut row = RowState::default();
        assert!(!row.catch_up());
        row.falls_behind();
        assert!(row.catch_up() && !row.catch_up());
    }
}
