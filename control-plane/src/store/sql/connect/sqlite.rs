//! Connections to the embedded database.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions, Error};

use super::purpose::{CONNECT_LIMIT, LOCK_TIMEOUT};
use crate::store::database::Database;
use crate::store::sql::driver::Link;
use crate::store::sql::history::refuse_unknown;
use crate::store::trust::Trust;

/// Enough to keep two cores busy with statements of some microseconds.
const READ_CONNECTIONS: u32 = 4;

/// `synchronous=FULL` because a 200 says that the logout is durable: with NORMAL, a power failure can undo a commit in
/// WAL mode, and the token works again.
fn prepared(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(LOCK_TIMEOUT)
        .foreign_keys(true)
        .create_if_missing(false)
        .disable_statement_logging()
}

pub(super) async fn create(options: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    make_file(options.get_filename());
    open(options).await
}

/// Makes an empty file, which is an empty database. SQLite would make a file that every user of the machine may read.
/// The files beside it (`-wal`, `-shm`) get the mode of this file.
fn make_file(path: &Path) {
    // An existing file is left alone. If the file cannot be made, the connection that follows fails.
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

pub(super) async fn open(options: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    prepared(options).connect().await
}

/// Opens a file that may be another application's, and does not change the file's settings.
pub(super) async fn foreign(options: &SqliteConnectOptions, writes: bool) -> Result<SqliteConnection, Error> {
    let options = options.clone().read_only(!writes).create_if_missing(false).busy_timeout(LOCK_TIMEOUT);
    options.disable_statement_logging().connect().await
}

pub(super) fn pool(options: &SqliteConnectOptions, database: &Database, trust: &Arc<Trust>) -> SqlitePool {
    let (database, trust) = (database.clone(), Arc::clone(trust));
    PoolOptions::new()
        .max_connections(READ_CONNECTIONS)
        .acquire_timeout(CONNECT_LIMIT)
        .after_connect(move |connection, _| {
            let (database, trust) = (database.clone(), Arc::clone(&trust));
            Box::pin(async move { refuse_unknown(&database, &trust, Link::Sqlite(connection)).await })
        })
        .connect_lazy_with(prepared(options).pragma("query_only", "ON"))
}
