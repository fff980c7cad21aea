//! A connection outside any pool.

use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Error};

use super::link::{Link, within};
use crate::store::per_driver::PerDriver;

/// How long the end of a connection may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// A connection that belongs to no pool.
pub(crate) type Connection = PerDriver<SqliteConnection, PgConnection, MySqlConnection>;

impl Connection {
    /// The connection, to run statements on it.
    pub(crate) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(connection) => Link::Sqlite(connection),
            Self::Postgres(connection) => Link::Postgres(connection),
            Self::MySql(connection) => Link::MySql(connection),
        }
    }

    /// Closes the connection by the protocol, so that the server need not find out that the client has gone. It is not
    /// an error if the server does not answer in time, because commits stand. Closing a file has no time limit.
    pub(crate) async fn close(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => within(CLOSE_LIMIT, connection.close()).await.or(Ok(())),
            Self::MySql(connection) => within(CLOSE_LIMIT, connection.close()).await.or(Ok(())),
        }
    }
}
