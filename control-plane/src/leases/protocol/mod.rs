//! The control plane's half of the lease protocol (`consistency: strict`): when a logout may be answered.
//!
//! The promise: once a logout call has returned 200, no request that reaches any proxy afterwards is admitted with that
//! token. Workers in the proxies decide by copies of the log of revocations, each for as long as it holds a lease. This
//! module decides which worker gets a lease, and how long a committed logout waits for its answer. It is pure: its
//! inputs are events and the time of one local, monotonic clock. HTTP, SQL and the messages between control planes are
//! elsewhere. The worker's half is in the filter (its `feed`).
//!
//! # Words
//!
//! - `L` is the length of a lease, and `rho` is the drift that clocks are allowed ([`LeaseTimes`]).
//! - A *reading* is one statement that returns, from one snapshot, the log's head, the revocations after a seq, and this
//!   control plane's own row in the table `replicas`. A reading *begins* before its snapshot is taken. Each lease is granted
//!   *from* one reading.
//! - A lease is *in the way* of a logout if its worker may still admit the token: the lease is not over, and the worker has
//!   not acknowledged the logout's position.
//! - A control plane *confirms* a position when no lease that it has granted, or will grant, is in the way of a logout up to
//!   that position. A logout is *confirmed*, and may be answered with 200, when point 6 below holds.
//!
//! # Why it holds
//!
//! 1. *A lease ends within L of the beginning of its reading.* The filter's `feed` says why. Clocks differ in speed;
//!    [`LeaseTimes::fresh_ms`] and [`LeaseTimes::outlast`] allow for that. So on any clock the lease is over
//!    [`LeaseTimes::lease_over`] after the reading began.
//! 2. *A worker that has said "applied: s" refuses everything that is revoked up to s, for as long as it uses that id.* Under
//!    one id its copy of the log only grows. So an acknowledgement is true whenever it arrives, and whichever control plane
//!    passes it on.
//! 3. *Waiting is enough.* A reading that begins after a commit has returned shows the revocation. A reading that began
//!    earlier granted leases that are over [`LeaseTimes::lease_over`] after the commit returned. This needs no table, no
//!    message and no other control plane, and a control plane that has just started needs to remember nothing.
//! 4. *A control plane knows the leases that it has granted, and grants nothing older later.* Let every lease in its
//!    table be over or acknowledged up to `s`. Then no lease from here is in the way of a logout up to `s`. From the
//!    moment when the control plane makes this known, it grants no lease from a reading that shows less, such as one
//!    that was under way at that moment ([`Barrier::answer`]). So what it has confirmed stays true for ever.
//! 5. *The rows show all other control planes that matter.* A control plane writes its row before it grants, and it
//!    grants only from readings that show its row. Suppose it granted from a reading that lacks a revocation. Its row
//!    was there at that reading. When the rows are read after the commit, its row is there, or all its leases are over,
//!    or a row of nobody is there instead: the owner removes its row only when its leases are over, and another control
//!    plane only replaces it by a row that belongs to no control plane. After the replacement the owner grants nothing,
//!    so its leases are over when the row of nobody was there for [`LeaseTimes::lease_over`]; then it is removed. No
//!    clock of the owner is involved, which may have stood still. Each side writes first and then reads. A new epoch may
//!    begin on a copy of the database that lacks rows. Therefore the process that names the new epoch adds a row of
//!    nobody as well, which stands for all control planes whose rows the copy lacks.
//! 6. So a logout at seq `s` may be answered in either of two cases. The first: no lease in the own table is in its way,
//!    every other control plane in the rows has confirmed `s`, and every row of nobody was there for long enough. The
//!    second: the time of point 3 has passed, and the log was read since.
//! 7. *A logout is never confirmed by a history that may lack it.* All this holds within one epoch. Once a reading that began
//!    after the commit returned shows another epoch, the log may lack the revocation, and workers may hold leases from a log
//!    without it. From then on the logout is [`Superseded`], even if the epoch of the commit comes back. The same goes for a
//!    logout that was committed before the database was found to be one that may not be believed ([`Barrier::distrust`]). And
//!    time alone confirms nothing: a logout whose time has passed waits on until a reading that began after the commit returned
//!    shows its epoch. A database that vanished right after a commit may come back without it.
//!
//! Epochs have no order, and seqs of two epochs are never compared. A lease from an older epoch is in the way of every logout
//! in the newer one until it is over. An acknowledgement counts in the epoch of the lease alone. Rows count for the logouts of
//! the epoch that they were read with: a copy of the database may lack a row that no control plane has removed.
//!
//! # What it relies on
//!
//! - A worker is shown only what is committed, and seq is in commit order. The head row in the database ensures both. A
//!   database sequence would not: a reader would pass a number whose transaction commits later.
//! - Readings and commits go to one database, which answers a read with everything that was committed before it; they
//!   do not go to a standby that lags.
//! - The local clock does not run faster than true time, nor a worker's clock slower, by more than the drift. The local clock
//!   may stand still for any time, because the machine sleeps or its hypervisor pauses it: then waits last longer and
//!   leases get shorter. A worker's clock may not; see its `feed`.
//! - All control planes have the same [`LeaseTimes`]: point 3 waits for leases that others have granted.
//! - A revocation is kept until every token that it covers has expired by every proxy's clock. After that it may vanish from
//!   the log: a worker that never hears of it refuses the token anyway.
//!
//! # What to call when
//!
//! | event | call |
//! |---|---|
//! | at regular intervals, and at [`Barrier::wake_at`] | [`Barrier::beat`], and write the row if it returns one; [`Barrier::take_ended`], and answer those logouts |
//! | a poll arrives | [`Barrier::polled`], and pass on what it returns; then [`Barrier::take_ended`] |
//! | a reading has ended | [`Barrier::reading_ended`]; if it may not be used, read again; then [`Barrier::take_ended`] |
//! | a poll is to be answered from a reading | [`Barrier::answer`] |
//! | a commit has returned | [`Barrier::committed`] for its callers, then read the rows |
//! | the rows have been read | [`Barrier::rows`], then [`Barrier::take_ended`] |
//! | the database may not be believed | [`Barrier::distrust`], then [`Barrier::take_ended`] |
//! | a message of another control plane arrives | [`Barrier::heard_ack`] or [`Barrier::heard_confirmation`], then [`Barrier::take_ended`] |
//! | after any of these | [`Barrier::confirm`]; if it returns more than before, tell the others |

mod granted;
mod known_log;
mod lease_times;
mod own_beats;
mod peers;
mod waits;

use std::time::Duration;

use curfew_core::wire::FeedRequest;

use crate::log::{Beat, Commit, ControlPlaneId, ControlPlaneRow, Epoch, LogPosition};

use granted::Granted;
use own_beats::OwnBeats;
use peers::Peers;
use waits::Waits;

pub use granted::Ack;
pub use lease_times::LeaseTimes;
pub use peers::StaleRows;
pub use waits::{Safe, Superseded, WaitId};

/// What one reading showed, all of it from one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reading {
    /// When it began, by the local clock: before the statement was sent.
    pub began: Duration,
    /// The log's head.
    pub head: LogPosition,
    /// The beat in this control plane's own row, if the row exists.
    pub own_beat: Option<u64>,
}

/// How to answer a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// Answer with the page and a lease.
    Lease {
        /// For the answer.
        lease_ms: u64,
        /// For the answer.
        fresh_ms: i64,
    },
    /// Answer with the page and `lease_ms` 0: it is not the last page, or no lease may be granted now.
    PageOnly,
    /// Do not answer from this reading, because it shows too little. Read again.
    ReadAgain,
}

/// The state of one control plane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Barrier {
    id: ControlPlaneId,
    times: LeaseTimes,
    granted: Granted,
    own_beats: OwnBeats,
    peers: Peers,
    waits: Waits,
}

impl Barrier {
    /// A control plane that knows nothing and has granted nothing.
    pub fn new(id: ControlPlaneId, times: LeaseTimes) -> Self {
        Self {
            id,
            times,
            granted: Granted::new(times),
            own_beats: OwnBeats::new(times),
            peers: Peers::new(times),
            waits: Waits::default(),
        }
    }

    /// The id of the own row.
    pub fn id(&self) -> ControlPlaneId {
        self.id
    }

    /// Begins a write of the own row if one is due. A write that fails need not be reported: leases are granted only from
    /// readings that show the row.
    pub fn beat(&mut self, now: Duration) -> Option<Beat> {
        self.granted.sweep(now);
        (self.own_beats.due_at() <= now).then(|| self.write(now))
    }

    /// Begins a write of the own row even if none is due, to confirm a position without waiting for the next write.
    pub fn write(&mut self, now: Duration) -> Beat {
        Beat { beat: self.own_beats.begin(now), confirmed: self.confirm(now) }
    }

    /// Records that a reading has ended. False if it must not be used: it shows less than was promised, or its epoch
    /// may have been replaced.
    pub fn reading_ended(&mut self, reading: &Reading, now: Duration) -> bool {
        self.granted.learn(reading.head, reading.began, now)
    }

    /// Records that at this time the database was found to be one that may not be believed: a standby, another server, or a log
    /// that went back. Whether it has what was committed before is unknown.
    pub fn distrust(&mut self, at: Duration) {
        self.granted.distrust(at);
    }

    /// True if what was confirmed in this epoch at `since` may be missing from the log by now: another history was seen later.
    pub fn is_superseded(&self, epoch: Epoch, since: Duration) -> bool {
        self.epoch() != Some(epoch) || self.granted.log().is_superseded(epoch, since)
    }

    /// Records what an arriving poll says of its worker. Returns what to tell the other control planes, if it is news.
    pub fn polled(&mut self, request: &FeedRequest) -> Option<Ack> {
        let held = request.epoch.map(|epoch| LogPosition { epoch, seq: request.applied });
        let ack = match held {
            _ if request.leaving => Ack { worker: request.worker, held: None },
            None => return None,
            held => Ack { worker: request.worker, held },
        };
        self.granted.acknowledged(ack);
        self.granted.is_untold(ack).then_some(ack)
    }

    /// Records what a worker has told another control plane.
    pub fn heard_ack(&mut self, ack: Ack) {
        self.granted.acknowledged(ack);
    }

    /// The seq after which the page for this poll begins, in a log that reaches to `head`. `None` if the worker's copy is not
    /// of this history. Then the worker gets an empty page with `from: 0` and `more: true`, which tells it to start again.
    pub fn page_after(request: &FeedRequest, head: LogPosition) -> Option<u64> {
        match request.epoch {
            None => Some(0),
            Some(epoch) => head.covers(LogPosition { epoch, seq: request.applied }).then_some(request.applied),
        }
    }

    /// How long a poll without news may be held back.
    pub fn hold(&self, request: &FeedRequest) -> Duration {
        Duration::from_millis(request.hold_ms).min(self.times.hold)
    }

    /// Decides how to answer a poll that came at `arrived`, with a page from this reading. `last` is true if the page reaches
    /// to the reading's head.
    pub fn answer(
        &mut self,
        request: &FeedRequest,
        arrived: Duration,
        reading: &Reading,
        last: bool,
        now: Duration,
    ) -> Grant {
        // Since the reading ended, more may have been promised than it shows.
        if !self.granted.learn(reading.head, reading.began, now) {
            return Grant::ReadAgain;
        }
        let follows = Self::page_after(request, reading.head).is_some();
        let fresh_ms = match self.times.fresh_ms(arrived, reading.began) {
            Some(fresh_ms) => fresh_ms,
            None if request.leaving && follows => return Grant::PageOnly,
            // No lease may be granted from a reading that began before the poll arrived: its age would have to be
            // measured by this clock, which may have stood still. And the worker may know more than it shows.
            None => return Grant::ReadAgain,
        };
        let may = follows && last && !request.leaving && self.own_beats.vouch_for(reading.own_beat, reading.began);
        if !may || !self.granted.grant(request.worker, reading.head, reading.began, now) {
            return Grant::PageOnly;
        }
        let lease_ms = u64::try_from(self.times.lease.as_millis()).unwrap_or(0);
        Grant::Lease { lease_ms, fresh_ms }
    }

    /// Begins to wait, at `now`, for a commit of this process. Its callers are answered when [`Self::take_ended`] names
    /// the wait. If a logout's token was revoked already, its caller waits too, for the head that the logout's
    /// transaction saw.
    pub fn committed(&mut self, commit: &Commit, now: Duration) -> WaitId {
        // If a reading already knows more than the commit, the commit is still worth waiting for.
        self.granted.learn(commit.head, commit.began, now);
        self.wait(commit.head, commit.returned, now)
    }

    /// Begins to wait, at `now`, for a position that some control plane has committed before. Unlike [`Self::committed`] this
    /// learns nothing of the log, which may have gone back since.
    pub fn asked(&mut self, position: LogPosition, now: Duration) -> WaitId {
        self.wait(position, now, now)
    }

    fn wait(&mut self, position: LogPosition, returned: Duration, now: Duration) -> WaitId {
        let deadline = now.saturating_add(self.times.lease_over());
        self.waits.add(position, returned, now, deadline)
    }

    /// Records the rows of `replicas`. A statement that began at `began` and ended at `now` read them in one snapshot with the
    /// log's `head`. Rows are given in the order in which their statements began, which the task that reads them one after the
    /// other sees to: older rows after newer ones could hide a control plane whose place a row of nobody has taken.
    pub fn rows(&mut self, head: LogPosition, rows: &[ControlPlaneRow], began: Duration, now: Duration) {
        // If no worker polls, nothing else shows the commits of other control planes.
        self.granted.learn(head, began, now);
        let others: Vec<_> = rows.iter().copied().filter(|row| row.id != self.id).collect();
        self.peers.rows(&others, now);
        self.waits.rows(head.epoch, &others, &self.peers, began);
    }

    /// True if a logout waits for the rows or for other control planes. Then read the rows again soon, because they may
    /// hold confirmations.
    pub fn wants_rows(&self) -> bool {
        self.waits.wait_for_others()
    }

    /// The rows that have to go, each by `WHERE id = .. AND beat = ..`. The rows that were read last decide this.
    pub fn stale_rows(&self, began: Duration) -> StaleRows {
        self.peers.stale(began)
    }

    /// Each other control plane of the rows that were read last, by a statement that began at `began`: whether it is silent, and
    /// whether it has confirmed all logouts of the log.
    pub fn others(&self, began: Duration) -> impl Iterator<Item = (ControlPlaneId, bool, bool)> {
        self.peers.each(self.granted.log().head(), began)
    }

    /// Records that another control plane has confirmed everything up to `position`.
    pub fn heard_confirmation(&mut self, id: ControlPlaneId, position: LogPosition) {
        self.peers.confirmed(id, position);
        self.waits.confirmed(id, position);
    }

    /// The position up to which no lease from here is in the way of a logout, now or later. Tell it to the other
    /// control planes. Within an epoch it only grows.
    pub fn confirm(&mut self, now: Duration) -> Option<LogPosition> {
        self.granted.confirm(now)
    }

    /// Takes out the logouts whose wait is over: those that may be answered now, and those that will never be confirmed.
    pub fn take_ended(&mut self, now: Duration) -> Vec<(WaitId, Result<Safe, Superseded>)> {
        self.waits.take_ended(&mut self.granted, now)
    }

    /// Forgets a logout whose caller has gone.
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
        self.own_beats.due_at()
    }

    /// When to call [`Self::take_ended`] next if nothing else happens; `None` while no logout waits.
    pub fn safe_at(&self, now: Duration) -> Option<Duration> {
        self.waits.wake_at(&self.granted, now)
    }

    /// The present epoch of the log, as far as this control plane knows.
    pub fn epoch(&self) -> Option<Epoch> {
        self.granted.log().head().map(|head| head.epoch)
    }

    /// How many workers with a lease from here hold everything up to `position`, and how many have a lease at all.
    pub fn workers(&self, position: LogPosition, now: Duration) -> (usize, usize) {
        self.granted.count(position, now)
    }

    /// True if all leases from here are over. A control plane that ends may then remove its row, provided that it
    /// answers no more polls.
    pub fn all_over(&self, now: Duration) -> bool {
        self.granted.all_over(now)
    }
}

#[cfg(test)]
mod tests;
