//! Whether the database may be believed. No I/O.
//!
//! A server that is no longer the primary, a restored copy, or a log that went back would answer "active" for tokens
//! that were logged out. Every read and every transaction carries a [`History`], which shows such a change. The first
//! of them that notices it stops all reads of this process at once and wakes the watch ([`super::watch`]).

#[cfg(test)]
mod worlds;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tracing::error;

use super::identity::Identity;
use crate::log::{Epoch, LogPosition};

/// Why a database is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Distrust {
    /// The server takes no writes: it is a standby of another server, and may lag behind it.
    #[error("the server is read-only or a standby, as replicas are: name the primary")]
    Follows,
    /// This is not the place where the epoch was made.
    #[error("this is another server or a restored copy, not taken over yet")]
    Elsewhere,
    /// The server has started again since the epoch was made, and may have lost commits that it had shown.
    #[error("the server has started again, and its log is not taken over yet")]
    StartedAgain,
    /// The log is shorter than it was.
    #[error("the log of revocations went back, and is not taken over yet")]
    WentBack,
}

/// Nothing is read, because the database is not believed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the database is not trusted at the moment; the watch looks at it again each second")]
pub(crate) struct Fenced;

impl From<Fenced> for sqlx::Error {
    fn from(fenced: Fenced) -> Self {
        Self::Configuration(fenced.into())
    }
}

impl Distrust {
    /// True if this error says that the log went back, or that its epoch has ended.
    pub(crate) fn is_behind(error: &sqlx::Error) -> bool {
        let sqlx::Error::Configuration(cause) = error else { return false };
        cause.downcast_ref() == Some(&Self::WentBack)
    }
}

impl From<Distrust> for sqlx::Error {
    fn from(distrust: Distrust) -> Self {
        Self::Configuration(distrust.into())
    }
}

/// The head of the log, and where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) head: LogPosition,
    /// True if the server takes no writes.
    pub(crate) follows: bool,
    /// The place where the epoch was made.
    pub(crate) known: Identity,
    /// The place where the history is now.
    pub(crate) seen: Identity,
}

impl History {
    /// Whether a reader that had `seen` this much before it asked may read this history.
    pub(crate) fn judge(&self, seen: &Seen) -> Result<(), Distrust> {
        if self.follows {
            return Err(Distrust::Follows);
        }
        if self.known.is_an_earlier_run_of(&self.seen) {
            return Err(Distrust::StartedAgain);
        }
        if self.known.contradicts(&self.seen) {
            return Err(Distrust::Elsewhere);
        }
        if self.went_back(seen) { Err(Distrust::WentBack) } else { Ok(()) }
    }

    /// True if the log is shorter than it was seen in the same epoch, or if its epoch has ended: a later read never
    /// shows an older head. An old primary that answers again lacks the logouts that went to the new primary.
    pub(crate) fn went_back(&self, seen: &Seen) -> bool {
        let shorter = |newest: LogPosition| newest.epoch == self.head.epoch && newest.seq > self.head.seq;
        seen.newest.is_some_and(shorter) || seen.ended.contains(&self.head.epoch)
    }
}

/// What has been seen of the database. It is the measure for later reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    newest: Option<LogPosition>,
    /// The epochs that have ended. The latest is the last.
    ended: Vec<Epoch>,
}

/// How many ended epochs are remembered.
const MOST_ENDED: usize = 32;

impl Seen {
    fn epoch(&self) -> Option<Epoch> {
        self.newest.map(|newest| newest.epoch)
    }

    fn end(&mut self, epoch: Epoch) {
        if self.ended.len() >= MOST_ENDED {
            self.ended.remove(0);
        }
        self.ended.push(epoch);
    }
}

/// What this process knows about its database.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    fenced: AtomicBool,
    /// True if operators were told that reads are stopped.
    told: AtomicBool,
    /// How often something was distrusted, while reads were stopped or not.
    falls: Mutex<u64>,
    distrusts: watch::Sender<u64>,
    /// The heads that were read or committed.
    seen: Mutex<Seen>,
    alarm: Notify,
}

impl Trust {
    /// What has been seen. A caller asks for it before it sends a statement, and judges the answer by it.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Judges an answer by what had been `seen` before it was asked for, and records the head of one that is believed.
    pub(crate) fn weigh(&self, seen: &Seen, history: &History) -> Result<(), Distrust> {
        history.judge(seen)?;
        self.observe(seen, history.head);
        Ok(())
    }

    /// Records a head that a reader believed. The reader had seen `before` when it began.
    pub(crate) fn observe(&self, before: &Seen, head: LogPosition) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.newest {
            // It comes late.
            _ if seen.ended.contains(&head.epoch) => {}
            Some(newest) if newest.epoch == head.epoch && newest.seq >= head.seq => {}
            // Both epochs were new while their answers were under way, and either may be the later one. If the process went on
            // with one of them, it could be that of an old primary. So it goes on with neither, and the writer begins a third.
            Some(newest) if newest.epoch != head.epoch && before.epoch() != Some(newest.epoch) => {
                seen.end(newest.epoch);
                seen.end(head.epoch);
                seen.newest = None;
            }
            other => {
                if let Some(ended) = other.filter(|other| other.epoch != head.epoch) {
                    seen.end(ended.epoch);
                }
                seen.newest = Some(head);
            }
        }
    }

    /// True if nothing may be read.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Stops all reads, and wakes the watch.
    pub(crate) fn fence(&self, distrust: Distrust) {
        let mut falls = self.falls.lock().unwrap_or_else(PoisonError::into_inner);
        *falls = falls.saturating_add(1);
        if !self.fenced.swap(true, Ordering::Relaxed) {
            self.distrusts.send_modify(|count| *count += 1);
            // The new epoch is told of a server that has started again, and the writer begins it at once.
            let is_told = distrust != Distrust::StartedAgain;
            self.told.store(is_told, Ordering::Relaxed);
            if is_told {
                error!(reason = %distrust, "nothing is read from the database any more");
            }
            self.alarm.notify_one();
        }
    }

    /// True if operators were told, when reads were stopped last.
    pub(crate) fn was_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// How often something was distrusted. The watch asks for it before it looks.
    pub(crate) fn falls(&self) -> u64 {
        *self.falls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets reads go on, for a look that found nothing wrong and began after this many [`Self::falls`]; true if reads were
    /// stopped. What was distrusted since may be younger than the answer to the look, so it takes another look.
    pub(crate) fn lift(&self, before: u64) -> bool {
        let falls = self.falls.lock().unwrap_or_else(PoisonError::into_inner);
        *falls == before && self.fenced.swap(false, Ordering::Relaxed)
    }

    /// Counts the calls of [`Self::fence`] that stopped reads. A count misses none, even one that is lifted at once.
    pub(crate) fn distrusts(&self) -> watch::Receiver<u64> {
        self.distrusts.subscribe()
    }

    /// Returns when reads are stopped.
    pub(crate) async fn alarmed(&self) {
        self.alarm.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(epoch: u8, seq: u64) -> LogPosition {
        LogPosition { epoch: Epoch::from_bytes([epoch; 16]), seq }
    }

    fn seen(newest: LogPosition) -> Seen {
        Seen { newest: Some(newest), ended: Vec::new() }
    }

    fn history(follows: bool, known: &str, seen: &str) -> History {
        History { head: head(1, 5), follows, known: Identity::parse(known), seen: Identity::parse(seen) }
    }

    #[test]
    fn a_primary_with_the_history_that_is_known_is_believed() {
        let good = history(false, "server=a table=1", "server=a");
        assert_eq!(good.judge(&Seen::default()), Ok(()));
        assert_eq!(good.judge(&seen(head(1, 5))), Ok(()));
        assert_eq!(good.judge(&seen(head(2, 9))), Ok(()));
    }

    #[test]
    fn a_standby_another_place_and_a_shorter_log_are_not_believed() {
        assert_eq!(history(true, "", "").judge(&Seen::default()), Err(Distrust::Follows));
        assert_eq!(history(false, "server=a", "server=b").judge(&Seen::default()), Err(Distrust::Elsewhere));
        let again = history(false, "run=1 server=a", "run=2 server=a");
        assert_eq!(again.judge(&Seen::default()), Err(Distrust::StartedAgain));
        assert_eq!(history(false, "", "").judge(&seen(head(1, 6))), Err(Distrust::WentBack));
    }

    #[test]
    fn the_newest_head_never_goes_back_and_a_late_head_of_an_earlier_epoch_is_ignored() {
        let trust = Trust::default();
        trust.observe(&Seen::default(), head(1, 5));
        trust.observe(&Seen::default(), head(1, 4));
        assert_eq!(trust.seen().newest, Some(head(1, 5)));
        trust.observe(&seen(head(1, 5)), head(2, 1));
        assert_eq!(trust.seen().newest, Some(head(2, 1)));
        trust.observe(&seen(head(1, 5)), head(1, 9));
        trust.observe(&Seen::default(), head(1, 9));
        assert_eq!(trust.seen().newest, Some(head(2, 1)));
    }

    #[test]
    fn an_ended_epoch_is_believed_only_from_readers_that_asked_before() {
        let trust = Trust::default();
        trust.observe(&Seen::default(), head(1, 5));
        let before = trust.seen();
        trust.observe(&before, head(2, 3));
        let old = History { head: head(1, 9), ..history(false, "server=a", "server=a") };
        assert_eq!(old.judge(&before), Ok(()));
        assert_eq!(old.judge(&trust.seen()), Err(Distrust::WentBack));
        // The latest ended epochs are remembered.
        for epoch in 3..100 {
            trust.observe(&trust.seen(), head(epoch, 1));
        }
        let old = |epoch| History { head: head(epoch, 1), ..history(false, "", "") };
        assert_eq!(old(98).judge(&trust.seen()), Err(Distrust::WentBack));
        assert_eq!(old(99).judge(&trust.seen()), Ok(()));
        assert_eq!(trust.seen().ended.len(), MOST_ENDED);
    }

    #[test]
    fn of_two_epochs_whose_answers_were_under_way_at_once_neither_is_believed() {
        let trust = Trust::default();
        trust.observe(&Seen::default(), head(1, 5));
        trust.observe(&Seen::default(), head(2, 3));
        for epoch in [1, 2] {
            let history = History { head: head(epoch, 9), ..history(false, "", "") };
            assert_eq!(history.judge(&trust.seen()), Err(Distrust::WentBack));
        }
        // An answer from before comes back, and then the writer's from a third.
        trust.observe(&Seen::default(), head(2, 4));
        trust.observe(&trust.seen(), head(3, 4));
        assert_eq!(trust.seen().newest, Some(head(3, 4)));
    }

    #[test]
    fn the_fence_stands_until_it_is_lifted() {
        let trust = Trust::default();
        let distrusts = trust.distrusts();
        assert!(!trust.is_fenced() && !trust.lift(trust.falls()));
        trust.fence(Distrust::Elsewhere);
        trust.fence(Distrust::Follows);
        assert!(trust.is_fenced() && trust.lift(trust.falls()) && !trust.is_fenced());
        assert_eq!(*distrusts.borrow(), 1);
    }

    #[test]
    fn a_look_that_began_before_a_distrust_does_not_lift_the_fence() {
        let trust = Trust::default();
        let before = trust.falls();
        trust.fence(Distrust::Elsewhere);
        assert!(!trust.lift(before) && trust.is_fenced());
        let before = trust.falls();
        trust.fence(Distrust::Elsewhere);
        assert!(!trust.lift(before) && trust.is_fenced());
        assert!(trust.lift(trust.falls()) && !trust.is_fenced());
    }
}
