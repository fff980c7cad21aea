//! The stored data, and the two ways to it: reads from a pool, and writes through one task.
//!
//! `evidence`, `identity`, `trust`, `keys`, `keyspaces` and `others` decide, without I/O. `sql` has all statements and connections,
//! [`writer`] orders the writes, [`watch`] checks whether the database is still the same one, and `adoption` is the
//! interface for the room `adopt`.

pub(crate) mod adoption;
mod clock_mark;
pub mod command;
mod control_planes;
mod counters;
mod database;
mod evidence;
mod explained;
mod identity;
mod job;
pub mod keys;
mod keyspaces;
mod observer;
pub mod others;
mod outage;
mod per_driver;
pub mod purge;
pub mod sessions;
mod settings;
mod sql;
mod start;
mod trust;
pub mod watch;
mod write_attempt;
pub mod writer;
mod writer_task;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use curfew_core::TokenKeys;
use curfew_core::wire::CheckVerdict;

use crate::clock::Clock;
use crate::log::{ControlPlaneId, LogPage, LogPosition, Logged};
use crate::log_throttle::LogThrottle;
use keys::{HandedOut, ShelfRow, Shown};
use outage::Outage;
use sessions::{Session, SessionQuery};
use sql::Reader;
use trust::{Fenced, Trust};
use write_attempt::Attempt;
use writer::Writer;

pub use clock_mark::{accept_clock, reckon};
pub use control_planes::{RowFailure, RowWriter};
pub use counters::Counters;
pub use database::Database;
pub use explained::{Covers, Explained, Found, Registered};
pub use observer::CommitObserver;
pub use settings::Settings;
pub use sql::{Applied, MigrateFailure};
pub use start::{OpenFailure, Orphaned, Prepared, bump_epoch, head, migrate, prepare};
pub use writer_task::WriterTask;

/// The authoritative answer about one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// The log's head at the moment of the answer.
    pub head: LogPosition,
    /// The newest change of keys that this answer shows; 0 for none. An answer from Redis shows none.
    pub keys_seq: u64,
    /// Whether the token is revoked.
    pub verdict: CheckVerdict,
    /// Revoked, and only because it was issued in the second of a logout of all devices and is not registered.
    pub same_second: bool,
}

/// A read that failed. The cause is for the log and not for the client.
#[derive(Debug, thiserror::Error)]
#[error("the database could not be read")]
pub struct ReadFailure(#[from] sqlx::Error);

impl ReadFailure {
    /// The cause, for the log.
    pub fn cause(&self) -> String {
        sql::explained(&self.0)
    }
}

/// How long a read may take, the wait for a connection included, unless checks may take longer. The filter gives up
/// after 500 ms by default, and should get a 503 before that.
const READ_TIMEOUT: Duration = Duration::from_millis(450);

/// The statement of a check for PostgreSQL, for a test that looks at its plan.
pub const CHECK_ON_POSTGRES: &str = sql::CHECK.postgres;

/// The known failures of the database.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Whether the database may be believed.
    trust: Arc<Trust>,
    /// True if the last batch was not committed.
    unwritable: AtomicBool,
    /// Whether it answers, and the lines in the log about that.
    outage: Outage,
    counters: Counters,
}

/// The store of one database.
#[derive(Clone)]
pub struct Store {
    reader: Reader,
    writer: Writer,
    health: Arc<Health>,
    /// How long a read may take.
    read_limit: Duration,
}

impl Store {
    /// Opens a database that has been prepared. Nothing is written unless the returned task runs. Another database in
    /// the place of this one is noticed only while [`watch::run`] runs. `observer` is called with each commit before
    /// its commands are answered.
    pub fn open(
        database: &Database,
        settings: Settings,
        clock: Clock,
        counters: Counters,
        observer: CommitObserver,
    ) -> (Self, WriterTask) {
        let health = Arc::new(Health { counters: counters.clone(), ..Health::default() });
        let (writer, queue, commits) = writer::channel(counters.clone());
        let attempt = Attempt {
            database: database.clone(),
            opened: None,
            distrusts: 0,
            commits,
            settings,
            clock,
            health: Arc::clone(&health),
            observed: observer.most,
        };
        let waiting = VecDeque::new();
        let lines = LogThrottle::default();
        let task = WriterTask { queue, waiting, attempt, counters, observer, health: Arc::clone(&health), lines };
        let reader = Reader::new(database, Arc::clone(&health.trust));
        (Self { reader, writer, health, read_limit: READ_TIMEOUT }, task)
    }

    /// The same store, in which a read may take as long as a check may.
    #[must_use]
    pub fn with_patience(self, check: Duration) -> Self {
        Self { read_limit: READ_TIMEOUT.max(check), ..self }
    }

    /// The writer, the only way to change anything.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Counts a read that failed. True if the log tells of the reason elsewhere: the database does not answer, or is not believed.
    pub fn explains(&self, failure: &ReadFailure) -> bool {
        self.health.outage.explains(&failure.0)
    }

    /// Whether logouts are carried out, as far as the last attempt shows.
    pub fn is_writable(&self) -> bool {
        self.writer.is_alive() && !self.health.unwritable.load(Ordering::Relaxed)
    }

    /// Whether the token with these keys is revoked, read from one snapshot that is at least as new as the call.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn check(&self, keys: &TokenKeys, cutoff_time: Option<i64>) -> Result<Checked, ReadFailure> {
        let (evidence, keys_seq) = self.read(self.reader.evidence(keys)).await?;
        let verdict = evidence.verdict(keys, cutoff_time);
        let same_second = evidence.is_of_same_second(keys, cutoff_time);
        Ok(Checked { head: evidence.head, keys_seq, verdict, same_second })
    }

    /// What is stored about the token with these keys. `cutoff_time` is what cutoffs are compared with.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn explain(&self, keys: &TokenKeys, cutoff_time: Option<i64>) -> Result<Explained, ReadFailure> {
        self.read(self.reader.explain(keys, cutoff_time)).await
    }

    /// A user's sessions that are unexpired at `now`, newest first.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn sessions(&self, query: &SessionQuery, now: i64) -> Result<Vec<Session>, ReadFailure> {
        self.read(self.reader.sessions(query, now)).await
    }

    /// At most `limit` revocations after the seq `after` that must still be kept at `now`, in their order. Fewer than
    /// `limit` means that there are no more.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn live_revocations(&self, after: u64, now: i64, limit: u64) -> Result<Vec<Logged>, ReadFailure> {
        self.read(self.reader.revocations_after(after, now, limit)).await
    }

    /// The revocations after the seq `after`, at most `limit` of them, for the control plane with this row.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn log_page(&self, own: ControlPlaneId, after: u64, limit: usize) -> Result<LogPage, ReadFailure> {
        self.read(self.reader.log_page(own, after, limit)).await
    }

    /// The head of the log.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn head(&self) -> Result<LogPosition, ReadFailure> {
        self.read(self.reader.head()).await
    }

    /// The newest change of keys.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn newest_keys(&self) -> Result<Shown<()>, ReadFailure> {
        self.read(self.reader.newest_keys()).await
    }

    /// The key sets in force, from one snapshot that is at least as new as the call.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn key_sets(&self) -> Result<Shown<Vec<HandedOut>>, ReadFailure> {
        self.read(self.reader.key_sets()).await
    }

    /// All that is stored of keys and of their fetches, from one snapshot.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn shelves(&self) -> Result<Shown<Vec<ShelfRow>>, ReadFailure> {
        self.read(self.reader.shelves()).await
    }

    /// Counts how often the database turned out to be one that may not be believed.
    pub(crate) fn distrusts(&self) -> tokio::sync::watch::Receiver<u64> {
        self.health.trust.distrusts()
    }

    /// Reads within the time after which no caller waits any more.
    async fn read<T>(&self, asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, ReadFailure> {
        if self.health.trust.is_fenced() {
            return Err(ReadFailure(Fenced.into()));
        }
        // The futures of the database are nested deeply. In a box, they do not add to the depth of those that await them, which
        // the compiler limits.
        let outcome = tokio::time::timeout(self.read_limit, Box::pin(asked)).await;
        outcome.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())).map_err(ReadFailure)
    }
}

impl From<std::io::Error> for ReadFailure {
    fn from(error: std::io::Error) -> Self {
        Self(error.into())
    }
}
