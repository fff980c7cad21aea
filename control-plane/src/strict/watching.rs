//! The task that looks for what is committed: by this process, which is told to it, and by others, which it has to look for.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::gossip::Told;
use super::readings::Wanted;
use super::{Strict, counted};
use crate::barrier::Head;
use crate::clock::since_boot;

/// How often the head is read while workers count on this control plane. The others' logouts wait for half of that, on
/// average.
const INTERVAL: Duration = Duration::from_millis(20);

/// The same where they tell of their commits through Redis.
const INTERVAL_WITH_REDIS: Duration = Duration::from_millis(250);

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
            let (before, head) = (counted(commit.before), counted(commit.head));
            strict.know(head, commit.returned);
            strict.tell(Told::Head(head));
            // What others committed just before would else never be seen by itself.
            if strict.state().survey(head, Some(before)) {
                strict.settle.notify_one();
            }
        }
    }
    // The writer has ended; the others' logouts still count on what is told here.
    std::future::pending().await
}

/// Looks whether somebody else has committed, as long as this control plane has a row: else nobody waits for it.
async fn others(strict: &Strict) {
    let (mut registered, mut hinted) = (strict.registered.subscribe(), strict.hinted.subscribe());
    loop {
        let _ = registered.wait_for(|registered| *registered).await;
        let head = next(strict, &mut hinted).await;
        let known = strict.known.borrow().map(|known| known.head);
        if let Some(head) = head
            && !known.is_some_and(|known| known.covers(head))
        {
            strict.fetch(head, known).await;
        }
    }
}

/// The head that somebody tells of, or else the one that the database shows after a while.
async fn next(strict: &Strict, hinted: &mut watch::Receiver<Option<Head>>) -> Option<Head> {
    let pause = if strict.is_heard() { INTERVAL_WITH_REDIS } else { INTERVAL };
    tokio::select! {
        changed = hinted.changed() => {
            changed.ok()?;
            *hinted.borrow_and_update()
        }
        () = sleep(pause) => strict.store.head().await.ok().map(counted),
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
