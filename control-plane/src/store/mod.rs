//! What is stored, and the two ways to it: reads from a pool, writes through one task.
//!
//! [`retention`] and `evidence` decide, `sqlite` speaks to the database, [`writer`] orders the writes. HTTP and
//! tokens' texts are unknown here.

pub mod command;
mod evidence;
pub mod feed;
pub mod purge;
pub mod retention;
pub mod sessions;
mod sqlite;
pub mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use curfew_core::TokenKeys;
use curfew_core::wire::CheckVerdict;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::blacklist::Blacklist;
use crate::clock::Clock;
use crate::metrics::Metrics;
use feed::Logged;
use retention::Retention;
use sessions::{Session, SessionQuery};
use writer::{Writer, WriterTask};

pub use sqlite::{Applied, MigrateFailure};

/// Names one history of the log of revocations: 16 random bytes, written as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch([u8; 16]);

impl Epoch {
    /// Takes the bytes as they are stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// How far the log of revocations reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedHead {
    /// Names this history of the log.
    pub epoch: Epoch,
    /// The newest revocation's place in it; 0 before the first.
    pub seq: i64,
}

/// The authoritative answer about one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// The log's head at the moment of the answer.
    pub head: FeedHead,
    /// Whether the token is revoked.
    pub verdict: CheckVerdict,
}

/// A read that failed. The cause is for the log and not for the client.
#[derive(Debug, thiserror::Error)]
#[error("the database could not be read")]
pub struct ReadFailure(#[from] sqlx::Error);

impl From<ReadFailure> for OpenFailure {
    fn from(ReadFailure(error): ReadFailure) -> Self {
        Self::Database(error)
    }
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailure {
    /// The file cannot be opened or created.
    #[error("the database cannot be opened: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema cannot be brought up to date.
    #[error(transparent)]
    Schema(#[from] MigrateFailure),
}

impl OpenFailure {
    /// Whether it may be only that another process starts on the same database.
    fn may_pass(&self) -> bool {
        match self {
            Self::Database(error) => sqlite::is_locked(error),
            Self::Schema(failure) => sqlite::is_done_by_another(failure),
        }
    }
}

/// How long a start waits for another one that migrates the same database.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it waits between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Creates the database where there is none and brings its schema up to date; returns what was applied.
///
/// # Errors
///
/// See [`OpenFailure`].
pub async fn migrate(database: &SqliteConnectOptions) -> Result<Vec<Applied>, OpenFailure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match migrate_once(database).await {
            Err(failure) if failure.may_pass() && Instant::now() < until => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
}

async fn migrate_once(database: &SqliteConnectOptions) -> Result<Vec<Applied>, OpenFailure> {
    let mut connection = sqlite::create(database).await?;
    let applied = sqlite::migrate(&mut connection).await?;
    connection.close().await?;
    Ok(applied)
}

/// Keeps logouts of all devices for as long as `retention` says: with a longer `max_token_ttl` than before, tokens
/// pass that an entry made until then would not outlive. For a start, after [`migrate`]; returns how many entries it
/// concerned.
///
/// # Errors
///
/// See [`OpenFailure`].
pub async fn prolong_subjects(database: &SqliteConnectOptions, retention: Retention) -> Result<u64, OpenFailure> {
    let mut connection = sqlite::open_writer(database).await?;
    let prolonged = sqlite::prolong_subjects(&mut connection, retention).await?;
    connection.close().await?;
    Ok(prolonged)
}

/// The head of the log. For a start, after [`migrate`].
///
/// # Errors
///
/// See [`OpenFailure`].
pub async fn head(database: &SqliteConnectOptions) -> Result<FeedHead, OpenFailure> {
    let reads = sqlite::open_reads(database);
    let head = sqlite::head(&reads).await?;
    reads.close().await;
    Ok(head)
}

/// The store of one database.
#[derive(Clone)]
pub struct Store {
    reads: SqlitePool,
    writer: Writer,
}

impl Store {
    /// Opens a database that has been migrated. The task must be run for anything to be written; what it commits is
    /// copied to `blacklist`.
    pub fn open(
        database: &SqliteConnectOptions,
        retention: Retention,
        clock: Clock,
        metrics: Arc<Metrics>,
        blacklist: Blacklist,
    ) -> (Self, WriterTask) {
        let reads = sqlite::open_reads(database);
        let (writer, task) = writer::channel(database.clone(), retention, clock, metrics, blacklist);
        (Self { reads, writer }, task)
    }

    /// The way to change anything.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Whether the token with these keys is revoked, read from one snapshot that is at least as new as the call.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn check(&self, keys: &TokenKeys, cutoff_time: Option<i64>) -> Result<Checked, ReadFailure> {
        let mut connection = self.reads.acquire().await?;
        let evidence = sqlite::evidence(&mut connection, keys).await?;
        Ok(Checked { head: evidence.head, verdict: evidence.verdict(keys, cutoff_time) })
    }

    /// A user's sessions that are unexpired at `now`, newest first.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn sessions(&self, query: &SessionQuery, now: i64) -> Result<Vec<Session>, ReadFailure> {
        Ok(sqlite::sessions(&self.reads, query, now).await?)
    }

    /// At most `limit` revocations after the place `after` in the log that may not be forgotten at `now`, in their
    /// order. Fewer than `limit` means that there are no more.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn live_revocations(&self, after: i64, now: i64, limit: i64) -> Result<Vec<Logged>, ReadFailure> {
        let mut connection = self.reads.acquire().await?;
        Ok(sqlite::revocations_after(&mut connection, after, now, limit).await?)
    }

    /// The head of the log.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn head(&self) -> Result<FeedHead, ReadFailure> {
        Ok(sqlite::head(&self.reads).await?)
    }
}
