//! The control plane's side of the leases (`consistency: strict`): when a logout may be answered.
//!
//! The promise: once a logout call has returned 200, no request that reaches any proxy afterwards is admitted with that token.
//! Workers in the proxies decide by copies of the log of revocations, each for the time of a lease, and this module decides
//! who gets a lease and how long a committed logout waits. It is given what happens and the time of one local, monotonic
//! clock; HTTP, SQL and messages between control planes are elsewhere. The worker's half is in the filter's `feed` and `strict`.
//!
//! # Words
//!
//! `L` is the length of a lease and `rho` the drift that clocks are allowed ([`LeaseTimes`]). A *reading* is one statement that
//! returns, from one snapshot, the log's head, the rows after a seq, and this control plane's own row in `replicas`; it
//! *begins* before its snapshot is taken. A lease is granted *from* a reading.
//!
//! # Why it holds
//!
//! 1. *A lease ends within L of the beginning of its reading.* The filter's `feed` says why; [`LeaseTimes::fresh_ms`] and
//!    [`LeaseTimes::outlast`] take care of clocks that differ in speed: on any clock the lease is over [`LeaseTimes::lease_over`] after
//!    the beginning.
//! 2. *A worker that has said "applied: s" refuses what is revoked up to s, for as long as it uses that id.* Its copy only
//!    grows under one id. So what is heard of an id is true whenever it is heard, and of whom.
//! 3. *Waiting is enough.* A reading that begins after a commit has returned shows the revocation. One that began earlier
//!    granted leases that are over [`LeaseTimes::lease_over`] after the commit's return. No table, no message, no other control
//!    plane is needed for that, and a control plane that starts anew needs to remember nothing.
//! 4. *What this control plane granted is in its table, and nothing older comes after it.* When each lease in the table is
//!    acknowledged up to `s` or over, no lease from here is in the way of a logout up to `s`; and from the moment when it
//!    has told anybody so, it grants from no reading that shows less, such as one that was under way ([`Barrier::answer`]).
//!    That is what it *confirms*, and it stays true for ever.
//! 5. *The others are in the rows.* A control plane writes its row before it grants and grants only from readings that show
//!    the row as it wrote it less than [`LeaseTimes::row_life`] ago. If it granted from a reading that lacks a revocation, the
//!    row was there at that reading, so it is there when the rows are read after the commit: it was not removed, for that
//!    takes [`LeaseTimes::silence`] without a change, at the end of which all its leases are over. Write then read, on
//!    both sides. A new epoch may begin on a copy that lacks rows; so whoever gives it its name puts a row there that
//!    nobody raises, and the logouts in it wait for that one until the leases of the old epoch are over.
//! 6. So a logout at seq `s` may be answered when no lease in the own table is in the way and every other control plane in
//!    the rows has confirmed `s` or has been silent long enough; or when the time of 3 has passed.
//!
//! Epochs have no order. Seqs of two epochs are never compared; leases from an older epoch are in the way of every logout in
//! the newer until they are over, and acknowledgements count in the epoch of the lease alone. Rows say something of the logouts of the epoch that they were
//! read with: in a copy a row may be missing that was never removed.
//!
//! # What it relies on
//!
//! - Only what is committed is ever shown to a worker, and seq is in commit order: the head row sees to both. A database's
//!   sequence does not: a reader would pass a number whose transaction commits later.
//! - Readings and commits speak to one database that answers reads with everything committed before; not to a replica that
//!   lags.
//! - The local clock does not stand still while the machine sleeps (on Linux `CLOCK_BOOTTIME`), or a `fresh_ms` below zero
//!   would be too small.
//! - [`LeaseTimes`] are the same in all control planes: 3 waits for leases that others granted.
//! - A revocation is kept until no token that it covers is in time by any proxy's clock. Then it may vanish from the log
//!   without a trace: who never hears of it refuses the token anyway.
//!
//! # What to call when
//!
//! | event | call |
//! |---|---|
//! | every now and then, and at [`Barrier::wake_at`] | [`Barrier::beat`]: write the row if it says so; [`Barrier::take_ended`]: answer those logouts |
//! | a poll arrives | [`Barrier::polled`], pass on what it returns; then [`Barrier::take_ended`] |
//! | a reading has ended | [`Barrier::read`]; if it is not current, read again |
//! | a poll is to be answered from a reading | [`Barrier::answer`] |
//! | a commit has returned | [`Barrier::committed`] for its callers, then read the rows |
//! | the rows have been read | [`Barrier::rows`], then [`Barrier::take_ended`] |
//! | a message of another control plane | [`Barrier::heard_ack`], [`Barrier::heard_confirmation`], then [`Barrier::take_ended`] |
//! | after any of these | [`Barrier::confirm`]; if it has grown, tell the others |

mod lease_times;
mod leases;
mod peers;
mod presence;
mod waits;

use std::time::Duration;

use curfew_core::wire::FeedRequest;

use crate::log::{Beat, Commit, ControlPlaneId, ControlPlaneRow, Epoch, LogPosition};

use leases::Leases;
use peers::Peers;
use presence::Presence;
use waits::Waits;

pub use lease_times::LeaseTimes;
pub use leases::Ack;
pub use waits::{Safe, Superseded, WaitId};

/// What one reading showed; one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reading {
    /// When it began, on the local clock: before the statement was sent.
    pub began: Duration,
    /// The log's head.
    pub head: LogPosition,
    /// The number in this control plane's own row, if it has one.
    pub own_beat: Option<u64>,
}

/// What to answer a poll with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// The page, and a lease.
    Lease {
        /// For the answer.
        lease_ms: u64,
        /// For the answer.
        fresh_ms: i64,
    },
    /// The page with `lease_ms` 0: it is not the last, or no lease may be granted now.
    PageOnly,
    /// Nothing from this reading: it shows too little. Read again.
    ReadAgain,
}

/// The state of one control plane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Barrier {
    id: ControlPlaneId,
    terms: LeaseTimes,
    leases: Leases,
    presence: Presence,
    peers: Peers,
    waits: Waits,
}

impl Barrier {
    /// Knows nothing and has granted nothing.
    pub fn new(id: ControlPlaneId, terms: LeaseTimes) -> Self {
        Self {
            id,
            terms,
            leases: Leases::new(terms),
            presence: Presence::new(terms),
            peers: Peers::new(terms),
            waits: Waits::default(),
        }
    }

    /// The name of the own row.
    pub fn id(&self) -> ControlPlaneId {
        self.id
    }

    /// Begins a write of the own row, if one is due. If the write fails, nothing needs to be said: leases are granted only from
    /// readings that show it.
    pub fn beat(&mut self, now: Duration) -> Option<Beat> {
        self.leases.sweep(now);
        (self.presence.due_at() <= now).then(|| self.write(now))
    }

    /// Begins a write of the own row, due or not: to confirm where there is no quicker way.
    pub fn write(&mut self, now: Duration) -> Beat {
        Beat { beat: self.presence.begin(now), confirmed: self.confirm(now) }
    }

    /// A reading has ended. `false`: it shows less than somebody was told and must not be used.
    pub fn read(&mut self, reading: &Reading, now: Duration) -> bool {
        self.leases.learn(reading.head, reading.began, now)
    }

    /// A poll has arrived: what it says of its worker. Returns what to tell the other control planes, if it is news.
    pub fn polled(&mut self, request: &FeedRequest) -> Option<Ack> {
        let held = request.epoch.map(|epoch| LogPosition { epoch, seq: request.applied });
        let ack = match held {
            _ if request.leaving => Ack { worker: request.worker, held: None },
            None => return None,
            held => Ack { worker: request.worker, held },
        };
        self.leases.acknowledged(ack);
        self.leases.is_untold(ack).then_some(ack)
    }

    /// What another control plane was told by a worker.
    pub fn heard_ack(&mut self, ack: Ack) {
        self.leases.acknowledged(ack);
    }

    /// After which seq the page for this poll begins, in a log that reaches to `head`: `None` if what the worker holds is not
    /// of this history. It then gets an empty page with `from: 0` and `more: true`, by which it knows that it must start
    /// again.
    pub fn page_after(request: &FeedRequest, head: LogPosition) -> Option<u64> {
        match request.epoch {
            None => Some(0),
            Some(epoch) => head.covers(LogPosition { epoch, seq: request.applied }).then_some(request.applied),
        }
    }

    /// How long a poll without news may be held back.
    pub fn hold(&self, request: &FeedRequest) -> Duration {
        Duration::from_millis(request.hold_ms).min(self.terms.hold)
    }

    /// Decides about the answer to a poll that came at `arrived`, with a page from this reading; `last` says that the page
    /// reaches to its head.
    pub fn answer(
        &mut self,
        request: &FeedRequest,
        arrived: Duration,
        reading: &Reading,
        last: bool,
        now: Duration,
    ) -> Grant {
        // More may have been told since the reading ended.
        if !self.leases.learn(reading.head, reading.began, now) {
            return Grant::ReadAgain;
        }
        let follows = Self::page_after(request, reading.head).is_some();
        if !follows && reading.began < arrived {
            // The worker may know more than an old reading shows.
            return Grant::ReadAgain;
        }
        let may = follows && last && !request.leaving && self.presence.vouches(reading.own_beat, reading.began);
        if !may || !self.leases.grant(request.worker, reading.head, reading.began, now) {
            return Grant::PageOnly;
        }
        let lease_ms = u64::try_from(self.terms.lease.as_millis()).unwrap_or(0);
        Grant::Lease { lease_ms, fresh_ms: self.terms.fresh_ms(arrived, reading.began) }
    }

    /// Somebody waits from `now` on for a commit of this process. Its callers may be answered when [`Self::take_ended`] names
    /// the wait. A logout that found its token revoked already waits for the head it saw.
    pub fn committed(&mut self, commit: &Commit, now: Duration) -> WaitId {
        // That a reading knows more than the commit is no objection to waiting for the commit.
        self.leases.learn(commit.head, commit.began, now);
        self.wait(commit.head, commit.returned, now)
    }

    /// Somebody asks at `now` for what was committed at some time before, by whomever. As [`Self::committed`], but nothing is
    /// learnt of the log: it may have gone back since.
    pub fn asked(&mut self, head: LogPosition, now: Duration) -> WaitId {
        self.wait(head, now, now)
    }

    fn wait(&mut self, head: LogPosition, returned: Duration, now: Duration) -> WaitId {
        let deadline = now.saturating_add(self.terms.lease_over());
        self.waits.add(head, returned, now, deadline)
    }

    /// The rows of `replicas` have been read, all in one snapshot with the log's `head`, in a statement that began at `began` and
    /// ended at `now`.
    pub fn rows(&mut self, head: LogPosition, rows: &[ControlPlaneRow], began: Duration, now: Duration) {
        // Where no worker polls, nothing else shows how far others have committed.
        self.leases.learn(head, began, now);
        let others: Vec<_> = rows.iter().copied().filter(|row| row.id != self.id).collect();
        self.peers.read(&others, now);
        self.waits.rows(head.epoch, &others, &self.peers, began);
    }

    /// Whether a logout waits for the rows or for others: read the rows again soon, for confirmations may be in them.
    pub fn wants_rows(&self) -> bool {
        self.waits.wait_for_others()
    }

    /// Rows that may be removed, each `WHERE id = .. AND beat = ..`, going by the rows read last.
    pub fn removable(&self, began: Duration) -> Vec<(ControlPlaneId, u64)> {
        self.peers.silent(began)
    }

    /// Another control plane has confirmed everything up to `head`.
    pub fn heard_confirmation(&mut self, id: ControlPlaneId, head: LogPosition) {
        self.peers.confirmed(id, head);
        self.waits.confirmed(id, head);
    }

    /// Up to where no lease from here is in the way of a logout, now or later: to be told to the others. It only grows within
    /// an epoch.
    pub fn confirm(&mut self, now: Duration) -> Option<LogPosition> {
        self.leases.confirm(now)
    }

    /// Takes out the logouts whose wait is over: those that may be answered, and those that can no more be confirmed.
    pub fn take_ended(&mut self, now: Duration) -> Vec<(WaitId, Result<Safe, Superseded>)> {
        self.waits.take_ended(&mut self.leases, now)
    }

    /// The caller of a logout has gone.
    pub fn forget(&mut self, wait: WaitId) {
        self.waits.forget(wait);
    }

    /// When to call [`Self::beat`] and [`Self::take_ended`] next.
    pub fn wake_at(&self, now: Duration) -> Duration {
        let due = self.beat_at();
        self.safe_at(now).map_or(due, |at| at.min(due))
    }

    /// When to call [`Self::beat`] next.
    pub fn beat_at(&self) -> Duration {
        self.presence.due_at()
    }

    /// When to call [`Self::take_ended`] next, if nothing else happens; `None` while no logout waits.
    pub fn safe_at(&self, now: Duration) -> Option<Duration> {
        self.waits.wake_at(&self.leases, now)
    }

    /// The history that the log is of, as far as is known.
    pub fn epoch(&self) -> Option<Epoch> {
        self.leases.epoch()
    }

    /// How many workers with a lease from here hold everything up to `head`, and how many have one at all.
    pub fn workers(&self, head: LogPosition, now: Duration) -> (usize, usize) {
        self.leases.count(head, now)
    }

    /// Whether all leases from here are over: a control plane that ends may then remove its row, if it has stopped
    /// answering polls.
    pub fn all_over(&self, now: Duration) -> bool {
        self.leases.all_over(now)
    }
}

#[cfg(test)]
mod tests;
