//! The task that looks for what is committed: by this process, which is told to it, and by others, which it has to look for.

use std::time::Duration;

use tokio::time::sleep;

use super::readings::Wanted;
use super::{Strict, counted};
use crate::barrier::Head;
use crate::clock::since_boot;

/// How often the head is read while workers count on this control plane. The others' logouts wait for half of that, on
/// average.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks until it is over.
pub(super) async fn run(strict: &Strict, over: impl Future<Output = ()>) {
    tokio::select! {
        ((), ()) = async { tokio::join!(own(strict), others(strict)) } => {}
        () = over => {}
    }
}

/// Wakes the polls that are held back at each commit of this process.
async fn own(strict: &Strict) {
    let mut commits = strict.store.writer().commits();
    while commits.changed().await.is_ok() {
        let commit = *commits.borrow_and_update();
        if let Some(commit) = commit {
            strict.know(counted(commit.head), commit.returned);
        }
    }
    // The writer has ended; the others' logouts still count on what is told here.
    std::future::pending().await
}

/// Looks whether somebody else has committed, as long as this control plane has a row: else nobody waits for it.
async fn others(strict: &Strict) {
    let mut registered = strict.registered.subscribe();
    loop {
        let _ = registered.wait_for(|registered| *registered).await;
        sleep(INTERVAL).await;
        let head = strict.store.head().await.map(counted);
        let known = strict.known.borrow().map(|known| known.head);
        if let Ok(head) = head
            && !known.is_some_and(|known| known.covers(head))
        {
            strict.fetch(head, known).await;
        }
    }
}

impl Strict {
    /// Reads what followed the last known head, for all polls that are held back.
    async fn fetch(&self, head: Head, known: Option<Head>) {
        let known = known.filter(|known| known.epoch == head.epoch);
        let after = known.map_or(head.seq, |known| known.seq);
        let _ = self.shown(Wanted { after, not_before: since_boot() }).await;
    }
}
