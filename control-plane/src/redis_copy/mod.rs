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

mod counters;
mod keeper;
mod progress;
mod refills;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use curfew_core::TokenKeys;
use curfew_core::wire::CheckVerdict;
use futures_util::future::BoxFuture;
use redis::{RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::log::{Commit, LogPosition, Logged};
use crate::log_throttle::LogThrottle;
use crate::redis::{
    CONNECT_LIMIT, Channel, ChannelFailure, Connection, Misconfigured, Settings, connect, explain, judge, misconfigured,
};
use crate::store::{Checked, CommitObserver};
use progress::Progress;

pub use counters::Counters;
pub use keeper::run;

/// How long a check waits for Redis. The filter gives up after 500 ms, and the database must be asked within that, too.
const ASK_LIMIT: Duration = Duration::from_millis(100);

/// How long the entries of one pipeline may take before a logout is answered without them.
const PUBLISH_LIMIT: Duration = Duration::from_millis(250);

/// How long all pipelines of one commit may take; the rest is left to the keeper.
const COMMIT_LIMIT: Duration = Duration::from_millis(500);

/// Entries in one pipeline: some hundred kilobytes, and a millisecond or so of Redis' time, for which others wait.
const PIPELINE: usize = 1_000;

/// The most entries of one commit that are copied before it is answered; the rest is left to the keeper.
const MOST_PUBLISHED: u64 = 20_000;

/// The blacklist, or nothing where no Redis is configured.
#[derive(Clone, Default)]
pub struct RedisCopy(Option<Arc<Shared>>);

struct Shared {
    settings: Settings,
    clock: Clock,
    counters: Counters,
    /// Absent while Redis is left alone.
    live: RwLock<Option<Live>>,
    progress: Mutex<Progress>,
    /// Wakes the keeper when the connection is given up.
    lost: Notify,
    failures: LogThrottle,
}

/// A connection in use. `since` tells it from a later one.
#[derive(Clone)]
struct Live {
    connection: Connection,
    since: Instant,
}

impl RedisCopy {
    /// No Redis: nothing is found and nothing is written.
    pub fn none() -> Self {
        Self(None)
    }

    /// A blacklist for the log that ends at `head`. It is used once [`Self::start`] or [`run`] has connected it.
    pub fn new(settings: Settings, head: LogPosition, clock: Clock, counters: Counters) -> Self {
        Self(Some(Arc::new(Shared {
            settings,
            clock,
            counters,
            live: RwLock::new(None),
            progress: Mutex::new(Progress::new(head)),
            lost: Notify::new(),
            failures: LogThrottle::default(),
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
            Err(Trouble::Error(error)) if misconfigured(&error).is_some() => {
                return misconfigured(&error).map_or(Ok(()), Err);
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
        let found = judge(&names, &values, cutoff_time, shared.settings.rules.latest_cutoff(shared.clock.now()));
        shared.counters.unreadable.inc_by(found.unreadable);
        if !found.revoked {
            shared.counters.misses.inc();
            return None;
        }
        shared.counters.hits.inc();
        Some(Checked { head, verdict: CheckVerdict::Revoked })
    }

    /// Takes note of a head that was read from the database.
    pub fn observe(&self, head: LogPosition) {
        if let Some(shared) = &self.0 {
            shared.progress().observe(head);
            shared.show_pending();
        }
    }

    /// Copies each commit before its commands are answered. What does not get there in time is left to the keeper: the commit
    /// stands, and is answered.
    pub fn observer(&self) -> CommitObserver {
        let Some(shared) = self.0.clone() else { return CommitObserver::none() };
        let tell = move |commit: Commit, entries: Vec<Logged>| {
            let shared = Arc::clone(&shared);
            let publishing = async move { shared.publish(commit, &entries).await };
            Box::pin(publishing) as BoxFuture<'static, ()>
        };
        CommitObserver { most: MOST_PUBLISHED, tell: Box::new(tell) }
    }

    /// The way for control planes to speak to each other under this name; nothing where no Redis is configured.
    ///
    /// # Errors
    ///
    /// See [`ChannelFailure`].
    pub async fn channel(&self, name: &str, attempt: usize) -> Option<Result<Channel, ChannelFailure>> {
        let settings = &self.0.as_ref()?.settings;
        Some(Channel::open(settings, name, attempt).await)
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
        self.counters.pending.set(i64::try_from(self.progress().pending()).unwrap_or(i64::MAX));
    }

    /// A connection that has shown that it answers in time and takes writes.
    async fn connect(&self, attempt: usize) -> Result<Connection, Trouble> {
        let Settings { target, authority, rules } = &self.settings;
        let connecting = connect(target, authority.as_deref(), attempt);
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
            Trouble::Error(error) => explain(error),
        };
        warn!(error, failures, "Redis is left alone for now: checks ask the database, and nothing is lost");
    }

    /// What a commit has added to the log.
    async fn publish(&self, commit: Commit, entries: &[Logged]) {
        self.progress().observe(commit.head);
        if let Some(live) = self.live() {
            self.write(&live, commit.before, entries).await;
        }
        self.show_pending();
    }

    async fn write(&self, live: &Live, before: LogPosition, entries: &[Logged]) {
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
    async fn copy(&self, live: &Live, log: LogPosition, from: u64, entries: &[Logged], limit: Duration) -> bool {
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
