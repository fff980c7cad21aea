//! Where the signatures of logouts are checked: on threads of their own, a bounded number at a time.
//!
//! Checking an RSA or ECDSA signature takes a hundred times as long as the rest of a request. On the threads that also
//! answer the filter's questions, a flood of forged tokens would make every request in the mesh wait. Here it has to wait
//! itself, in one of two lanes: a source that has failed too often lately ([`crate::abuse::attempts`]) waits in the second one,
//! and so does what a source sends at once beyond its share of the first. So a burst from elsewhere cannot hold up the
//! first lane for longer than a share of it takes, and a real logout from a crowded address still has its turn in the
//! second, in the order of arrival. What finds no place, or no thread in time, is told to come again, and nothing has
//! happened.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::abuse::shares::{Share, Shares};
use crate::abuse::source::Source;

/// Tokens that wait in a lane or are being checked: as many as the public listener has connections at most. Each holds
/// a token of 8 KiB at most.
const PLACES: usize = 4096;

/// How many of the first lane one source may hold: more than anybody's own devices ever log out at once, and all of
/// them are done within milliseconds.
const ORDINARY_SHARE: u32 = 64;

/// How many of the second lane: there a crowd behind one address has to wait among those for whom it is suspect.
const SUSPECT_SHARE: u32 = 256;

/// The two lanes.
pub struct Verification {
    ordinary: Lane,
    suspect: Lane,
}

impl Verification {
    /// For this machine: half its cores for the first lane and a quarter for the second, one at least for each.
    pub fn of_machine() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            ordinary: Lane::new("ordinary", PLACES, ORDINARY_SHARE, cores / 2),
            suspect: Lane::new("suspect", PLACES, SUSPECT_SHARE, cores / 4),
        }
    }

    /// Both.
    pub fn lanes(&self) -> [&Lane; 2] {
        [&self.ordinary, &self.suspect]
    }

    /// A place for work of this source: in the first lane if it is not suspect and holds less than its share there,
    /// or else in the second.
    ///
    /// # Errors
    ///
    /// [`NotChecked::Full`].
    pub fn place(&self, source: &Source, is_suspect: bool) -> Result<Place, NotChecked> {
        let ordinary = if is_suspect { None } else { self.ordinary.place(source) };
        ordinary.or_else(|| self.suspect.place(source)).ok_or(NotChecked::Full)
    }
}

/// Work that waits for a thread, in the order of arrival.
pub struct Lane {
    /// For metrics.
    pub name: &'static str,
    size: usize,
    places: Arc<Semaphore>,
    shares: Arc<Shares>,
    threads: Arc<Semaphore>,
}

/// A place in a lane; whoever drops it gives it back.
pub struct Place {
    /// The lane's name, for metrics.
    pub lane: &'static str,
    held: (OwnedSemaphorePermit, Share),
    threads: Arc<Semaphore>,
}

/// Why a piece of work has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotChecked {
    /// There was no place left to wait, or none for this source. It was not begun.
    Full,
    /// Its turn did not come in time. It was not begun.
    Late,
    /// It panicked.
    Panicked,
}

impl Lane {
    /// At most `places` pieces of work, `share` of them from one source; `threads` are done at once (at least one).
    fn new(name: &'static str, places: usize, share: u32, threads: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let (waiting, threads) = (semaphore(places), semaphore(threads.max(1)));
        Self { name, size: places, places: waiting, shares: Shares::new(share), threads }
    }

    /// Pieces of work that wait or are being done.
    pub fn waiting(&self) -> i64 {
        i64::try_from(self.size.saturating_sub(self.places.available_permits())).unwrap_or(i64::MAX)
    }

    fn place(&self, source: &Source) -> Option<Place> {
        let share = self.shares.take(source)?;
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { lane: self.name, held: (place, share), threads: Arc::clone(&self.threads) })
    }
}

impl Place {
    /// Does the work on another thread when its turn comes, if that is within `patience`; `begin` is called just before.
    /// Whoever stops waiting before that gives the place back; after that the work is done all the same.
    ///
    /// # Errors
    ///
    /// [`NotChecked::Late`] or [`NotChecked::Panicked`].
    pub async fn run<T: Send + 'static>(
        self,
        patience: Duration,
        begin: impl FnOnce(),
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotChecked> {
        // Never closed, so there is always a thread to wait for.
        let thread = timeout(patience, self.threads.acquire_owned()).await.ok().and_then(Result::ok);
        let (thread, held) = (thread.ok_or(NotChecked::Late)?, self.held);
        begin();
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work();
            // The thread first: whoever sees a place given back finds the thread free as well.
            drop(thread);
            drop(held);
            outcome
        });
        done.await.map_err(|_| NotChecked::Panicked)
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

    /// Work that goes on until it is let go.
    fn held() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (let_go, held) = mpsc::channel::<()>();
        (let_go, move || {
            let _ = held.recv();
        })
    }

    /// Begins work in the lane and waits until it is at it; what lets it go.
    async fn busy(lane: &Lane) -> mpsc::Sender<()> {
        let (let_go, work) = held();
        tokio::spawn(lane.place(&source(1)).unwrap().run(PATIENCE, || (), work));
        while lane.threads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let_go
    }

    #[tokio::test]
    async fn what_finds_no_place_is_told_at_once_and_what_waits_has_its_turn() {
        let lane = Lane::new("x", 2, 2, 1);
        let let_go = busy(&lane).await;
        let waiting = tokio::spawn(lane.place(&source(1)).unwrap().run(PATIENCE, || (), || 7));
        assert!(lane.place(&source(2)).is_none());
        assert_eq!(lane.waiting(), 2);
        drop(let_go);
        assert_eq!(waiting.await.unwrap(), Ok(7));
        // The first one's task may not have come to its end yet.
        while lane.waiting() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_client_that_goes_away_leaves_its_place() {
        let lane = Lane::new("x", 2, 2, 1);
        let let_go = busy(&lane).await;
        let waiting = lane.place(&source(1)).unwrap().run(PATIENCE, || panic!("it has gone"), || ());
        assert!(timeout(Duration::from_millis(10), waiting).await.is_err());
        assert_eq!(lane.waiting(), 1);
        drop(let_go);
    }

    #[tokio::test]
    async fn what_waits_for_too_long_is_never_begun() {
        let lane = Lane::new("x", 2, 2, 1);
        let let_go = busy(&lane).await;
        let waiting = lane.place(&source(1)).unwrap();
        let outcome = waiting.run(Duration::from_millis(10), || panic!("too late"), || panic!("too late")).await;
        assert_eq!(outcome, Err::<(), _>(NotChecked::Late));
        assert_eq!(lane.waiting(), 1);
        drop(let_go);
    }

    #[tokio::test]
    async fn a_panic_costs_no_place() {
        let lane = Lane::new("x", 1, 1, 1);
        let run = lane.place(&source(1)).unwrap().run(PATIENCE, || (), || panic!("a mistake"));
        assert_eq!(run.await, Err::<(), _>(NotChecked::Panicked));
        assert_eq!(lane.place(&source(1)).unwrap().run(PATIENCE, || (), || 7).await, Ok(7));
    }

    #[test]
    fn a_burst_from_one_source_leaves_the_first_lane_to_the_others() {
        let verification =
            Verification { ordinary: Lane::new("ordinary", 100, 3, 1), suspect: Lane::new("suspect", 100, 5, 1) };
        let places: Vec<_> = (0..20).filter_map(|_| verification.place(&source(1), false).ok()).collect();
        let lanes: Vec<_> = places.iter().map(|place| place.lane).collect();
        assert_eq!(lanes, [["ordinary"; 3].as_slice(), &["suspect"; 5]].concat());
        assert_eq!(verification.place(&source(1), false).err(), Some(NotChecked::Full));
        // Not even one that shares its cell is refused by the lane as a whole.
        let other = (2..10).find_map(|last| verification.place(&source(last), false).ok()).unwrap();
        assert_eq!(other.lane, "ordinary");
        let suspect = (2..10).find_map(|last| verification.place(&source(last), true).ok()).unwrap();
        assert_eq!(suspect.lane, "suspect");
    }
}
