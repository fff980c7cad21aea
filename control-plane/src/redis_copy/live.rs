//! The connection in use, and the decision to leave Redis alone after a failure.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use redis::{RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::counters::Counters;
use super::progress::Progress;
use crate::clock::Clock;
use crate::log::LogPosition;
use crate::log_throttle::LastingTrouble;
use crate::redis::{CONNECT_LIMIT, Connection, Settings, connect, explain};

/// How long a check waits for Redis. The filter gives up after 500 ms, and the database must be asked within that time,
/// too.
pub(super) const ASK_LIMIT: Duration = Duration::from_millis(100);

/// The copy and its connection, shared by checks, the writer and the keeper.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) counters: Counters,
    /// `None` while Redis is left alone.
    live: RwLock<Option<Live>>,
    progress: Mutex<Progress>,
    /// Wakes the keeper when the connection is given up.
    pub(super) lost: Notify,
    trouble: LastingTrouble,
    /// The log has said that Redis is in use.
    announced: AtomicBool,
}

/// A connection in use. The time of its beginning distinguishes it from a later one.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: Connection,
    pub(super) since: Instant,
}

/// Why a connection could not be made or was given up.
pub(super) enum Trouble {
    /// No answer came in time.
    Late,
    /// Redis or the connection reports an error.
    Error(RedisError),
}

impl Shared {
    /// The copy of a log that ends at `head`, not connected yet.
    pub(super) fn new(settings: Settings, head: LogPosition, clock: Clock, counters: Counters) -> Self {
        Self {
            settings,
            clock,
            counters,
            live: RwLock::new(None),
            progress: Mutex::new(Progress::new(head)),
            lost: Notify::new(),
            trouble: LastingTrouble::default(),
            announced: AtomicBool::new(false),
        }
    }

    /// The connection in use, if Redis is not left alone.
    pub(super) fn live(&self) -> Option<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How far the log has been copied.
    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the metric of revocations that have not been copied yet.
    pub(super) fn show_pending(&self) {
        self.counters.pending.set(i64::try_from(self.progress().pending()).unwrap_or(i64::MAX));
    }

    /// Makes a connection, and checks that Redis answers in time and takes writes.
    pub(super) async fn connect(&self, attempt: usize) -> Result<Connection, Trouble> {
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

    /// Uses this connection from now on.
    pub(super) fn begin(&self, connection: Connection) {
        let live = Live { connection, since: Instant::now() };
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live);
        self.counters.up.set(1);
        if self.trouble.is_over() || !self.announced.swap(true, Ordering::Relaxed) {
            info!(redis = %self.settings.target.describe(), "Redis is in use");
        }
    }

    /// The outcome of work on a connection. If the work fails or takes too long, the connection is given up.
    pub(super) async fn within<T>(
        &self,
        live: &Live,
        limit: Duration,
        work: impl Future<Output = RedisResult<T>>,
    ) -> Option<T> {
        let trouble = match timeout(limit, work).await {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => Trouble::Error(error),
            Err(_) => Trouble::Late,
        };
        self.give_up(live);
        self.report(&trouble);
        None
    }

    /// Stops using this connection, and wakes the keeper.
    fn give_up(&self, given_up: &Live) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| live.since == given_up.since) {
            *live = None;
            self.counters.up.set(0);
            self.lost.notify_one();
        }
    }

    /// Counts a failure. One that lasts is logged once for each reason.
    pub(super) fn report(&self, trouble: &Trouble) {
        self.counters.failures.inc();
        let error = match trouble {
            Trouble::Late => "no answer in time".to_owned(),
            Trouble::Error(error) => explain(error),
        };
        if self.trouble.is_news(&error, Instant::now()) {
            warn!(error, "Redis is left alone for now: checks ask the database, and nothing is lost");
        }
    }
}
