//! The worker's side of the leases (`consistency: strict`): following the feed, and when its copy of the log may be
//! used.
//!
//! The feed is given events and the time, and says what to send and when to wake it; sending and timers are the host's.
//! One poll is under way at a time. The poll after an answer also acknowledges that answer, so it goes out at once if
//! the answer brought news.
//!
//! **Why a lease may be trusted.** Let an answer come from a snapshot whose reading began at `r`. A worker that has
//! applied it in full holds every revocation committed before `r`. The request arrived at the control plane no earlier
//! than it was sent here, and `fresh` is the time from that arrival to `r`. So "sent + fresh" is at or before `r`,
//! whatever the network did, and the lease "sent + fresh + L" ends at or before `r + L`. For each lease from before its
//! commit, a logout waits until the lease is over or the worker has acknowledged the revocation. The clock is read in
//! the callback that decides, after the request has arrived. So a request that is admitted arrived before the lease
//! ended, and it does not matter how long the process is suspended after that reading.
//!
//! **What is assumed of the clock.** It runs true within the drift that the control plane allows for, and does not
//! stand still while the clocks of other machines run. The monotonic clock does stand still while a machine sleeps;
//! therefore a lease also ends when the wall clock says so, which is coarser, but is right again before a woken process
//! runs. A machine that is resumed from a snapshot with both clocks frozen cannot be recognised from inside.
//!
//! **Identity.** Every statement about a worker id must stay true for ever, because it may be repeated late, twice, out
//! of order and by other control planes. So a worker gives up its id whenever its copy loses revocations, or when it
//! gives up its leases; see [`WorkerId`].

mod lease;
mod polling;

use std::time::Duration;

use curfew_core::wire::FeedAnswer;
use curfew_core::{Keyspace, LogPosition, WorkerId};

use crate::copy::LogCopy;
use crate::ids::CallId;
use crate::now::Now;

use lease::Lease;
pub use polling::{IDLE_AFTER, Poll, Randomness};
use polling::{MIN_INTERVAL, Polling};

/// How long a worker whose copy did not fit asks about each token before it tries to hold a copy again.
const OVERFLOW_PAUSE: Duration = Duration::from_secs(600);

/// How far the wall clock may go back before the copy is given up. The copy leaves out revocations that have expired,
/// and after a step back some of them may be in force again. A step of this size does no harm, because the control
/// plane keeps a revocation for a minute longer than any token needs it.
const CLOCK_SLACK_SECONDS: i64 = 30;

/// What stays the same for the life of a feed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeedSettings {
    /// The rules by which this worker computes keys.
    pub keyspaces: Vec<Keyspace>,
    /// How many bytes the copy may take.
    pub budget: u64,
    /// The timeout of a poll whose answer is not held back.
    pub timeout: Duration,
    /// Random; see [`LogCopy::new`].
    pub seed: [u64; 2],
}

/// What the end of a callout has brought the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// Nothing: the callout was not the feed's own.
    Nothing,
    /// No answer.
    NoAnswer,
    /// An answer that does not continue what is held: the copy was thrown away.
    Discontinued,
    /// The whole log up to a moment, but no lease.
    NoLease,
    /// A page, with more pages to come.
    Page,
    /// The whole log up to a moment, and a lease.
    Lease,
    /// Revocations that did not fit.
    Overflow,
    /// The end of the poll in which the worker said that it leaves.
    Left,
}

/// The copy of the log, how far it reaches, until when it may be used, and the poll that keeps it up to date.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Feed {
    settings: FeedSettings,
    copy: LogCopy,
    /// The position up to which the copy is complete; `None` if it holds nothing.
    position: Option<LogPosition>,
    /// The newest change of handed-out keys that a page of this history has shown; 0 for none.
    keys_seq: u64,
    /// `None`: the next poll takes a new id.
    worker: Option<WorkerId>,
    /// The latest second of Unix time at which the copy was changed.
    changed_at: Option<i64>,
    lease: Option<Lease>,
    /// A page since the last lease was not the last of its snapshot.
    paging: bool,
    polling: Polling,
    last_request: Duration,
    failures: u32,
    retired: bool,
}

impl Feed {
    /// Holds nothing, and does nothing until a request comes.
    pub fn new(settings: FeedSettings) -> Self {
        Self {
            copy: LogCopy::new(settings.budget, settings.seed),
            settings,
            position: None,
            keys_seq: 0,
            worker: None,
            changed_at: None,
            lease: None,
            paging: false,
            polling: Polling::Resting { until: Duration::ZERO },
            last_request: Duration::ZERO,
            failures: 0,
            retired: false,
        }
    }

    /// The copy of the log. A token that it calls revoked is revoked; a token that it calls clear is clear only while
    /// [`Self::may_decide`].
    pub fn copy(&self) -> &LogCopy {
        &self.copy
    }

    /// How far the copy reaches.
    pub fn position(&self) -> Option<LogPosition> {
        self.position
    }

    /// The newest change of handed-out keys that the copy's log shows. `None` if the copy holds nothing.
    ///
    /// A worker acknowledges a page at once, though its keys may be older: then [`super::knowledge::Strict`] admits
    /// nothing by the copy that such a key has proven.
    pub fn keys(&self) -> Option<LogPosition> {
        self.position.map(|position| LogPosition { seq: self.keys_seq, ..position })
    }

    /// True if the copy may say that a token is not revoked. `now` must have been read after the request arrived.
    pub fn may_decide(&self, now: Now) -> bool {
        !self.was_ahead(now) && self.lease.is_some_and(|lease| lease.is_valid(now))
    }

    /// True if the wall clock was ahead when the copy was changed: revocations that are in force may have been left
    /// out.
    fn was_ahead(&self, now: Now) -> bool {
        self.changed_at.is_some_and(|latest| now.unix.saturating_add(CLOCK_SLACK_SECONDS) < latest)
    }

    /// A callout has ended, with an answer or none that could be read. A callout that is not the poll under way changes
    /// nothing. Call [`Self::poll`] after it.
    pub fn answered(&mut self, ended: CallId, answer: Option<&FeedAnswer>, now: Now, randomness: Randomness) -> Polled {
        let Polling::UnderWay { sent, leaving, .. } = self.polling else { return Polled::Nothing };
        if !self.asked(ended) {
            return Polled::Nothing;
        }
        match answer {
            _ if leaving => {
                self.left(now);
                Polled::Left
            }
            None => {
                self.failed(now, randomness);
                Polled::NoAnswer
            }
            Some(answer) if self.was_ahead(now) || !self.continues(answer) => {
                self.start_again();
                self.failed(now, randomness);
                Polled::Discontinued
            }
            Some(answer) => self.take(answer, sent, now, randomness),
        }
    }

    /// True if a page continues what is held. A page of another history does not, nor does a page with a gap before it,
    /// or one that promises more and brings nothing.
    fn continues(&self, answer: &FeedAnswer) -> bool {
        let follows = match self.position {
            None => answer.from == 0,
            Some(held) => answer.epoch == held.epoch && answer.from == held.seq,
        };
        let advances = answer.from < answer.to;
        follows && (advances || (answer.from == answer.to && !answer.more && answer.revocations.is_empty()))
    }

    fn take(&mut self, answer: &FeedAnswer, sent: Now, now: Now, randomness: Randomness) -> Polled {
        self.copy.apply(&answer.revocations, now.unix);
        self.changed_at = self.changed_at.max(Some(now.unix));
        self.position = Some(LogPosition { epoch: answer.epoch, seq: answer.to });
        // A page of another control plane may come from an older snapshot.
        self.keys_seq = self.keys_seq.max(answer.keys_seq);
        if self.copy.overflowed() {
            self.lease = None;
            self.rest(now.monotonic.saturating_add(OVERFLOW_PAUSE));
            return Polled::Overflow;
        }
        if answer.more {
            // A row below `to` may be missing here, because it has moved above `to` and comes in a later page. Until
            // that page is here, a worker that still decides would claim too much by acknowledging this one.
            self.lease = None;
            self.paging = true;
        }
        // If the last page is from an older snapshot than an earlier page, for example from another control plane, a
        // row that has moved may be in neither. A reading that began after this poll arrived is newer than all readings
        // before it.
        let newest = !self.paging || answer.fresh_ms >= 0;
        let lease = Lease::of(answer, sent, now).filter(|_| !answer.more && newest);
        if lease.is_none() && !answer.more && newest {
            self.failed(now, randomness);
            return Polled::NoLease;
        }
        self.failures = 0;
        self.paging = self.paging && lease.is_none();
        // Each of the two is valid by itself, and the copy has only grown since the older one was granted.
        self.lease = Lease::longer(self.lease, lease);
        let news = answer.from < answer.to;
        let next = if news { now.monotonic } else { sent.monotonic.saturating_add(MIN_INTERVAL).max(now.monotonic) };
        self.polling = Polling::Due { at: next };
        if lease.is_some() { Polled::Lease } else { Polled::Page }
    }

    /// Throws away the copy and every right to decide by it.
    fn start_again(&mut self) {
        self.copy = LogCopy::new(self.settings.budget, self.settings.seed);
        self.position = None;
        self.keys_seq = 0;
        self.worker = None;
        self.changed_at = None;
        self.lease = None;
        self.paging = false;
    }
}

#[cfg(test)]
mod tests;
