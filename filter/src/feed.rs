//! The worker's side of the leases (`consistency: strict`): following the feed, and when the replica may be used.
//!
//! It is given what happens and the time, and says what to send and when to wake it; sending and timers are the host's. One
//! poll is under way at a time. The poll after an answer is also the acknowledgement of that answer, so it goes out at once
//! where there was news.
//!
//! **Why a lease may be trusted.** Let an answer come from a snapshot whose reading began at `r`. Applied in full, it leaves
//! the replica with every revocation committed before `r`. The request arrived at the control plane no earlier than it was
//! sent here, and `fresh` is how much later than the arrival `r` was; so "sent + fresh" lies at or before `r`, whatever the
//! network did, and the lease "sent + fresh + L" ends at or before `r + L`. Who logs a token out waits until every lease
//! from before its commit is over, or until the worker has said that it holds the revocation. The clock is read in the
//! callback that decides, after the request has come, so a request that is admitted came before the lease ended; it does
//! not matter how long the process is suspended after that reading.
//!
//! What is assumed of the clock: it runs true within the drift that the control plane allows for, and does not stand still
//! while other machines' run. The monotonic clock does stand still while a machine sleeps; therefore a lease also ends when
//! the wall clock says so, which is coarser, but is right again before a woken process runs. A machine that is resumed from a
//! snapshot with both clocks frozen is beyond what can be seen from inside.
//!
//! **Identity.** All that is told of a worker id must stay true for ever, for it may be told late, twice, out of order and by
//! others. So an id is given up whenever what the worker holds becomes less, or it gives its leases up; see
//! [`WorkerId`].

use std::time::Duration;

use curfew_core::wire::{FeedAnswer, FeedRequest};
use curfew_core::{Keyspace, LogPosition, WorkerId};

use crate::gate::Now;
use crate::questions::CallId;
use crate::replica::Replica;

/// No lease is longer, whatever an answer says.
pub const MAX_LEASE: Duration = Duration::from_secs(10);

/// A worker that nobody sends requests to stops polling after this time: leases that nobody uses only make logouts wait.
pub const IDLE_AFTER: Duration = Duration::from_secs(10);

/// Polls without news are at least so far apart, should the control plane not hold them back.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// How long a worker whose replica did not fit asks before it tries again.
const OVERFLOW_PAUSE: Duration = Duration::from_secs(600);

/// How far the wall clock may go back before the replica is given up. What was left out of it as no longer needed was so
/// by the latest time that was seen; the control plane keeps it for a minute longer than any token needs it.
const CLOCK_SLACK_SECONDS: i64 = 30;

/// A poll whose end was not reported for its timeout this many times over is taken for lost.
const LOST_AFTER_TIMEOUTS: u32 = 4;

/// What a feed is given once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeedSettings {
    /// The rules by which this worker computes keys.
    pub keyspaces: Vec<Keyspace>,
    /// What the replica may take, in bytes.
    pub budget: u64,
    /// The timeout of an answer that is not held back.
    pub timeout: Duration,
    /// Random; see [`Replica::new`].
    pub seed: [u64; 2],
}

/// Randomness for one event: the feed draws none itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance {
    /// The id that the worker takes if it needs a new one.
    pub worker: WorkerId,
    /// Spreads the polls of many workers.
    pub jitter: u32,
}

/// A poll to be sent now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Poll {
    /// What to send.
    pub request: FeedRequest,
    /// After how long to give up.
    pub timeout: Duration,
}

/// What a callout that ended has brought the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// Nothing: it was not the feed's own.
    Nothing,
    /// No answer.
    NoAnswer,
    /// An answer that does not continue what is held: the replica was thrown away.
    Discontinued,
    /// Everything up to a moment, but no right to decide by it.
    NoLease,
    /// A page that others follow.
    Page,
    /// Everything up to a moment, and a lease.
    Lease,
    /// Revocations that did not fit.
    Overflow,
    /// The end of a poll that said goodbye.
    Left,
}

/// The replica, how far it reaches, until when it may be used, and the poll that keeps it so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Feed {
    settings: FeedSettings,
    replica: Replica,
    /// `None`: nothing is held.
    position: Option<LogPosition>,
    /// `None`: the next poll takes a new one.
    worker: Option<WorkerId>,
    /// The latest second of Unix time at which the replica was changed.
    changed_at: Option<i64>,
    lease: Option<Lease>,
    /// Some page since the last lease was not the last of its snapshot.
    paging: bool,
    polling: Polling,
    last_request: Duration,
    failures: u32,
    retired: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Lease {
    /// Monotonic.
    until: Duration,
    /// The first and the last second of Unix time at which it can be valid.
    unix: (i64, i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Polling {
    /// Until a request comes, but not before this time.
    Resting { until: Duration },
    /// A poll is due.
    Due { at: Duration },
    /// A poll is under way.
    UnderWay { sent: Now, timeout: Duration, call: Option<CallId>, leaving: bool },
}

impl Feed {
    /// Holds nothing, and does nothing until a request comes.
    pub fn new(settings: FeedSettings) -> Self {
        Self {
            replica: Replica::new(settings.budget, settings.seed),
            settings,
            position: None,
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

    /// The copy of what is revoked. What it calls revoked is; what it calls clear is only while [`Self::may_decide`].
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// How far the replica reaches.
    pub fn position(&self) -> Option<LogPosition> {
        self.position
    }

    /// Whether the replica may say that a token is not revoked. `now` must have been read after the request came.
    pub fn may_decide(&self, now: Now) -> bool {
        !self.was_ahead(now)
            && self.lease.is_some_and(|lease| {
                now.monotonic < lease.until && lease.unix.0 <= now.unix && now.unix <= lease.unix.1
            })
    }

    /// Whether the wall clock was ahead when the replica was changed: it may lack what is in force.
    fn was_ahead(&self, now: Now) -> bool {
        self.changed_at.is_some_and(|latest| now.unix.saturating_add(CLOCK_SLACK_SECONDS) < latest)
    }

    /// A request has come that the replica is wanted for. Call [`Self::poll`] after it.
    pub fn requested(&mut self, now: Now) {
        self.last_request = now.monotonic;
        if let Polling::Resting { until } = self.polling
            && until <= now.monotonic
            && !self.retired
        {
            if self.replica.overflowed() {
                self.start_again();
            }
            self.polling = Polling::Due { at: now.monotonic };
        }
    }

    /// When to call [`Self::poll`] next, on the monotonic clock; `None`: after the next request.
    pub fn wake_at(&self) -> Option<Duration> {
        match self.polling {
            Polling::Resting { .. } => None,
            Polling::Due { at } => Some(at),
            Polling::UnderWay { sent, timeout, .. } => Some(lost_at(sent, timeout)),
        }
    }

    /// The poll to send now, if one is due. Report [`Self::sent`] or [`Self::not_sent`].
    pub fn poll(&mut self, now: Now, chance: Chance) -> Option<Poll> {
        if self.is_lost(now) {
            self.failed(now, chance);
        }
        if self.was_ahead(now) && !matches!(self.polling, Polling::UnderWay { .. }) {
            self.start_again();
        }
        let Polling::Due { at } = self.polling else { return None };
        if now.monotonic < at {
            return None;
        }
        let leaving = now.monotonic.saturating_sub(self.last_request) >= IDLE_AFTER;
        if leaving && !self.may_decide(now) {
            self.rest(Duration::ZERO);
            return None;
        }
        let worker = *self.worker.get_or_insert(chance.worker);
        Some(self.send(now, worker, leaving))
    }

    /// Whether the end of the poll under way should have been reported long ago: [`Self::poll`] gives it up.
    pub fn is_lost(&self, now: Now) -> bool {
        matches!(self.polling, Polling::UnderWay { sent, timeout, .. } if lost_at(sent, timeout) <= now.monotonic)
    }

    /// Gives up the lease and the id for good: another feed takes this one's place. What the replica calls revoked stays so.
    /// The poll to send now tells the control plane, so that no logout waits for a lease that is not used; the answer to
    /// one that was under way is nobody's. `None` if there is nothing to tell.
    pub fn retire(&mut self, now: Now) -> Option<Poll> {
        self.retired = true;
        if let Some(worker) = self.worker {
            return Some(self.send(now, worker, true));
        }
        if !matches!(self.polling, Polling::UnderWay { .. }) {
            self.rest(Duration::ZERO);
        }
        None
    }

    /// Whether nothing is under way and nothing will be before a request comes.
    pub fn is_resting(&self) -> bool {
        matches!(self.polling, Polling::Resting { .. })
    }

    /// Whether a poll is under way.
    pub fn is_polling(&self) -> bool {
        matches!(self.polling, Polling::UnderWay { .. })
    }

    fn send(&mut self, now: Now, worker: WorkerId, leaving: bool) -> Poll {
        let hold = if leaving { Duration::ZERO } else { self.hold(now) };
        if leaving {
            // Given up before anybody is told so.
            self.lease = None;
            self.worker = None;
        }
        let timeout = self.settings.timeout.saturating_add(hold);
        self.polling = Polling::UnderWay { sent: now, timeout, call: None, leaving };
        let request = FeedRequest {
            worker,
            keyspaces: self.settings.keyspaces.clone(),
            epoch: self.position.map(|position| position.epoch),
            applied: self.position.map_or(0, |position| position.seq),
            hold_ms: u64::try_from(hold.as_millis()).unwrap_or(0),
            leaving,
        };
        Poll { request, timeout }
    }

    /// A third of what is left of the lease: two more polls may fail before it is over. Without one, there is no time to lose.
    fn hold(&self, now: Now) -> Duration {
        let valid = self.lease.filter(|_| self.may_decide(now));
        valid.map_or(Duration::ZERO, |lease| lease.until.saturating_sub(now.monotonic) / 3)
    }

    /// The host took the poll and will report under this name.
    pub fn sent(&mut self, taken: CallId) {
        if let Polling::UnderWay { call, .. } = &mut self.polling {
            *call = Some(taken);
        }
    }

    /// The host did not take the poll.
    pub fn not_sent(&mut self, now: Now, chance: Chance) {
        self.failed(now, chance);
    }

    /// Whether the poll is under way as this callout.
    pub fn asked(&self, ended: CallId) -> bool {
        matches!(self.polling, Polling::UnderWay { call, .. } if call == Some(ended))
    }

    /// A callout has ended, with an answer or none that could be read. Any other than the poll's own changes nothing. Call
    /// [`Self::poll`] after it.
    pub fn answered(&mut self, ended: CallId, answer: Option<&FeedAnswer>, now: Now, chance: Chance) -> Polled {
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
                self.failed(now, chance);
                Polled::NoAnswer
            }
            Some(answer) if self.was_ahead(now) || !self.continues(answer) => {
                self.start_again();
                self.failed(now, chance);
                Polled::Discontinued
            }
            Some(answer) => self.take(answer, sent, now, chance),
        }
    }

    /// Whether a page follows what is held. A page of another history does not, nor does one with a gap before it or one
    /// that promises more and brings nothing.
    fn continues(&self, answer: &FeedAnswer) -> bool {
        let follows = match self.position {
            None => answer.from == 0,
            Some(held) => answer.epoch == held.epoch && answer.from == held.seq,
        };
        let advances = answer.from < answer.to;
        follows && (advances || (answer.from == answer.to && !answer.more && answer.revocations.is_empty()))
    }

    fn take(&mut self, answer: &FeedAnswer, sent: Now, now: Now, chance: Chance) -> Polled {
        self.replica.apply(&answer.revocations, now.unix);
        self.changed_at = self.changed_at.max(Some(now.unix));
        self.position = Some(LogPosition { epoch: answer.epoch, seq: answer.to });
        if self.replica.overflowed() {
            self.lease = None;
            self.rest(now.monotonic.saturating_add(OVERFLOW_PAUSE));
            return Polled::Overflow;
        }
        if answer.more {
            // A row below `to` may have moved above it and come in a later page. Until that is here, saying "applied" would
            // be too much for a worker that still decides.
            self.lease = None;
            self.paging = true;
        }
        // Such a row is in no page if the last one is from an older snapshot than one before, of another control plane, say.
        // A reading that began after this poll arrived is newer than all that came before it.
        let newest = !self.paging || answer.fresh_ms >= 0;
        let lease = Lease::of(answer, sent, now).filter(|_| !answer.more && newest);
        if lease.is_none() && !answer.more && newest {
            self.failed(now, chance);
            return Polled::NoLease;
        }
        self.failures = 0;
        self.paging = self.paging && lease.is_none();
        // Each of the two is a right of its own, and the replica has only grown since the older was earned.
        self.lease = self.lease.into_iter().chain(lease).max_by_key(|lease| lease.until);
        let news = answer.from < answer.to;
        let next = if news { now.monotonic } else { sent.monotonic.saturating_add(MIN_INTERVAL).max(now.monotonic) };
        self.polling = Polling::Due { at: next };
        if lease.is_some() { Polled::Lease } else { Polled::Page }
    }

    /// Throws the replica away, and every right to it.
    fn start_again(&mut self) {
        self.replica = Replica::new(self.settings.budget, self.settings.seed);
        self.position = None;
        self.worker = None;
        self.changed_at = None;
        self.lease = None;
        self.paging = false;
    }

    /// Pauses, each time twice as long, and by chance up to half as long as that. A lease runs on.
    fn failed(&mut self, now: Now, chance: Chance) {
        if matches!(self.polling, Polling::UnderWay { leaving: true, .. }) {
            self.left(now);
            return;
        }
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let pause = MIN_INTERVAL.saturating_mul(factor).min(MAX_PAUSE);
        let spread = pause.saturating_mul(chance.jitter >> 16) / (2 << 16);
        self.failures = self.failures.saturating_add(1).min(16);
        self.polling = Polling::Due { at: now.monotonic.saturating_add(pause / 2).saturating_add(spread) };
    }

    /// Nobody waits for this worker any more. Who came meanwhile wants a lease again.
    fn left(&mut self, now: Now) {
        self.rest(Duration::ZERO);
        if now.monotonic.saturating_sub(self.last_request) < IDLE_AFTER {
            self.requested(Now { monotonic: self.last_request, ..now });
        }
    }

    fn rest(&mut self, until: Duration) {
        self.failures = 0;
        self.polling = Polling::Resting { until };
    }
}

impl Lease {
    /// The lease that an answer brings, if any. A lease cannot begin after the answer came, whatever `fresh_ms` says.
    fn of(answer: &FeedAnswer, sent: Now, now: Now) -> Option<Self> {
        let length = Duration::from_millis(answer.lease_ms).min(MAX_LEASE);
        let fresh = Duration::from_millis(answer.fresh_ms.unsigned_abs());
        let begins = if answer.fresh_ms < 0 {
            sent.monotonic.checked_sub(fresh)?
        } else {
            sent.monotonic.saturating_add(fresh).min(now.monotonic)
        };
        let until = begins.saturating_add(length);
        // The wall clock is read in whole seconds, hence one more at each end.
        let seconds = i64::try_from(until.saturating_sub(sent.monotonic).as_secs()).unwrap_or(0);
        let unix = (sent.unix, sent.unix.saturating_add(seconds).saturating_add(2));
        (!length.is_zero()).then_some(Self { until, unix })
    }
}

fn lost_at(sent: Now, timeout: Duration) -> Duration {
    sent.monotonic.saturating_add(timeout.saturating_mul(LOST_AFTER_TIMEOUTS))
}

#[cfg(test)]
mod tests;
