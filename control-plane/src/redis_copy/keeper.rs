//! The task that keeps the copy complete: it reconnects, and copies missing entries from the database.
//!
//! Two things show what is missing. The first is the seq up to which everything has been copied: entries that a logout
//! could not copy are copied when Redis is back. The second is a marker beside the entries. It vanishes with them when
//! Redis is flushed or comes back empty; then the whole log is copied again. Several control planes may do this at
//! once, because they write the same values.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::RedisCopy;
use super::eviction::EvictionWarning;
use super::live::{ASK_LIMIT, Live, Shared};
use super::marker::Marker;
use super::publishing::PIPELINE;
use super::refills::Refills;
use crate::log::LogPosition;
use crate::log_throttle::LogThrottle;
use crate::store::{ReadFailure, Store};

/// The interval between two looks for missing entries.
const TICK: Duration = Duration::from_secs(1);

/// The pauses between attempts to connect: each is twice the last one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// After a connection that lasted this long, the pauses begin with the shortest again.
const PROVEN_AFTER: Duration = Duration::from_secs(30);

/// How long a pipeline may take in the background.
const COPY_LIMIT: Duration = Duration::from_secs(2);

/// How long a marker lives after the last control plane has stopped keeping its copy, in seconds.
const MARKER_LIFE: i64 = 7 * 24 * 3600;

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
        eviction: EvictionWarning::default(),
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
    /// The pause before the next attempt to connect.
    pause: Duration,
    attempts: usize,
    /// When the last connection came into use.
    used_since: Option<Instant>,
    /// The generation of the copy that the progress belongs to; `None` before a marker was read.
    generation: Option<String>,
    /// The seq that its marker names.
    marked: u64,
    /// The connection over which the marker was read last.
    marked_over: Option<Instant>,
    eviction: EvictionWarning,
    refills: Refills,
    read_failures: LogThrottle,
}

impl Keeper<'_> {
    /// One round and the pause after it.
    async fn turn(&mut self) {
        let Some(live) = self.shared.live() else { return self.connect().await };
        self.used_since = Some(live.since);
        if self.tend(&live).await.is_none() {
            // After any failure, the next attempt is not made at once.
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
                self.eviction = EvictionWarning::default();
                self.shared.begin(connection);
            }
            Err(trouble) => self.shared.report(&trouble),
        }
    }

    /// Copies what is missing. `None` after any failure. After a failure of Redis the connection is given up.
    async fn tend(&mut self, live: &Live) -> Option<()> {
        self.eviction.warn(live).await;
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
        if !self.store.explains(&error)
            && let Some(failures) = self.read_failures.line(Instant::now())
        {
            let error = error.cause();
            warn!(error, failures, "revocations could not be read for Redis; it goes on when they can");
        }
        None
    }

    /// Finds out which copy is in Redis: the one that this process knows, another one, or none.
    async fn find_marker(&mut self, live: &Live, head: LogPosition) -> Option<()> {
        let name = self.shared.settings.rules.marker(head.epoch);
        let values = self.shared.within(live, ASK_LIMIT, live.connection.get(&[&name])).await?;
        let value = values.into_iter().flatten().next();
        match value.as_deref().map(Marker::parse) {
            Some(Some(marker)) if self.generation.as_ref() == Some(&marker.generation) => {
                self.go_back(live, marker.through);
                Some(())
            }
            Some(Some(marker)) => {
                self.warn_of_another_history(marker.through, head).await?;
                self.marked_over = Some(live.since);
                self.resume(marker);
                Some(())
            }
            // Until a copy may begin, only new commits are copied to Redis.
            _ if !self.refills.is_due(Instant::now()) => Some(()),
            // A marker of another control plane is not overwritten. A value that is not a marker is overwritten.
            None => self.begin_copy(live, &name, "NX").await,
            Some(None) => self.begin_copy(live, &name, "XX").await,
        }
    }

    /// Goes back to the seq that an older marker names. A Redis replica that took over, or a Redis that came back from
    /// its disk, lacks the latest entries, and with them the latest marker. Every entry up to a marker's seq was
    /// written before the marker. Over a new connection, entries that no marker covers are copied again, because they
    /// may be lost, too.
    fn go_back(&mut self, live: &Live, through: u64) {
        let is_new = self.marked_over.replace(live.since) != Some(live.since);
        if through < self.marked || (is_new && through < self.shared.progress().through()) {
            debug!(through, "copying again what Redis may have lost");
            self.marked = through;
            self.shared.progress().resume(through);
        }
    }

    /// Warns if Redis has more of the log than the database. The head may have moved since it was read, so this reads
    /// it once more.
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

    /// Begins to copy the whole log, under a new marker.
    async fn begin_copy(&mut self, live: &Live, name: &str, condition: &str) -> Option<()> {
        let marker = Marker::new();
        let value = marker.to_string();
        let beginning = live.connection.set_if(name, &value, MARKER_LIFE, condition);
        if self.shared.within(live, ASK_LIMIT, beginning).await? {
            info!("copying all revocations to Redis");
            self.shared.counters.refills.inc();
            self.refills.begin(Instant::now());
            self.marked_over = Some(live.since);
            self.resume(marker);
        }
        Some(())
    }

    fn resume(&mut self, marker: Marker) {
        self.generation = Some(marker.generation);
        self.marked = marker.through;
        self.shared.progress().resume(marker.through);
    }

    /// Copies the next page; true if there may be more.
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
            // The entries after the last copied one, up to the head, are no longer needed.
            self.shared.progress().copied(head, from, head.seq);
        }
        Some(full)
    }

    /// Stores the copy's seq in the marker, unless the marker has vanished meanwhile.
    async fn move_marker(&mut self, live: &Live, head: LogPosition) -> Option<()> {
        let through = self.shared.progress().through();
        let Some(generation) = self.generation.clone().filter(|_| through != self.marked) else { return Some(()) };
        let (name, value) = (self.shared.settings.rules.marker(head.epoch), Marker { generation, through }.to_string());
        let moving = live.connection.set_if(&name, &value, MARKER_LIFE, "XX");
        if self.shared.within(live, ASK_LIMIT, moving).await? {
            self.marked = through;
        }
        Some(())
    }
}
