//! Copies entries of the log to Redis.

use std::time::Duration;

use tokio::time::Instant;

use super::MOST_PUBLISHED;
use super::live::{Live, Shared};
use crate::log::{Commit, LogPosition, Logged};

/// How long the entries of one pipeline may take before a logout is answered without them.
const PUBLISH_LIMIT: Duration = Duration::from_millis(250);

/// How long all pipelines of one commit may take; the rest is left to the keeper.
const COMMIT_LIMIT: Duration = Duration::from_millis(500);

/// Entries in one pipeline: some hundred kilobytes, and about a millisecond in which Redis serves no other client.
pub(super) const PIPELINE: usize = 1_000;

impl Shared {
    /// Copies the revocations of a commit.
    pub(super) async fn publish(&self, commit: Commit, entries: &[Logged]) {
        self.progress().observe(commit.head);
        if let Some(live) = self.live() {
            self.write(&live, commit, entries).await;
        }
        self.show_pending();
    }

    async fn write(&self, live: &Live, commit: Commit, entries: &[Logged]) {
        let until = Instant::now() + COMMIT_LIMIT;
        let before = commit.before;
        let mut from = before.seq;
        for entries in entries.chunks(PIPELINE) {
            if Instant::now() >= until || !self.copy(live, before, from, entries, PUBLISH_LIMIT).await {
                return;
            }
            from = entries.last().map_or(from, |entry| entry.seq);
        }
        if u64::try_from(entries.len()).is_ok_and(|count| count < MOST_PUBLISHED) {
            // These were all. A change of keys takes a place in the log, too, and is no entry.
            self.progress().copied(before, from, commit.head.seq);
        }
    }

    /// Copies the entries that follow `from` in the log; true if that succeeded in time.
    pub(super) async fn copy(
        &self,
        live: &Live,
        log: LogPosition,
        from: u64,
        entries: &[Logged],
        limit: Duration,
    ) -> bool {
        let now = self.clock.now();
        let rules = &self.settings.rules;
        let written: Vec<_> = entries.iter().filter_map(|entry| rules.write(log.epoch, entry, now)).collect();
        if !written.is_empty() && self.within(live, limit, live.connection.set(&written)).await.is_none() {
            return false;
        }
        self.counters.written.inc_by(u64::try_from(written.len()).unwrap_or(u64::MAX));
        if let Some(last) = entries.last() {
            self.progress().copied(log, from, last.seq);
        }
        true
    }
}
