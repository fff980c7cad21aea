//! One connection to any of the databases, and how a statement runs on it.
//!
//! Not `sqlx::Any`: that connects by a URL alone, so that neither a file's mode nor a session could be prepared with
//! types, and it reads fewer column types than the three have in common.

use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, Connection as _, Error, MySql, Postgres, Sqlite};

use super::each::Each;
use super::placeholders::in_order;
use super::row::Row;
use super::value::Value;

/// A connection of its own.
pub(crate) type Connection = Each<SqliteConnection, PgConnection, MySqlConnection>;

/// Connections that are opened as they are needed.
pub(crate) type Pool = Each<SqlitePool, PgPool, MySqlPool>;

/// A connection that goes back to its pool.
pub(crate) type Pooled = Each<PoolConnection<Sqlite>, PoolConnection<Postgres>, PoolConnection<MySql>>;

/// The way to either kind of connection.
pub(crate) type Link<'c> = Each<&'c mut SqliteConnection, &'c mut PgConnection, &'c mut MySqlConnection>;

impl Connection {
    pub(crate) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(connection) => Link::Sqlite(connection),
            Self::Postgres(connection) => Link::Postgres(connection),
            Self::MySql(connection) => Link::MySql(connection),
        }
    }

    /// Says goodbye, so that the server does not have to find out.
    pub(crate) async fn close(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
            Self::MySql(connection) => connection.close().await,
        }
    }
}

impl Pool {
    pub(crate) async fn acquire(&self) -> Result<Pooled, Error> {
        Ok(match self {
            Self::Sqlite(pool) => Pooled::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Pooled::Postgres(pool.acquire().await?),
            Self::MySql(pool) => Pooled::MySql(pool.acquire().await?),
        })
    }
}

impl Pooled {
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
        Ok(match self {
            Self::Sqlite(connection) => bound!(statement, values).execute(&mut **connection).await?.rows_affected(),
            Self::Postgres(connection) => bound!(statement, values).execute(&mut **connection).await?.rows_affected(),
            Self::MySql(connection) => {
                let (statement, values) = for_mysql(statement, values);
                bound!(AssertSqlSafe(statement), &values).execute(&mut **connection).await?.rows_affected()
            }
        })
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn fetch(&mut self, statement: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
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

    /// Runs statements without values, which a server need not remember: those that begin and end transactions and
    /// prepare sessions.
    pub(crate) async fn run(&mut self, statements: &'static str) -> Result<(), Error> {
        let statements = sqlx::raw_sql(statements);
        match self {
            Self::Sqlite(connection) => statements.execute(&mut **connection).await.map(drop),
            Self::Postgres(connection) => statements.execute(&mut **connection).await.map(drop),
            Self::MySql(connection) => statements.execute(&mut **connection).await.map(drop),
        }
    }
}

fn for_mysql<'v>(statement: &str, values: &[Value<'v>]) -> (String, Vec<Value<'v>>) {
    let (statement, order) = in_order(statement);
    // A number that no value belongs to leaves a placeholder without one, which the server refuses.
    (statement, order.into_iter().filter_map(|index| values.get(index).copied()).collect())
}
