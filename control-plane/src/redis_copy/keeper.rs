//! The task that keeps the copy complete: connects again, and copies from the database what is missing.
//!
//! It goes by two things. The newest place up to which everything has been copied, so that whatever a logout could not
//! write is written when Redis is back. And a marker beside the entries: it vanishes with them when Redis is flushed
//! or comes back empty, and then everything is copied anew. Several control planes may do this at once; they write the
//! same values.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::refills::Refills;
use super::{ASK_LIMIT, Live, PIPELINE, RedisCopy, Shared};
use crate::log::LogPosition;
use crate::log_throttle::LogThrottle;
use crate::store::{ReadFailure, Store};

/// How often it looks whether anything is missing.
const TICK: Duration = Duration::from_secs(1);

/// The pauses between attempts to connect: each is twice the last one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A connection that held this long was good: after it the pauses begin with the shortest again.
const PROVEN_AFTER: Duration = Duration::from_secs(30);

/// How long a pipeline may take in the background.
const COPY_LIMIT: Duration = Duration::from_secs(2);

/// How long the marker of a log lives that nobody keeps any more, in seconds.
const MARKER_LIFE: i64 = 7 * 24 * 3600;

/// How often it looks whether Redis may evict entries.
const MEMORY_INTERVAL: Duration = Duration::from_secs(600);

/// Keeps the copy complete until it is told to stop.
pub async fn run(redis_copy: &RedisCopy, store: &Store, stop: CancellationToken) {
    let Some(shared) = &redis_copy.0 else { return };
    let mut keeper = Keeper {
        shared,
        store,
        pause: SHORTEST_PAUSE,
        attempts: 0,
        used_since: None,
        generation: None,
        marked: 0,
        marked_over: None,
        memory_asked: None,
        refills: Refills::default(),
        read_failures: LogThrottle::default(),
    };
    loop {
        tokio::select! {
            () = keeper.turn() => {}
            () = stop.cancelled() => return,
        }
    }
}

struct Keeper<'a> {
    shared: &'a Shared,
    store: &'a Store,
    /// Before the next attempt to connect.
    pause: Duration,
    attempts: usize,
    /// Since when the connection was in use that was seen last.
    used_since: Option<Instant>,
    /// The marker that the progress belongs to; none before it was read.
    generation: Option<String>,
    /// What the marker says.
    marked: u64,
    /// The connection over which the marker was read last.
    marked_over: Option<Instant>,
    memory_asked: Option<Instant>,
    refills: Refills,
    read_failures: LogThrottle,
}

impl Keeper<'_> {
    /// One round and the pause after it.
    async fn turn(&mut self) {
        let Some(live) = self.shared.live() else { return self.connect().await };
        self.used_since = Some(live.since);
        if self.tend(&live).await.is_none() {
            // Whatever it was, it is not tried again at once.
            return sleep(SHORTEST_PAUSE).await;
        }
        tokio::select! {
            () = sleep(TICK) => {}
            () = self.shared.lost.notified() => {}
        }
    }

    async fn connect(&mut self) {
        if self.used_since.take().is_some_and(|since| since.elapsed() > PROVEN_AFTER) {
            self.pause = SHORTEST_PAUSE;
        }
        sleep(self.pause).await;
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        self.attempts = self.attempts.wrapping_add(1);
        match self.shared.connect(self.attempts).await {
            Ok(connection) => {
                self.memory_asked = None;
                self.shared.begin(connection);
            }
            Err(trouble) => self.shared.report(&trouble),
        }
    }

    /// Copies what is missing. Every failure of Redis ends it; the connection is given up then.
    async fn tend(&mut self, live: &Live) -> Option<()> {
        self.warn_of_eviction(live).await?;
        let head = self.read(self.store.head().await)?;
        self.shared.progress().observe(head);
        self.find_marker(live, head).await?;
        while self.copy_page(live, head).await? {}
        self.shared.show_pending();
        self.move_marker(live, head).await
    }

    fn read<T>(&self, outcome: Result<T, ReadFailure>) -> Option<T> {
        let error = match outcome {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if let Some(failures) = self.read_failures.line(Instant::now()) {
            warn!(?error, failures, "revocations could not be read for Redis; it goes on when they can");
        }
        None
    }

    /// Finds out which copy this is: the one known, another one, or none.
    async fn find_marker(&mut self, live: &Live, head: LogPosition) -> Option<()> {
        let name = self.shared.settings.rules.marker(head.epoch);
        let values = self.shared.within(live, ASK_LIMIT, live.connection.get(&[&name])).await?;
        let value = values.into_iter().flatten().next();
        match value.as_deref().map(read_marker) {
            Some(Some((generation, through))) if self.generation.as_ref() == Some(&generation) => {
                self.go_back(live, through);
                Some(())
            }
            Some(Some((generation, through))) => {
                self.warn_of_another_history(through, head).await?;
                self.marked_over = Some(live.since);
                self.resume(generation, through);
                Some(())
            }
            // Until then Redis has what is committed from now on.
            _ if !self.refills.is_due(Instant::now()) => Some(()),
            // Nobody else's marker is overwritten, but what is none is.
            None => self.begin_copy(live, &name, "NX").await,
            Some(None) => self.begin_copy(live, &name, "XX").await,
        }
    }

    /// Goes on from an older marker than the one that was written. A replica that took over, or a Redis that came back from
    /// its disk, lacks the latest entries, and with them the latest marker; what the marker stands behind was written
    /// before it. Over a new connection nothing counts that is not marked, for that may be lost, too.
    fn go_back(&mut self, live: &Live, through: u64) {
        let is_new = self.marked_over.replace(live.since) != Some(live.since);
        if through < self.marked || (is_new && through < self.shared.progress().through()) {
            debug!(through, "copying again what Redis may have lost");
            self.marked = through;
            self.shared.progress().resume(through);
        }
    }

    /// Says so if more was copied than there is. The head may have moved since it was read, so it is read once more.
    async fn warn_of_another_history(&self, through: u64, head: LogPosition) -> Option<()> {
        if through > head.seq {
            let now = self.read(self.store.head().await)?;
            if now.epoch == head.epoch && through > now.seq {
                warn!(
                    copied = through,
                    head = now.seq,
                    "Redis has revocations that the database has lost: was it restored from a backup? They stay in force \
                     where Redis is asked, for as long as their entries live"
                );
            }
        }
        Some(())
    }

    /// Everything is copied anew, under a marker of its own.
    async fn begin_copy(&mut self, live: &Live, name: &str, condition: &str) -> Option<()> {
        let generation = generation();
        let value = marker(&generation, 0);
        let beginning = live.connection.set_if(name, &value, MARKER_LIFE, condition);
        if self.shared.within(live, ASK_LIMIT, beginning).await? {
            info!("copying all revocations to Redis");
            self.shared.counters.refills.inc();
            self.refills.begin(Instant::now());
            self.marked_over = Some(live.since);
            self.resume(generation, 0);
        }
        Some(())
    }

    fn resume(&mut self, generation: String, through: u64) {
        self.generation = Some(generation);
        self.marked = through;
        self.shared.progress().resume(through);
    }

    /// Copies the next page; whether there may be more.
    async fn copy_page(&self, live: &Live, head: LogPosition) -> Option<bool> {
        let from = self.shared.progress().through();
        if from >= head.seq {
            return Some(false);
        }
        let now = self.shared.clock.now();
        let page = self.read(self.store.live_revocations(from, now, PIPELINE as u64).await)?;
        let full = page.len() >= PIPELINE;
        if !self.shared.copy(live, head, from, &page, COPY_LIMIT).await {
            return None;
        }
        if !full {
            // What lies between the last one and the head may be forgotten already.
            self.shared.progress().copied(head, from, head.seq);
        }
        Some(full)
    }

    /// Writes down how far the copy reaches, unless the marker has vanished meanwhile.
    async fn move_marker(&mut self, live: &Live, head: LogPosition) -> Option<()> {
        let through = self.shared.progress().through();
        let Some(generation) = self.generation.as_ref().filter(|_| through != self.marked) else { return Some(()) };
        let (name, value) = (self.shared.settings.rules.marker(head.epoch), marker(generation, through));
        let moving = live.connection.set_if(&name, &value, MARKER_LIFE, "XX");
        if self.shared.within(live, ASK_LIMIT, moving).await? {
            self.marked = through;
        }
        Some(())
    }

    async fn warn_of_eviction(&mut self, live: &Live) -> Option<()> {
        if self.memory_asked.is_some_and(|asked| asked.elapsed() < MEMORY_INTERVAL) {
            return Some(());
        }
        self.memory_asked = Some(Instant::now());
        // Some services do not answer this, which is no failure.
        let Ok(Ok(Some(memory))) = timeout(ASK_LIMIT, live.connection.memory()).await else { return Some(()) };
        if let Some(policy) = evicting(&memory) {
            warn!(
                policy,
                "Redis may evict entries when its memory is full; checks then ask the database: set maxmemory-policy noeviction"
            );
        }
        Some(())
    }
}

/// The policy by which entries may be evicted, if they may.
fn evicting(memory: &str) -> Option<&str> {
    let value = |name: &str| memory.lines().find_map(|line| line.trim_end().strip_prefix(name));
    let limited = value("maxmemory:").is_some_and(|limit| limit != "0");
    value("maxmemory_policy:").filter(|policy| limited && *policy != "noeviction")
}

/// Names one copy: whoever meets another name than the one it knows takes over what that marker says.
fn generation() -> String {
    let mut bytes = [0; 8];
    // Without random numbers all copies have one name, and a copy begun by somebody else is not noticed.
    let _ = getrandom::fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}

fn marker(generation: &str, through: u64) -> String {
    format!("{generation}:{through}")
}

fn read_marker(value: &[u8]) -> Option<(String, u64)> {
    let (generation, through) = std::str::from_utf8(value).ok()?.split_once(':')?;
    let through = through.parse().ok()?;
    (generation.len() == 16).then(|| (generation.to_owned(), through))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        let name = generation();
        assert_eq!(read_marker(marker(&name, 42).as_bytes()), Some((name, 42)));
        for wrong in ["", "42", "0123456789abcdef", "0123456789abcdef:-1", "0123456789abcdef:x", "short:1"] {
            assert_eq!(read_marker(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn only_a_limited_memory_with_a_policy_that_evicts_is_warned_of() {
        let info =
            |limit: &str, policy: &str| format!("# Memory\r\nmaxmemory:{limit}\r\nmaxmemory_policy:{policy}\r\n");
        assert_eq!(evicting(&info("1048576", "volatile-lru")), Some("volatile-lru"));
        assert_eq!(evicting(&info("1048576", "noeviction")), None);
        assert_eq!(evicting(&info("0", "allkeys-lru")), None);
        assert_eq!(evicting(""), None);
    }
}
