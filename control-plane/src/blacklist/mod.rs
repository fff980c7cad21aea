//! The blacklist in Redis: a copy of the log of revocations that answers without the database.
//!
//! The database is the truth. What is found here is an answer, for revocations are never taken back; what is not found
//! proves nothing, for Redis can be flushed, evicted or failed over. So Redis lost means slower and never wrong, and
//! nothing that Redis does or leaves undone may delay a check or a logout by more than the limits below.
//!
//! One failure, a time-out included, and Redis is left alone: checks ask the database, logouts skip the copy. Only
//! [`keeper`] goes on trying, and copies what was missed from the database when Redis is back.
//!
//! Not the crate's own reconnecting manager: it goes by errors of the connection, and a server that is frozen or cut
//! off by a firewall makes none, so that every question would wait for its limit.

mod channel;
mod connection;
mod counters;
mod entry;
mod failure;
mod keeper;
mod progress;
mod refills;
mod target;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use curfew_core::TokenKeys;
use curfew_core::wire::CheckVerdict;
use redis::{RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::seldom::Seldom;
use crate::store::feed::Logged;
use crate::store::{Checked, FeedHead};
use connection::Connection;
use progress::Progress;

pub use channel::{Channel, ChannelFailure, Speaker};
pub use counters::Counters;
pub use entry::EntryRules;
pub use failure::Misconfigured;
pub use keeper::run;
pub use target::Target;

/// How long a check waits for Redis. The filter gives up after 500 ms, and the database must be asked within that, too.
const ASK_LIMIT: Duration = Duration::from_millis(100);

/// How long the entries of one pipeline may take before a logout is answered without them.
const PUBLISH_LIMIT: Duration = Duration::from_millis(250);

/// How long all pipelines of one commit may take; the rest is left to the keeper.
const COMMIT_LIMIT: Duration = Duration::from_millis(500);

/// How long a connection may take to be made, TLS and log-in included.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Entries in one pipeline: some hundred kilobytes, and a millisecond or so of Redis' time, for which others wait.
const PIPELINE: usize = 1_000;

/// The most entries of one commit that are copied before it is answered; the rest is left to the keeper.
pub const MOST_PUBLISHED: i64 = 20_000;

/// What the operator configured.
#[derive(Debug)]
pub struct Settings {
    /// Where Redis is.
    pub target: Target,
    /// The certificate authority (PEM) that signed for Redis, instead of those that the system trusts.
    pub authority: Option<Vec<u8>>,
    /// How entries are named and how long they live.
    pub rules: EntryRules,
}

impl Settings {
    /// The same, for tokens whose issuers' clocks may be off by so many seconds.
    #[must_use]
    pub fn with_clock_skew(mut self, clock_skew: i64) -> Self {
        self.rules.clock_skew = clock_skew;
        self
    }
}

/// The blacklist, or nothing where no Redis is configured.
#[derive(Clone, Default)]
pub struct Blacklist(Option<Arc<Shared>>);

struct Shared {
    settings: Settings,
    clock: Clock,
    counters: Counters,
    /// Absent while Redis is left alone.
    live: RwLock<Option<Live>>,
    progress: Mutex<Progress>,
    /// Wakes the keeper when the connection is given up.
    lost: Notify,
    failures: Seldom,
}

/// A connection in use. `since` tells it from a later one.
#[derive(Clone)]
struct Live {
    connection: Connection,
    since: Instant,
}

impl Blacklist {
    /// No Redis: nothing is found and nothing is written.
    pub fn none() -> Self {
        Self(None)
    }

    /// A blacklist for the log that ends at `head`. It is used once [`Self::start`] or [`run`] has connected it.
    pub fn new(settings: Settings, head: FeedHead, clock: Clock, counters: Counters) -> Self {
        Self(Some(Arc::new(Shared {
            settings,
            clock,
            counters,
            live: RwLock::new(None),
            progress: Mutex::new(Progress::new(head)),
            lost: Notify::new(),
            failures: Seldom::default(),
        })))
    }

    /// The first attempt to connect.
    ///
    /// # Errors
    ///
    /// Redis shows that a setting is wrong. That it cannot be reached is no error: it is not needed, and an outage of
    /// Redis must not keep the control plane from starting.
    pub async fn start(&self) -> Result<(), Misconfigured> {
        let Some(shared) = &self.0 else { return Ok(()) };
        match shared.connect(0).await {
            Ok(connection) => shared.begin(connection),
            Err(Trouble::Error(error)) if failure::misconfigured(&error).is_some() => {
                return failure::misconfigured(&error).map_or(Ok(()), Err);
            }
            Err(trouble) => shared.report(&trouble),
        }
        Ok(())
    }

    /// Whether there is one at all.
    pub fn is_configured(&self) -> bool {
        self.0.is_some()
    }

    /// Whether Redis is in use; nothing where none is configured.
    pub fn is_up(&self) -> Option<bool> {
        self.0.as_ref().map(|shared| shared.live().is_some())
    }

    /// The answer about a token, if Redis has one that is beyond doubt: revoked. In every other case the database has
    /// to be asked.
    ///
    /// The head that the answer carries is the newest one that this process knows of, which may be older than the
    /// entry. An answer that claims to know less of the log than it does is always safe: "revoked" stays true, and
    /// whoever counts on the place in the log looks up everything after it himself.
    pub async fn ask(&self, keys: &TokenKeys, cutoff_time: Option<i64>) -> Option<Checked> {
        let shared = self.0.as_ref()?;
        let live = shared.live()?;
        let head = shared.progress().head();
        let names = shared.settings.rules.names(head.epoch, keys);
        let plain: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
        let values = shared.within(&live, ASK_LIMIT, live.connection.get(&plain)).await?;
        let found = entry::judge(&names, &values, cutoff_time, shared.settings.rules.latest_cutoff(shared.clock.now()));
        shared.counters.unreadable.inc_by(found.unreadable);
        if !found.revoked {
            shared.counters.misses.inc();
            return None;
        }
        shared.counters.hits.inc();
        Some(Checked { head, verdict: CheckVerdict::Revoked })
    }

    /// Takes note of a head that was read from the database.
    pub fn observe(&self, head: FeedHead) {
        if let Some(shared) = &self.0 {
            shared.progress().observe(head);
            shared.show_pending();
        }
    }

    /// Copies what a commit has added to the log after `before`. What does not get there in time is left to the keeper:
    /// the commit stands, and is answered.
    pub async fn publish(&self, before: FeedHead, after: FeedHead, entries: &[Logged]) {
        let Some(shared) = &self.0 else { return };
        shared.progress().observe(after);
        if let Some(live) = shared.live() {
            shared.publish(&live, before, entries).await;
        }
        shared.show_pending();
    }
}

/// Why a connection could not be made or was given up.
enum Trouble {
    Late,
    Error(RedisError),
}

impl Shared {
    fn live(&self) -> Option<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show_pending(&self) {
        self.counters.pending.set(self.progress().pending());
    }

    /// A connection that has shown that it answers in time and takes writes.
    async fn connect(&self, attempt: usize) -> Result<Connection, Trouble> {
        let Settings { target, authority, rules } = &self.settings;
        let connecting = connection::connect(target, authority.as_deref(), attempt);
        let connection = timeout(CONNECT_LIMIT, connecting).await.map_err(|_| Trouble::Late)?;
        let connection = connection.map_err(Trouble::Error)?;
        let probe = format!("{}probe", rules.prefix);
        let probing = async {
            connection.set_if(&probe, "1", 60, "NX").await?;
            connection.get(&[&probe]).await
        };
        match timeout(ASK_LIMIT, probing).await {
            Err(_) => Err(Trouble::Late),
            Ok(Err(error)) => Err(Trouble::Error(error)),
            Ok(Ok(_)) => Ok(connection),
        }
    }

    /// Uses a connection from now on.
    fn begin(&self, connection: Connection) {
        let live = Live { connection, since: Instant::now() };
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live);
        self.counters.up.set(1);
        info!(redis = %self.settings.target.describe(), "Redis is in use");
    }

    /// The outcome of work on a connection, which is given up where the work fails or takes too long.
    async fn within<T>(&self, live: &Live, limit: Duration, work: impl Future<Output = RedisResult<T>>) -> Option<T> {
        let trouble = match timeout(limit, work).await {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => Trouble::Error(error),
            Err(_) => Trouble::Late,
        };
        self.give_up(live);
        self.report(&trouble);
        None
    }

    fn give_up(&self, given_up: &Live) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| live.since == given_up.since) {
            *live = None;
            self.counters.up.set(0);
            self.lost.notify_one();
        }
    }

    fn report(&self, trouble: &Trouble) {
        self.counters.failures.inc();
        let Some(failures) = self.failures.line(Instant::now()) else { return };
        let error = match trouble {
            Trouble::Late => "no answer in time".to_owned(),
            Trouble::Error(error) => failure::explain(error),
        };
        warn!(error, failures, "Redis is left alone for now: checks ask the database, and nothing is lost");
    }

    async fn publish(&self, live: &Live, before: FeedHead, entries: &[Logged]) {
        let until = Instant::now() + COMMIT_LIMIT;
        let mut from = before.seq;
        for entries in entries.chunks(PIPELINE) {
            if Instant::now() >= until || !self.copy(live, before, from, entries, PUBLISH_LIMIT).await {
                return;
            }
            from = entries.last().map_or(from, |entry| entry.seq);
        }
    }

    /// Writes the entries that follow `from` in the log; whether that is done.
    async fn copy(&self, live: &Live, log: FeedHead, from: i64, entries: &[Logged], limit: Duration) -> bool {
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
