//! The task that notices commits. The writer reports the commits of this process. The task has to look for the commits
//! of other control planes.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::news::News;
use super::peers::message::PeerMessage;
use super::peers::outbox::Outbox;
use super::readings::{LogReader, Wanted};
use super::signals::Signals;
use super::state::SharedState;
use super::surroundings::LogStore;
use crate::log::{Commit, LogPosition};

/// How often the head is read while workers have leases from this control plane. On average a logout at another control
/// plane waits for half of this interval.
const INTERVAL: Duration = Duration::from_millis(20);

/// The same interval while the others report their commits through Redis.
const INTERVAL_WITH_REDIS: Duration = Duration::from_millis(250);

/// The parts of the room that this file uses.
pub(super) struct Tail<'a> {
    pub(super) store: &'a dyn LogStore,
    pub(super) state: &'a SharedState,
    pub(super) signals: &'a Signals,
    pub(super) news: &'a News,
    pub(super) reader: LogReader<'a>,
    pub(super) outbox: &'a Outbox,
}

impl Tail<'_> {
    /// Looks for commits until `over` is ready.
    pub(super) async fn run(self, over: impl Future<Output = ()>) {
        tokio::select! {
            ((), ()) = async { tokio::join!(self.own_commits(), self.commits_of_others()) } => {}
            () = over => {}
        }
    }

    /// Wakes the polls that are held back at each commit of this process.
    async fn own_commits(&self) {
        let mut commits = self.store.commits();
        while commits.changed().await.is_ok() {
            let commit = *commits.borrow_and_update();
            if let Some(commit) = commit {
                self.committed(commit);
            }
        }
        // The writer has ended. Logouts at other control planes still need the other half of this task.
        std::future::pending().await
    }

    fn committed(&self, commit: Commit) {
        self.news.hear(commit.head, commit.returned);
        self.outbox.tell(PeerMessage::Head(commit.head));
        // Otherwise a commit that others made just before would never be noticed, because the own commit hides it.
        if self.state.lock().survey.head(commit.head, Some(commit.before)) {
            self.signals.look();
        }
    }

    /// Looks for commits of others, but only while this control plane has a row: without one, no logout waits for it.
    async fn commits_of_others(&self) {
        let mut hints = self.news.hints();
        loop {
            self.signals.registered().await;
            let head = self.next(&mut hints).await;
            let known = self.news.head();
            if let Some(head) = head
                && !known.is_some_and(|known| known.covers(head))
            {
                self.read_for_all(head, known).await;
            }
        }
    }

    /// The next head that another control plane reports, or after a while the head that the database shows.
    async fn next(&self, hints: &mut watch::Receiver<Option<LogPosition>>) -> Option<LogPosition> {
        let pause = if self.outbox.is_heard() { INTERVAL_WITH_REDIS } else { INTERVAL };
        tokio::select! {
            changed = hints.changed() => {
                changed.ok()?;
                *hints.borrow_and_update()
            }
            () = sleep(pause) => self.store.head().await.ok(),
        }
    }

    /// Reads what follows the last known head, for all polls that are held back.
    async fn read_for_all(&self, head: LogPosition, known: Option<LogPosition>) {
        let known = known.filter(|known| known.epoch == head.epoch);
        let after = known.map_or(head.seq, |known| known.seq);
        let _ = self.reader.reading(Wanted { after, not_before: self.reader.clock.now() }).await;
    }
}
