//! Connections: one that writes, a pool that reads, and the settings that make a commit durable.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions, Error};

/// How long a statement waits for a lock that another process holds. The writer's callers wait longer than two of
/// these, so that a locked database is told as 503 and not as a time-out.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a reader waits for a free connection before the database counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// Enough to keep two cores busy with statements of some microseconds.
const READ_CONNECTIONS: u32 = 4;

/// `synchronous=FULL` because a 200 says that the logout is durable: with NORMAL, a WAL commit can be lost with the
/// power, and the token lives again.
fn options(database: &SqliteConnectOptions) -> SqliteConnectOptions {
    database
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .create_if_missing(false)
        .disable_statement_logging()
}

/// Opens the database and creates its file if there is none: only at start and by `curfew migrate`. Later a missing
/// file is an error, for a new empty one would have forgotten every logout.
pub(crate) async fn create(database: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    make_file(database.get_filename());
    options(database).connect().await
}

/// An empty file is an empty database. SQLite would make one that everybody on the machine may read; the files beside
/// it (`-wal`, `-shm`) take over the mode of this one.
fn make_file(path: &Path) {
    // A file that is there is left alone, and one that cannot be made is an error of the connection that follows.
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

/// Opens the one connection that writes.
pub(crate) async fn open_writer(database: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    options(database).connect().await
}

/// Makes the pool of connections that only read; they are opened as they are needed.
pub(crate) fn open_reads(database: &SqliteConnectOptions) -> SqlitePool {
    PoolOptions::new()
        .max_connections(READ_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options(database).pragma("query_only", "ON"))
}

/// Whether a statement has waited in vain for a lock: SQLITE_BUSY (5) in any of its extended forms.
pub(crate) fn is_locked(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}
