//! Connections: one that writes, a pool that reads, and the sessions that make an answer fresh and a commit durable.

mod mysql;
mod postgres;
mod sqlite;

use std::time::Duration;

use sqlx::Error;

use super::connection::{Connection, Link, Pool};
use super::history::{Witness, of_file};
use crate::store::database::{Database, Options};
use crate::store::identity::Identity;

/// How long a statement that writes waits for a lock that somebody else holds. The writer's callers wait longer than
/// two of these, so that a locked database is told as 503 and not as a time-out.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a reader waits for a free connection before the database counts as unavailable: shorter than the filter's
/// patience.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(400);

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The schema's migrations, which may take their time.
    Migrate,
    /// The writer's transactions.
    Write,
    /// Checks and lists: single statements.
    Read,
}

/// Opens the database for migrations, and creates its file if it is one and there is none: only at start and by
/// `curfew migrate`. Later a missing file is an error, for a new empty one would have forgotten every logout.
pub(crate) async fn create(database: &Database) -> Result<Connection, Error> {
    Ok(match &database.0 {
        Options::Sqlite(options) => Connection::Sqlite(sqlite::create(options).await?),
        Options::Postgres(options) => Connection::Postgres(postgres::open(options, Purpose::Migrate).await?),
        Options::MySql(options) => Connection::MySql(mysql::open(options, Purpose::Migrate).await?),
    })
}

/// The one connection that writes, and what can be asked about where it leads.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) witness: Witness,
    /// What the file was just before it was opened.
    file: Option<Identity>,
}

impl Opened {
    /// Opens the connection that writes.
    pub(crate) async fn writer(database: &Database) -> Result<Self, Error> {
        let file = database.file().map(of_file).transpose()?;
        let mut connection = match &database.0 {
            Options::Sqlite(options) => Connection::Sqlite(sqlite::open(options).await?),
            Options::Postgres(options) => Connection::Postgres(postgres::open(options, Purpose::Write).await?),
            Options::MySql(options) => Connection::MySql(mysql::open(options, Purpose::Write).await?),
        };
        let witness = Witness::find(database, &mut connection.link()).await?;
        Ok(Self { connection, witness, file })
    }

    /// Whether the connection still leads to what the settings name: a file that was replaced lives on for those who
    /// have it open, and what they write there is gone with them.
    pub(crate) fn leads_there(&self) -> bool {
        match &self.witness {
            Witness::File(path) => of_file(path).ok() == self.file,
            _ => true,
        }
    }
}

/// Makes the pool of connections that only read; they are opened as they are needed.
pub(super) fn pool(database: &Database) -> Pool {
    match &database.0 {
        Options::Sqlite(options) => Pool::Sqlite(sqlite::pool(options, database)),
        Options::Postgres(options) => Pool::Postgres(postgres::pool(options, database)),
        Options::MySql(options) => Pool::MySql(mysql::pool(options, database)),
    }
}

/// Refuses to read a history that the writer has not taken over yet. Its numbers could be taken for others, and its
/// latest revocations may be missing. A connection to a server keeps leading to the same one, so each is asked once.
async fn known_history(database: &Database, mut link: Link<'_>) -> Result<(), Error> {
    let witness = Witness::find(database, &mut link).await?;
    let history = witness.history(&mut link, false).await?;
    if history.known.contradicts(&history.seen) {
        return Err(Error::Configuration("this is another server or a restored copy, not taken over yet".into()));
    }
    Ok(())
}
