//! Where the signatures of logouts are checked: on threads of their own, a bounded number at a time.
//!
//! Checking an RSA or ECDSA signature takes a hundred times as long as the rest of a request. On the threads that also
//! answer the filter's questions, a flood of forged tokens would make every request in the mesh wait. Here the flood
//! itself waits, in one of two lanes. The second lane is for sources that have failed too often lately
//! ([`super::attempts`]), and for what a source sends at once beyond its share of the first lane. So a burst from one
//! source delays the first lane for no longer than its share takes. A real logout from a crowded address still gets its
//! turn in the second lane, in the order of arrival. A caller that finds no slot, or gets no thread in time, is told to
//! come again; nothing has happened then.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::source::Source;
use super::source_limit::{SourceLimit, SourcePermit};

/// Slots of a lane, for tokens that wait or are being checked: as many as the public listener has connections at most. Each
/// holds a token of 48 KiB at most.
const SLOTS: usize = 4096;

/// Slots of the first lane that one source may hold: more than a user's devices ever log out at once, and all of them are
/// done within milliseconds.
const ORDINARY_SHARE: u32 = 64;

/// Slots of the second lane that one source may hold: a crowd behind one address waits there together with the attacker that
/// made the address suspect.
const SUSPECT_SHARE: u32 = 256;

/// The two lanes.
pub struct Lanes {
    ordinary: Lane,
    suspect: Lane,
}

impl Lanes {
    /// Lanes for this machine: half of its cores for the first lane and a quarter for the second, and at least one for
    /// each.
    pub fn of_machine() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            ordinary: Lane::new("ordinary", SLOTS, ORDINARY_SHARE, cores / 2),
            suspect: Lane::new("suspect", SLOTS, SUSPECT_SHARE, cores / 4),
        }
    }

    /// Both lanes.
    pub fn all(&self) -> [&Lane; 2] {
        [&self.ordinary, &self.suspect]
    }

    /// A slot for work of this source: in the first lane if the source is not suspect and holds less than its share there, or
    /// else in the second.
    ///
    /// # Errors
    ///
    /// [`LaneFailure::Full`].
    pub fn admit(&self, source: &Source, is_suspect: bool) -> Result<Slot, LaneFailure> {
        let ordinary = if is_suspect { None } else { self.ordinary.admit(source) };
        ordinary.or_else(|| self.suspect.admit(source)).ok_or(LaneFailure::Full)
    }
}

/// Work that waits for a thread, in the order of arrival.
pub struct Lane {
    /// For metrics.
    pub name: &'static str,
    size: usize,
    slots: Arc<Semaphore>,
    by_source: Arc<SourceLimit>,
    threads: Arc<Semaphore>,
}

/// A slot in a lane, given back when it is dropped.
pub struct Slot {
    /// The lane's name, for metrics.
    pub lane: &'static str,
    held: (OwnedSemaphorePermit, SourcePermit),
    threads: Arc<Semaphore>,
}

/// Why a piece of work has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneFailure {
    /// There was no slot left, or none for this source. The work was not begun.
    Full,
    /// Its turn did not come in time. The work was not begun.
    Late,
    /// The work panicked.
    Panicked,
}

impl Lane {
    /// A lane of at most `size` pieces of work, of which at most `share` come from one source and `threads` (at least
    /// one) are done at the same time.
    fn new(name: &'static str, size: usize, share: u32, threads: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let (slots, threads) = (semaphore(size), semaphore(threads.max(1)));
        Self { name, size, slots, by_source: SourceLimit::new(share), threads }
    }

    /// Pieces of work that wait or are being done.
    pub fn waiting(&self) -> i64 {
        i64::try_from(self.size.saturating_sub(self.slots.available_permits())).unwrap_or(i64::MAX)
    }

    fn admit(&self, source: &Source) -> Option<Slot> {
        let permit = self.by_source.take(source)?;
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(Slot { lane: self.name, held: (slot, permit), threads: Arc::clone(&self.threads) })
    }
}

impl Slot {
    /// Does the work on another thread when its turn comes, if that is within `patience`. It calls `begin` just before.
    /// If the future is dropped before that, the slot is given back and the work is not done; if it is dropped later,
    /// the work is done all the same.
    ///
    /// # Errors
    ///
    /// [`LaneFailure::Late`] or [`LaneFailure::Panicked`].
    pub async fn run<T: Send + 'static>(
        self,
        patience: Duration,
        begin: impl FnOnce(),
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LaneFailure> {
        // The semaphore is never closed, so there is always a thread to wait for.
        let thread = timeout(patience, self.threads.acquire_owned()).await.ok().and_then(Result::ok);
        let (thread, held) = (thread.ok_or(LaneFailure::Late)?, self.held);
        begin();
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work();
            // The thread is released first: once the slot is seen to be free, the thread is free too.
            drop(thread);
            drop(held);
            outcome
        });
        done.await.map_err(|_| LaneFailure::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use axum::http::HeaderMap;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn source(last: u8) -> Source {
        Source::of([192, 0, 2, last].into(), &HeaderMap::new(), 0)
    }

    /// Work that goes on until the sender is used or dropped.
    fn held() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (let_go, held) = mpsc::channel::<()>();
        (let_go, move || {
            let _ = held.recv();
        })
    }

    /// Begins work in the lane and waits until it runs. The sender ends the work.
    async fn busy(lane: &Lane) -> mpsc::Sender<()> {
        let (let_go, work) = held();
        tokio::spawn(lane.admit(&source(1)).unwrap().run(PATIENCE, || (), work));
        while lane.threads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let_go
    }

    #[tokio::test]
    async fn work_without_a_slot_is_refused_at_once_and_waiting_work_gets_its_turn() {
        let lane = Lane::new("x", 2, 2, 1);
        let let_go = busy(&lane).await;
        let waiting = tokio::spawn(lane.admit(&source(1)).unwrap().run(PATIENCE, || (), || 7));
        assert!(lane.admit(&source(2)).is_none());
        assert_eq!(lane.waiting(), 2);
        drop(let_go);
        assert_eq!(waiting.await.unwrap(), Ok(7));
        // The task of the first piece of work may not have ended yet.
        while lane.waiting() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_client_that_goes_away_leaves_its_slot() {
        let lane = Lane::new("x", 2, 2, 1);
        let let_go = busy(&lane).await;
        let waiting = lane.admit(&source(1)).unwrap().run(PATIENCE, || panic!("it has gone"), || ());
        assert!(timeout(Duration::from_millis(10), waiting).await.is_err());
        assert_eq!(lane.waiting(), 1);
        drop(let_go);
    }

    #[tokio::test]
    async fn work_that_waits_for_too_long_is_never_begun() {
        let lane = Lane::new("x", 2, 2, 1);
        let let_go = busy(&lane).await;
        let waiting = lane.admit(&source(1)).unwrap();
        let outcome = waiting.run(Duration::from_millis(10), || panic!("too late"), || panic!("too late")).await;
        assert_eq!(outcome, Err::<(), _>(LaneFailure::Late));
        assert_eq!(lane.waiting(), 1);
        drop(let_go);
    }

    #[tokio::test]
    async fn a_panic_costs_no_slot() {
        let lane = Lane::new("x", 1, 1, 1);
        let run = lane.admit(&source(1)).unwrap().run(PATIENCE, || (), || panic!("a mistake"));
        assert_eq!(run.await, Err::<(), _>(LaneFailure::Panicked));
        assert_eq!(lane.admit(&source(1)).unwrap().run(PATIENCE, || (), || 7).await, Ok(7));
    }

    #[test]
    fn a_burst_from_one_source_leaves_the_first_lane_to_the_others() {
        let lanes = Lanes { ordinary: Lane::new("ordinary", 100, 3, 1), suspect: Lane::new("suspect", 100, 5, 1) };
        let slots: Vec<_> = (0..20).filter_map(|_| lanes.admit(&source(1), false).ok()).collect();
        let names: Vec<_> = slots.iter().map(|slot| slot.lane).collect();
        assert_eq!(names, [["ordinary"; 3].as_slice(), &["suspect"; 5]].concat());
        assert_eq!(lanes.admit(&source(1), false).err(), Some(LaneFailure::Full));
        // Another source may share the cell of the first, but not all of them do: the lane as a whole is not full.
        let other = (2..10).find_map(|last| lanes.admit(&source(last), false).ok()).unwrap();
        assert_eq!(other.lane, "ordinary");
        let suspect = (2..10).find_map(|last| lanes.admit(&source(last), true).ok()).unwrap();
        assert_eq!(suspect.lane, "suspect");
    }
}
