//! Where the signatures of logouts are checked: on threads of their own, a bounded number at a time.
//!
//! Checking an RSA or ECDSA signature takes a hundred times as long as the rest of a request. On the threads that also
//! answer the filter's questions, a flood of forged tokens would make every request in the mesh wait. Here it has to wait
//! itself, in one of two lanes: whoever has failed too often lately ([`crate::attempts`]) waits in the second one. A
//! flood from elsewhere cannot hold up the first for longer than its first failures take, and a real logout from a crowded address still has its turn in the
//! second, in the order of arrival. What finds a lane full is told to come again, and nothing has happened.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

/// Tokens that wait in a lane or are being checked: as many as the public listener has connections at most, so that
/// HTTP/1 clients never find it full. Each holds a token of 8 KiB at most.
const PLACES: usize = 4096;

/// The two lanes.
pub struct Verification {
    ordinary: Lane,
    suspect: Lane,
}

impl Verification {
    /// For this machine: half its cores for the first lane and a quarter for the second, one at least for each.
    pub fn of_machine() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self { ordinary: Lane::new("ordinary", PLACES, cores / 2), suspect: Lane::new("suspect", PLACES, cores / 4) }
    }

    /// Both.
    pub fn lanes(&self) -> [&Lane; 2] {
        [&self.ordinary, &self.suspect]
    }

    /// The lane for an attempt.
    pub fn lane(&self, is_suspect: bool) -> &Lane {
        if is_suspect { &self.suspect } else { &self.ordinary }
    }
}

/// Work that waits for a thread, in the order of arrival.
pub struct Lane {
    /// For metrics.
    pub name: &'static str,
    size: usize,
    places: Arc<Semaphore>,
    threads: Arc<Semaphore>,
}

/// Why a piece of work has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// There was no place left to wait. It was not begun.
    Full,
    /// It panicked.
    Panicked,
}

impl Lane {
    /// At most `places` pieces of work, `threads` of which are done at once (at least one).
    pub fn new(name: &'static str, places: usize, threads: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { name, size: places, places: semaphore(places), threads: semaphore(threads.max(1)) }
    }

    /// Pieces of work that wait or are being done.
    pub fn waiting(&self) -> i64 {
        i64::try_from(self.size.saturating_sub(self.places.available_permits())).unwrap_or(i64::MAX)
    }

    /// Does the work on another thread when its turn comes. Whoever stops waiting before that gives the place back.
    ///
    /// # Errors
    ///
    /// See [`Undone`].
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Undone> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Undone::Full)?;
        // Never closed, so there is always a thread to wait for.
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| Undone::Full)?;
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop((place, thread));
            outcome
        });
        done.await.map_err(|_| Undone::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Work that goes on until it is let go.
    fn held() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (let_go, held) = mpsc::channel::<()>();
        (let_go, move || {
            let _ = held.recv();
        })
    }

    #[tokio::test]
    async fn what_finds_no_place_is_told_at_once_and_what_waits_has_its_turn() {
        let lane = Arc::new(Lane::new("x", 2, 1));
        let run = |work| {
            let lane = Arc::clone(&lane);
            tokio::spawn(async move { lane.run(work).await })
        };
        let ((first, work), (second, waiting)) = (held(), held());
        let first_done = run(Box::new(work) as Box<dyn FnOnce() + Send>);
        let second_done = run(Box::new(waiting));
        while lane.waiting() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(lane.run(|| ()).await, Err(Undone::Full));
        assert!(!second_done.is_finished());
        drop((first, second));
        assert_eq!((first_done.await.unwrap(), second_done.await.unwrap()), (Ok(()), Ok(())));
        assert_eq!(lane.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_leaves_its_place() {
        let lane = Arc::new(Lane::new("x", 2, 1));
        let (let_go, work) = held();
        let busy = Arc::clone(&lane);
        let busy = tokio::spawn(async move { busy.run(work).await });
        while lane.threads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(timeout(Duration::from_millis(10), lane.run(|| ())).await.is_err());
        assert_eq!(lane.waiting(), 1);
        drop(let_go);
        assert_eq!(busy.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_panic_costs_no_place() {
        let lane = Lane::new("x", 1, 1);
        assert_eq!(lane.run(|| panic!("a mistake")).await, Err::<(), _>(Undone::Panicked));
        assert_eq!(lane.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn the_suspects_lane_can_be_full_while_the_other_is_free() {
        let verification = Verification { ordinary: Lane::new("ordinary", 1, 1), suspect: Lane::new("suspect", 0, 1) };
        assert_eq!(verification.lane(true).run(|| ()).await, Err(Undone::Full));
        assert_eq!(verification.lane(false).run(|| 7).await, Ok(7));
    }
}
