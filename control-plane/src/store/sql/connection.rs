//! One connection to any of the databases, and how a statement runs on it.
//!
//! Not `sqlx::Any`: that connects by a URL alone, so that neither a file's mode nor a session could be prepared with
//! types, and it reads fewer column types than the three have in common.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, Connection as _, Error, MySql, Postgres, Sqlite};
use tokio::time::timeout;

use super::per_driver::PerDriver;
use super::placeholders::in_order;
use super::row::Row;
use super::value::Value;

/// How long one statement may take, the way to the server and back included: longer than the server lets any statement
/// run, so that its own word comes first if it can be heard. A server that is frozen or cut off says nothing at all, and
/// the network may take a quarter of an hour to find out. After that the connection is of no use any more, and whether
/// the statement was carried out is not known.
const ROUND_TRIP: Duration = Duration::from_secs(5);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection of its own.
pub(crate) type Connection = PerDriver<SqliteConnection, PgConnection, MySqlConnection>;

/// Connections that are opened as they are needed.
pub(crate) type Pool = PerDriver<SqlitePool, PgPool, MySqlPool>;

/// A connection that goes back to its pool.
pub(crate) type Pooled = PerDriver<PoolConnection<Sqlite>, PoolConnection<Postgres>, PoolConnection<MySql>>;

/// The way to either kind of connection.
pub(crate) type Link<'c> = PerDriver<&'c mut SqliteConnection, &'c mut PgConnection, &'c mut MySqlConnection>;

impl Connection {
    pub(crate) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(connection) => Link::Sqlite(connection),
            Self::Postgres(connection) => Link::Postgres(connection),
            Self::MySql(connection) => Link::MySql(connection),
        }
    }

    /// Says goodbye, so that the server does not have to find out. A server that does not answer it in time finds out; what
    /// was committed stands. A file is closed in whatever time that takes.
    pub(crate) async fn close(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => within(GOODBYE, connection.close()).await.or(Ok(())),
            Self::MySql(connection) => within(GOODBYE, connection.close()).await.or(Ok(())),
        }
    }
}

impl Pool {
    /// Whether whoever comes now has to have a connection made.
    pub(super) fn must_connect(&self) -> bool {
        match self {
            Self::Sqlite(pool) => pool.num_idle() == 0 && pool.size() < pool.options().get_max_connections(),
            Self::Postgres(pool) => pool.num_idle() == 0 && pool.size() < pool.options().get_max_connections(),
            Self::MySql(pool) => pool.num_idle() == 0 && pool.size() < pool.options().get_max_connections(),
        }
    }

    pub(crate) async fn acquire(&self) -> Result<Pooled, Error> {
        Ok(match self {
            Self::Sqlite(pool) => Pooled::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Pooled::Postgres(pool.acquire().await?),
            Self::MySql(pool) => Pooled::MySql(pool.acquire().await?),
        })
    }
}

impl Pooled {
    /// Closes it without a word, and makes room in the pool.
    pub(super) fn discard(self) {
        match self {
            Self::Sqlite(connection) => drop(connection.detach()),
            Self::Postgres(connection) => drop(connection.detach()),
            Self::MySql(connection) => drop(connection.detach()),
        }
    }

    /// Puts it back if it shows within `limit` that it lives. Dropped, it would be waited for without a limit, and keep
    /// its place in the pool.
    pub(super) fn give_back(self, limit: Duration) {
        match self {
            Self::Sqlite(mut connection) => drop(tokio::spawn(timeout(limit, connection.return_to_pool()))),
            Self::Postgres(mut connection) => drop(tokio::spawn(timeout(limit, connection.return_to_pool()))),
            Self::MySql(mut connection) => drop(tokio::spawn(timeout(limit, connection.return_to_pool()))),
        }
    }

    pub(crate) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(connection) => Link::Sqlite(connection),
            Self::Postgres(connection) => Link::Postgres(connection),
            Self::MySql(connection) => Link::MySql(connection),
        }
    }
}

/// The query with its values. A macro, because the three drivers share no trait that says they take these types.
macro_rules! bound {
    ($statement:expr, $values:expr) => {{
        let mut query = sqlx::query($statement);
        for value in $values {
            query = match *value {
                Value::Integer(number) => query.bind(number),
                Value::Bytes(bytes) => query.bind(bytes),
                Value::Text(text) => query.bind(text),
            };
        }
        query
    }};
}

impl Link<'_> {
    /// Runs a statement and returns how many rows it concerned.
    pub(crate) async fn execute(&mut self, statement: &'static str, values: &[Value<'_>]) -> Result<u64, Error> {
        within(ROUND_TRIP, self.executed(statement, values)).await
    }

    async fn executed(&mut self, statement: &'static str, values: &[Value<'_>]) -> Result<u64, Error> {
        Ok(match self {
            Self::Sqlite(connection) => bound!(statement, values).execute(&mut **connection).await?.rows_affected(),
            Self::Postgres(connection) => bound!(statement, values).execute(&mut **connection).await?.rows_affected(),
            Self::MySql(connection) => {
                let (statement, values) = for_mysql(statement, values);
                bound!(AssertSqlSafe(statement), &values).execute(&mut **connection).await?.rows_affected()
            }
        })
    }

    /// [`Self::execute`] for a statement that was put together; it is remembered by the connection where `again` says
    /// that the same will be run once more.
    pub(crate) async fn execute_made(
        &mut self,
        statement: String,
        values: &[Value<'_>],
        again: bool,
    ) -> Result<u64, Error> {
        let running = async {
            Ok(match self {
                Self::Sqlite(connection) => {
                    let query = bound!(AssertSqlSafe(statement), values).persistent(again);
                    query.execute(&mut **connection).await?.rows_affected()
                }
                Self::Postgres(connection) => {
                    let query = bound!(AssertSqlSafe(statement), values).persistent(again);
                    query.execute(&mut **connection).await?.rows_affected()
                }
                Self::MySql(connection) => {
                    let (statement, values) = for_mysql(&statement, values);
                    let query = bound!(AssertSqlSafe(statement), &values).persistent(again);
                    query.execute(&mut **connection).await?.rows_affected()
                }
            })
        };
        within(ROUND_TRIP, running).await
    }

    /// [`Self::fetch`] for a statement that was put together.
    pub(crate) async fn fetch_made(
        &mut self,
        statement: String,
        values: &[Value<'_>],
        again: bool,
    ) -> Result<Vec<Row>, Error> {
        let running = async {
            Ok(match self {
                Self::Sqlite(connection) => {
                    let query = bound!(AssertSqlSafe(statement), values).persistent(again);
                    query.fetch_all(&mut **connection).await?.into_iter().map(Row::Sqlite).collect()
                }
                Self::Postgres(connection) => {
                    let query = bound!(AssertSqlSafe(statement), values).persistent(again);
                    query.fetch_all(&mut **connection).await?.into_iter().map(Row::Postgres).collect()
                }
                Self::MySql(connection) => {
                    let (statement, values) = for_mysql(&statement, values);
                    let query = bound!(AssertSqlSafe(statement), &values).persistent(again);
                    query.fetch_all(&mut **connection).await?.into_iter().map(Row::MySql).collect()
                }
            })
        };
        within(ROUND_TRIP, running).await
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn fetch(&mut self, statement: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        within(ROUND_TRIP, self.fetched(statement, values)).await
    }

    async fn fetched(&mut self, statement: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        Ok(match self {
            Self::Sqlite(connection) => {
                let rows = bound!(statement, values).fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                let rows = bound!(statement, values).fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
            Self::MySql(connection) => {
                let (statement, values) = for_mysql(statement, values);
                let rows = bound!(AssertSqlSafe(statement), &values).fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::MySql).collect()
            }
        })
    }

    /// Runs a statement that returns at least one row, and returns the first.
    pub(crate) async fn fetch_one(&mut self, statement: &'static str, values: &[Value<'_>]) -> Result<Row, Error> {
        self.fetch(statement, values).await?.into_iter().next().ok_or(Error::RowNotFound)
    }

    /// Runs a statement without values that this connection will not be asked again, in one way to the server and back,
    /// and returns its first row.
    pub(crate) async fn ask_once(&mut self, statement: &'static str) -> Result<Row, Error> {
        let statement = sqlx::raw_sql(statement);
        let asking = async {
            Ok(match self {
                Self::Sqlite(connection) => Row::Sqlite(statement.fetch_one(&mut **connection).await?),
                Self::Postgres(connection) => Row::Postgres(statement.fetch_one(&mut **connection).await?),
                Self::MySql(connection) => Row::MySql(statement.fetch_one(&mut **connection).await?),
            })
        };
        within(ROUND_TRIP, asking).await
    }

    /// Runs statements without values, which a server need not remember: those that begin and end transactions and
    /// prepare sessions.
    pub(crate) async fn run(&mut self, statements: &'static str) -> Result<(), Error> {
        let statements = sqlx::raw_sql(statements);
        let running = async {
            match self {
                Self::Sqlite(connection) => statements.execute(&mut **connection).await.map(drop),
                Self::Postgres(connection) => statements.execute(&mut **connection).await.map(drop),
                Self::MySql(connection) => statements.execute(&mut **connection).await.map(drop),
            }
        };
        within(ROUND_TRIP, running).await
    }
}

/// The outcome, or an error if there is none in time.
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(Error::Io(ErrorKind::TimedOut.into())))
}

fn for_mysql<'v>(statement: &str, values: &[Value<'v>]) -> (String, Vec<Value<'v>>) {
    let (statement, order) = in_order(statement);
    // A number that no value belongs to leaves a placeholder without one, which the server refuses.
    (statement, order.into_iter().filter_map(|index| values.get(index).copied()).collect())
}
