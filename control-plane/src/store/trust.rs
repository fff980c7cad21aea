//! Whether what the database says may be believed. No I/O.
//!
//! A server that no longer is the primary, a restored copy, a log that went back: each would say "active" of tokens that
//! were logged out. Every read and every transaction carries what it takes to tell ([`History`]); whoever notices
//! something stops all reads of this process at once, and wakes the watch, which finds out more ([`super::watch`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tracing::error;

use super::FeedHead;
use super::identity::Identity;

/// Why a database is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Distrust {
    /// It takes no writes: it follows another server, and may lag behind it.
    #[error("the server is read-only or a standby, as replicas are: name the primary")]
    Follows,
    /// It is not where the epoch was made.
    #[error("this is another server or a restored copy, not taken over yet")]
    Elsewhere,
    /// Its log is shorter than it was.
    #[error("the log of revocations went back, and is not taken over yet")]
    WentBack,
}

impl From<Distrust> for sqlx::Error {
    fn from(distrust: Distrust) -> Self {
        Self::Configuration(distrust.into())
    }
}

/// The head, and where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) head: FeedHead,
    /// Whether the server takes no writes.
    pub(crate) follows: bool,
    /// What was seen when the epoch was made.
    pub(crate) known: Identity,
    /// What is seen now.
    pub(crate) seen: Identity,
}

impl History {
    /// Whether this history may be read by somebody who had seen `newest` before he asked.
    pub(crate) fn judge(&self, newest: Option<FeedHead>) -> Result<(), Distrust> {
        if self.follows {
            return Err(Distrust::Follows);
        }
        if self.known.contradicts(&self.seen) {
            return Err(Distrust::Elsewhere);
        }
        if self.went_back(newest) { Err(Distrust::WentBack) } else { Ok(()) }
    }

    /// Whether the log is shorter than `newest` under the same name. A head that was read later is never an older one.
    pub(crate) fn went_back(&self, newest: Option<FeedHead>) -> bool {
        newest.is_some_and(|newest| newest.epoch == self.head.epoch && newest.seq > self.head.seq)
    }
}

/// What this process knows of its database.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    fenced: AtomicBool,
    /// The newest head that was read or committed.
    newest: Mutex<Option<FeedHead>>,
    alarm: Notify,
}

impl Trust {
    /// The newest head; to be asked for before a statement is sent, to judge its answer by.
    pub(crate) fn newest(&self) -> Option<FeedHead> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a head that was believed by somebody who began with `before`.
    pub(crate) fn observe(&self, before: Option<FeedHead>, head: FeedHead) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match *newest {
            Some(newest) if newest.epoch == head.epoch && newest.seq >= head.seq => {}
            // The epoch has changed since: this is a late word of the one before.
            Some(other) if other.epoch != head.epoch && before.is_none_or(|before| before.epoch != other.epoch) => {}
            _ => *newest = Some(head),
        }
    }

    /// Whether nothing may be read.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Nothing is read from now on, and the watch is woken.
    pub(crate) fn fence(&self, distrust: Distrust) {
        if !self.fenced.swap(true, Ordering::Relaxed) {
            error!(reason = %distrust, "nothing is read from the database any more");
            self.alarm.notify_one();
        }
    }

    /// Reads go on; whether they had been stopped.
    pub(crate) fn lift(&self) -> bool {
        self.fenced.swap(false, Ordering::Relaxed)
    }

    /// Until somebody has noticed something.
    pub(crate) async fn alarmed(&self) {
        self.alarm.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Epoch;

    fn head(epoch: u8, seq: i64) -> FeedHead {
        FeedHead { epoch: Epoch::from_bytes([epoch; 16]), seq }
    }

    fn history(follows: bool, known: &str, seen: &str) -> History {
        History { head: head(1, 5), follows, known: Identity::parse(known), seen: Identity::parse(seen) }
    }

    #[test]
    fn a_primary_with_the_history_that_is_known_is_believed() {
        let good = history(false, "server=a table=1", "server=a");
        assert_eq!(good.judge(None), Ok(()));
        assert_eq!(good.judge(Some(head(1, 5))), Ok(()));
        assert_eq!(good.judge(Some(head(2, 9))), Ok(()));
    }

    #[test]
    fn anything_else_is_not() {
        assert_eq!(history(true, "", "").judge(None), Err(Distrust::Follows));
        assert_eq!(history(false, "server=a", "server=b").judge(None), Err(Distrust::Elsewhere));
        assert_eq!(history(false, "", "").judge(Some(head(1, 6))), Err(Distrust::WentBack));
    }

    #[test]
    fn the_newest_head_never_goes_back_and_a_late_word_of_an_earlier_epoch_is_not_heard() {
        let trust = Trust::default();
        trust.observe(None, head(1, 5));
        trust.observe(None, head(1, 4));
        assert_eq!(trust.newest(), Some(head(1, 5)));
        trust.observe(Some(head(1, 5)), head(2, 1));
        assert_eq!(trust.newest(), Some(head(2, 1)));
        trust.observe(Some(head(1, 5)), head(1, 9));
        trust.observe(None, head(1, 9));
        assert_eq!(trust.newest(), Some(head(2, 1)));
    }

    #[test]
    fn the_fence_stands_until_it_is_lifted() {
        let trust = Trust::default();
        assert!(!trust.is_fenced() && !trust.lift());
        trust.fence(Distrust::Elsewhere);
        assert!(trust.is_fenced() && trust.lift() && !trust.is_fenced());
    }
}
