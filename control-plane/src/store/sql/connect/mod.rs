//! Connections: one that writes, a pool that reads, and the sessions that make an answer fresh and a commit durable.

mod mysql;
mod postgres;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use sqlx::Error;

use super::connection::{Connection, Link, Pool, within};
use super::history::{HistoryProbe, of_file};
use super::tables::Tables;
use crate::store::database::{Database, Options};
use crate::store::identity::Identity;
use crate::store::trust::Trust;

/// How long a statement that writes waits for a lock that somebody else holds. A batch may wait twice, and the writer's
/// callers wait longer than two batches do, so that a locked database is told as 503 and not as a time-out.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a connection may take to be made: name, TLS, log-in and session, some ten ways to the server and back. A
/// reader does not wait for that long, but the next one finds it made ([`super::reads`]). A start waits longer.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const START_LIMIT: Duration = Duration::from_secs(15);

/// How long a server may take to roll back.
const ROLL_BACK_LIMIT: Duration = Duration::from_secs(1);

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
    within(START_LIMIT, created(database)).await
}

async fn created(database: &Database) -> Result<Connection, Error> {
    Ok(match &database.0 {
        Options::Sqlite(options) => Connection::Sqlite(sqlite::create(options).await?),
        Options::Postgres(options) => Connection::Postgres(postgres::open(options, Purpose::Migrate).await?),
        Options::MySql(options) => Connection::MySql(mysql::open(options, Purpose::Migrate).await?),
    })
}

/// Opens the database to look at it. A file stays as it is, and is not made.
pub(crate) async fn look(database: &Database) -> Result<Connection, Error> {
    let looking = async {
        Ok(match &database.0 {
            Options::Sqlite(options) => Connection::Sqlite(sqlite::look(options).await?),
            Options::Postgres(options) => Connection::Postgres(postgres::open(options, Purpose::Migrate).await?),
            Options::MySql(options) => Connection::MySql(mysql::open(options, Purpose::Migrate).await?),
        })
    };
    within(START_LIMIT, looking).await
}

/// The one connection that writes, and what can be asked about where it leads.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) witness: HistoryProbe,
    /// What its tables are called.
    pub(crate) tables: Tables,
    /// What the file was just before it was opened.
    file: Option<Identity>,
}

impl Opened {
    /// Opens the connection that writes.
    pub(crate) async fn writer(database: &Database) -> Result<Self, Error> {
        within(CONNECT_LIMIT, Self::open(database)).await
    }

    /// The same for a start, which has more patience.
    pub(crate) async fn at_start(database: &Database) -> Result<Self, Error> {
        within(START_LIMIT, Self::open(database)).await
    }

    async fn open(database: &Database) -> Result<Self, Error> {
        let file = database.file().map(of_file).transpose()?;
        let mut connection = match &database.0 {
            Options::Sqlite(options) => Connection::Sqlite(sqlite::open(options).await?),
            Options::Postgres(options) => Connection::Postgres(postgres::open(options, Purpose::Write).await?),
            Options::MySql(options) => Connection::MySql(mysql::open(options, Purpose::Write).await?),
        };
        let (witness, _) = HistoryProbe::find(database, &mut connection.link()).await?;
        Ok(Self { connection, witness, tables: database.tables(), file })
    }

    /// Ends a transaction that was not committed; whether that is sure, and the connection good for another one.
    pub(crate) async fn roll_back(&mut self) -> bool {
        within(ROLL_BACK_LIMIT, self.connection.link().run("ROLLBACK")).await.is_ok()
    }

    /// Whether the connection still leads to what the settings name: a file that was replaced lives on for those who
    /// have it open, and what they write there is gone with them.
    pub(crate) fn leads_there(&self) -> bool {
        match &self.witness {
            HistoryProbe::File(path) => of_file(path).ok() == self.file,
            _ => true,
        }
    }
}

/// Makes the pool of connections that only read; they are opened as they are needed.
pub(super) fn pool(database: &Database, trust: &Arc<Trust>) -> Pool {
    match &database.0 {
        Options::Sqlite(options) => Pool::Sqlite(sqlite::pool(options, database, trust)),
        Options::Postgres(options) => Pool::Postgres(postgres::pool(options, database, trust)),
        Options::MySql(options) => Pool::MySql(mysql::pool(options, database, trust)),
    }
}

/// Refuses to read a history that the writer has not taken over yet. Its numbers could be taken for others, and its
/// latest revocations may be missing.
async fn known_history(database: &Database, trust: &Trust, mut link: Link<'_>) -> Result<(), Error> {
    let seen = trust.seen();
    let (_, history) = HistoryProbe::find(database, &mut link).await?;
    history.judge(&seen).map_err(|distrust| {
        trust.fence(distrust);
        distrust.into()
    })
}
