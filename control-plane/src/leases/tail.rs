//! The task that looks for what is committed: by this process, which is told to it, and by others, which it has to look for.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::Leases;
use super::peers::message::PeerMessage;
use super::readings::Wanted;
use crate::clock::since_boot;
use crate::log::LogPosition;

/// How often the head is read while workers count on this control plane. The others' logouts wait for half of that, on
/// average.
const INTERVAL: Duration = Duration::from_millis(20);

/// The same where they tell of their commits through Redis.
const INTERVAL_WITH_REDIS: Duration = Duration::from_millis(250);

/// Looks until it is over.
pub(super) async fn run(leases: &Leases, over: impl Future<Output = ()>) {
    tokio::select! {
        ((), ()) = async { tokio::join!(own(leases), others(leases)) } => {}
        () = over => {}
    }
}

/// Wakes the polls that are held back at each commit of this process.
async fn own(leases: &Leases) {
    let mut commits = leases.store.writer().commits();
    while commits.changed().await.is_ok() {
        let commit = *commits.borrow_and_update();
        if let Some(commit) = commit {
            let (before, head) = (commit.before, commit.head);
            leases.know(head, commit.returned);
            leases.tell(PeerMessage::Head(head));
            // What others committed just before would else never be seen by itself.
            if leases.state().survey(head, Some(before)) {
                leases.settle.notify_one();
            }
        }
    }
    // The writer has ended; the others' logouts still count on what is told here.
    std::future::pending().await
}

/// Looks whether somebody else has committed, as long as this control plane has a row: else nobody waits for it.
async fn others(leases: &Leases) {
    let (mut registered, mut hinted) = (leases.registered.subscribe(), leases.hinted.subscribe());
    loop {
        let _ = registered.wait_for(|registered| *registered).await;
        let head = next(leases, &mut hinted).await;
        let known = leases.known.borrow().map(|known| known.head);
        if let Some(head) = head
            && !known.is_some_and(|known| known.covers(head))
        {
            leases.fetch(head, known).await;
        }
    }
}

/// The head that somebody tells of, or else the one that the database shows after a while.
async fn next(leases: &Leases, hinted: &mut watch::Receiver<Option<LogPosition>>) -> Option<LogPosition> {
    let pause = if leases.is_heard() { INTERVAL_WITH_REDIS } else { INTERVAL };
    tokio::select! {
        changed = hinted.changed() => {
            changed.ok()?;
            *hinted.borrow_and_update()
        }
        () = sleep(pause) => leases.store.head().await.ok(),
    }
}

impl Leases {
    /// Reads what followed the last known head, for all polls that are held back.
    async fn fetch(&self, head: LogPosition, known: Option<LogPosition>) {
        let known = known.filter(|known| known.epoch == head.epoch);
        let after = known.map_or(head.seq, |known| known.seq);
        let _ = self.shown(Wanted { after, not_before: since_boot() }).await;
    }
}
