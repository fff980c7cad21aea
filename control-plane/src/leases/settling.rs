//! Logouts that wait, and the task that tells them when they may be answered.

use std::time::Duration;

use tokio::sync::watch;

use super::peers::message::PeerMessage;
use super::protocol::{Barrier, Safe, Superseded, WaitId};
use super::{Leases, sleep_until};
use crate::clock::since_boot;
use crate::log::{Commit, LogPosition};

/// How soon it is looked again whether what somebody else committed can be confirmed, where only time can tell.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// All logouts that wait for one head.
pub(super) struct Waiting {
    id: WaitId,
    head: LogPosition,
    /// When the commit had returned.
    returned: Duration,
    /// When somebody began to wait for it.
    began: Duration,
    /// No worker had a lease from here.
    nobody: bool,
    done: watch::Sender<Option<Safe>>,
}

/// A logout that is committed and waits for its answer.
pub struct Settling {
    head: LogPosition,
    done: watch::Receiver<Option<Safe>>,
}

/// The task that settles has ended, or the log is of another history now, which may lack the logout: whether it is in force
/// is not known.
#[derive(Debug, PartialEq, Eq)]
pub struct Unsettled;

impl Settling {
    /// Returns when no request is admitted any more with what was logged out.
    ///
    /// # Errors
    ///
    /// See [`Unsettled`].
    pub async fn settled(&mut self) -> Result<(), Unsettled> {
        self.done.wait_for(Option::is_some).await.map(drop).map_err(|_| Unsettled)
    }

    /// The position that is waited for.
    pub const fn position(&self) -> LogPosition {
        self.head
    }

    /// Whether it is so already.
    pub fn is_settled(&self) -> bool {
        self.done.borrow().is_some()
    }
}

impl Leases {
    /// Begins to wait for a commit. Those who wait for the same head wait together: it was the same commit.
    pub fn settle(&self, commit: Commit) -> Settling {
        self.wait(commit.head, commit.returned, |barrier, now| barrier.committed(&commit, now))
    }

    /// Begins to wait for a head that was committed at some time before, by whomever. Whatever was settled from here covers
    /// what was committed before it, so who asks again is not kept waiting again.
    pub fn settle_position(&self, head: LogPosition) -> Settling {
        if self.state().settled.is_some_and(|settled| settled.covers(head)) {
            return Settling { head, done: watch::channel(Some(Safe::Acknowledged)).1 };
        }
        self.wait(head, since_boot(), |barrier, now| barrier.asked(head, now))
    }

    fn wait(
        &self,
        head: LogPosition,
        returned: Duration,
        begin: impl FnOnce(&mut Barrier, Duration) -> WaitId,
    ) -> Settling {
        let mut state = self.state();
        // One that counts from later may not know of a history that was there in between.
        let joined = |waiting: &&Waiting| waiting.head == head && waiting.returned <= returned;
        if let Some(waiting) = state.waiting.iter().rev().find(joined) {
            return Settling { head, done: waiting.done.subscribe() };
        }
        // After the commit's return: later than needed is never too early.
        let now = since_boot();
        let nobody = state.barrier.all_over(now);
        let id = begin(&mut state.barrier, now);
        let (done, waits) = watch::channel(None);
        state.waiting.push(Waiting { id, head, returned, began: now, nobody, done });
        drop(state);
        self.read_rows.notify_one();
        self.settle.notify_one();
        Settling { head, done: waits }
    }

    /// How many workers with a lease from here hold what the settling waits for, and how many have one.
    pub fn applied(&self, settling: &Settling) -> (usize, usize) {
        self.state().barrier.workers(settling.head, since_boot())
    }

    /// Answers those that may be answered, and confirms what can be confirmed; returns when to look again.
    fn step(&self) -> Option<Duration> {
        let now = since_boot();
        let mut state = self.state();
        for (id, ended) in state.barrier.take_ended(now) {
            let Some(place) = state.waiting.iter().position(|waiting| waiting.id == id) else { continue };
            let waiting = state.waiting.swap_remove(place);
            match ended {
                Ok(safe) => {
                    state.settles(waiting.head);
                    self.count(&waiting, safe, now);
                    waiting.done.send_replace(Some(safe));
                }
                // Its callers are told, by the end of the channel, that it is not known whether it is in force.
                Err(Superseded) => self.counters.superseded(),
            }
        }
        let next = state.barrier.safe_at(now);
        let again = now.saturating_add(LOOK_AGAIN);
        let again = state.foreign.map(|_| next.map_or(again, |next| next.min(again)));
        let confirmed = state.confirms_more(now);
        drop(state);
        if let Some(confirmed) = confirmed {
            self.tell(PeerMessage::Confirmed(confirmed));
            self.write_row.notify_one();
        }
        again.or(next)
    }

    fn count(&self, waiting: &Waiting, safe: Safe, now: Duration) {
        let counters = &self.counters;
        let outcome = match safe {
            Safe::Acknowledged if waiting.nobody => "nobody",
            Safe::Acknowledged => "acknowledged",
            Safe::Outlasted => "outlasted",
        };
        counters.settled(outcome, now.saturating_sub(waiting.began));
    }
}

/// Looks whenever something has happened or time has come.
pub(super) async fn run(leases: &Leases, over: impl Future<Output = ()>) {
    let mut over = std::pin::pin!(over);
    loop {
        let next = leases.step();
        let time = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = leases.settle.notified() => {}
            () = time => {}
            () = over.as_mut() => return,
        }
    }
}
