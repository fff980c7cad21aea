//! What other control planes have committed, and which confirmation they were told last. Pure.
//!
//! A logout at another control plane waits until this one confirms its position. So this one has to notice the commits
//! of others, and to tell them when it confirms these. If no other control plane commits, nothing is sent.

use crate::log::LogPosition;

/// What other control planes have committed, and what they were told.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The newest commit of another control plane, until it is confirmed.
    foreign: Option<LogPosition>,
    /// The position up to which all commits of others are known: each is covered by `foreign`, or was confirmed.
    surveyed: Option<LogPosition>,
    /// The confirmation that the others were told last.
    told: Option<LogPosition>,
}

impl Survey {
    /// Records the log's head. If `own_from` is given, this process has committed what follows it. True if this shows a
    /// commit of another control plane that was not known before.
    pub(super) fn head(&mut self, head: LogPosition, own_from: Option<LogPosition>) -> bool {
        let unknown = |to: LogPosition| !self.surveyed.is_some_and(|known| known.covers(to));
        let foreign = Some(own_from.unwrap_or(head)).filter(|to| to.seq > 0 && unknown(*to));
        if unknown(head) {
            self.surveyed = Some(head);
        }
        if foreign.is_some() {
            self.foreign = foreign;
        }
        foreign.is_some()
    }

    /// True if another control plane may wait for a confirmation.
    pub(super) fn is_awaited(&self) -> bool {
        self.foreign.is_some()
    }

    /// Records that this control plane confirms everything up to `confirmed`. True if the others are to be told of it.
    /// While they keep committing, `confirmed` may never cover all of their commits.
    pub(super) fn confirms(&mut self, confirmed: LogPosition) -> bool {
        if self.foreign.is_some_and(|foreign| confirmed.covers(foreign)) {
            self.foreign = None;
        }
        let news = !self.told.is_some_and(|told| told.covers(confirmed));
        if news {
            self.told = Some(confirmed);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use crate::log::Epoch;

    use super::*;

    fn head(epoch: u8, seq: u64) -> LogPosition {
        LogPosition { epoch: Epoch::from_bytes([epoch; 16]), seq }
    }

    #[test]
    fn commits_of_others_show_between_two_own_commits() {
        let mut survey = Survey::default();
        assert!(!survey.head(head(1, 1), Some(head(1, 0))), "the log was empty");
        assert!(!survey.head(head(1, 3), Some(head(1, 1))));
        assert!(survey.head(head(1, 5), Some(head(1, 4))), "another process has committed 4");
        assert_eq!(survey.foreign, Some(head(1, 4)));
        assert!(!survey.head(head(1, 5), None), "a reading that shows nothing new");
        assert!(survey.head(head(1, 7), None));
        assert!(!survey.head(head(1, 7), Some(head(1, 6))), "the reading came before the word of the own commit");
        assert_eq!(survey.foreign, Some(head(1, 7)));
        assert!(survey.head(head(2, 3), Some(head(2, 2))), "of a new history nothing is known");
        assert_eq!(survey.foreign, Some(head(2, 2)));
    }

    #[test]
    fn others_are_told_of_a_confirmation_once() {
        let mut survey = Survey::default();
        survey.head(head(1, 5), None);
        assert!(survey.is_awaited());
        assert!(survey.confirms(head(1, 4)), "a part of it");
        assert!(survey.is_awaited() && !survey.confirms(head(1, 4)));
        assert!(survey.confirms(head(1, 6)) && !survey.is_awaited());
    }
}
