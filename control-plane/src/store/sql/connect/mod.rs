//! Connections: one that writes, a pool that reads, and the session settings that make an answer fresh and a commit
//! durable.

mod mysql;
mod postgres;
mod purpose;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use sqlx::Error;

use super::driver::{Connection, Pool, within};
use super::history::{HistoryProbe, of_file};
use crate::store::database::{Database, Options};
use crate::store::identity::Identity;
use crate::store::trust::Trust;
use purpose::{CONNECT_LIMIT, Purpose, START_LIMIT};

/// How long a server may take to roll back.
const ROLL_BACK_LIMIT: Duration = Duration::from_secs(1);

/// Opens the database for migrations, and creates the file of an embedded one. Only a start and `curfew migrate` do
/// that; the settings of `curfew adopt` name a file that is there. Later a missing file is an error: a new, empty one
/// would have forgotten every logout.
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

/// Opens Curfew's database to look at it. A file stays as it is, and is not made.
pub(crate) async fn look(database: &Database) -> Result<Connection, Error> {
    let looking = async {
        Ok(match &database.0 {
            Options::Sqlite(options) => Connection::Sqlite(sqlite::foreign(options, false).await?),
            Options::Postgres(options) => Connection::Postgres(postgres::open(options, Purpose::Migrate).await?),
            Options::MySql(options) => Connection::MySql(mysql::open(options, Purpose::Migrate).await?),
        })
    };
    within(START_LIMIT, looking).await
}

/// Opens another application's database. Makes no file, and does not change how an existing file is kept.
pub(crate) async fn foreign(database: &Database, writes: bool) -> Result<Connection, Error> {
    let purpose = if writes { Purpose::WriteForeign } else { Purpose::ReadForeign };
    let opening = async {
        Ok(match &database.0 {
            Options::Sqlite(options) => Connection::Sqlite(sqlite::foreign(options, writes).await?),
            Options::Postgres(options) => Connection::Postgres(postgres::open(options, purpose).await?),
            Options::MySql(options) => Connection::MySql(mysql::open(options, purpose).await?),
        })
    };
    within(START_LIMIT, opening).await
}

/// The one connection that writes, and the probe for the place to which it leads.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) probe: HistoryProbe,
    /// The identity of the file just before it was opened.
    file: Option<Identity>,
    /// True if it has been used before. The database's name may lead to another server by now.
    pub(crate) is_kept: bool,
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
        let (probe, _) = HistoryProbe::find(database, &mut connection.link()).await?;
        Ok(Self { connection, probe, file, is_kept: false })
    }

    /// Ends a transaction that was not committed. True if that is sure, so that the connection can be used for another
    /// one.
    pub(crate) async fn roll_back(&mut self) -> bool {
        within(ROLL_BACK_LIMIT, self.connection.link().run("ROLLBACK")).await.is_ok()
    }

    /// True if the connection still leads to the database that the settings name. A replaced file stays readable and
    /// writable for the processes that have it open, but what they write there is lost.
    pub(crate) fn leads_to_the_database(&self) -> bool {
        match &self.probe {
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
