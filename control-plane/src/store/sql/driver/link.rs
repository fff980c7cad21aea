//! Runs statements on a connection.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Error, RawSql, SqlSafeStr as _, SqlStr};
use tokio::time::timeout;

use super::literals::with_literals;
use super::placeholders::in_order;
use super::row::Row;
use super::value::Value;
use crate::store::per_driver::PerDriver;

/// How long one statement may take, the network included. It is longer than the server lets any statement run, so that
/// the server's own error comes first if it can be heard. A server that is frozen or cut off says nothing at all, and
/// the network may take a quarter of an hour to find out. After this time the connection cannot be used any more, and
/// it is not known whether the statement was carried out.
const ROUND_TRIP: Duration = Duration::from_secs(5);

/// A connection on which statements run, owned or from a pool.
pub(crate) type Link<'c> = PerDriver<&'c mut SqliteConnection, &'c mut PgConnection, &'c mut MySqlConnection>;

/// The query with its values. This is a macro, because the three drivers share no trait for these types of values. The
/// connection keeps the prepared statement if `again` is true, for a statement that will run again. On MySQL every
/// statement with values is kept; see [`super::literals`].
macro_rules! bound {
    ($statement:expr, $values:expr, $again:expr) => {{
        let mut query = sqlx::query($statement).persistent($again);
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
    /// Runs a statement and returns how many rows it changed.
    pub(crate) async fn execute(&mut self, statement: &'static str, values: &[Value<'_>]) -> Result<u64, Error> {
        within(ROUND_TRIP, self.executed(statement.into_sql_str(), values, true)).await
    }

    /// [`Self::execute`] for a statement whose text is built at run time.
    pub(crate) async fn execute_built(
        &mut self,
        statement: String,
        values: &[Value<'_>],
        again: bool,
    ) -> Result<u64, Error> {
        within(ROUND_TRIP, self.executed(AssertSqlSafe(statement).into_sql_str(), values, again)).await
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn fetch(&mut self, statement: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        within(ROUND_TRIP, self.fetched(statement.into_sql_str(), values, true)).await
    }

    /// [`Self::fetch`] for a statement whose text is built at run time.
    pub(crate) async fn fetch_built(
        &mut self,
        statement: String,
        values: &[Value<'_>],
        again: bool,
    ) -> Result<Vec<Row>, Error> {
        within(ROUND_TRIP, self.fetched(AssertSqlSafe(statement).into_sql_str(), values, again)).await
    }

    /// Runs a statement that returns at least one row, and returns the first.
    pub(crate) async fn fetch_one(&mut self, statement: &'static str, values: &[Value<'_>]) -> Result<Row, Error> {
        self.fetch(statement, values).await?.into_iter().next().ok_or(Error::RowNotFound)
    }

    /// Runs a statement without values that this connection will not run again, in one round trip, and returns its
    /// first row.
    pub(crate) async fn fetch_once(&mut self, statement: &'static str) -> Result<Row, Error> {
        let statement = sqlx::raw_sql(statement);
        let fetching = async {
            Ok(match self {
                Self::Sqlite(connection) => Row::Sqlite(statement.fetch_one(&mut **connection).await?),
                Self::Postgres(connection) => Row::Postgres(statement.fetch_one(&mut **connection).await?),
                Self::MySql(connection) => Row::MySql(statement.fetch_one(&mut **connection).await?),
            })
        };
        within(ROUND_TRIP, fetching).await
    }

    /// Runs statements without values that are not worth preparing: those that begin and end transactions, and those
    /// that set up sessions.
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

    async fn executed(&mut self, statement: SqlStr, values: &[Value<'_>], again: bool) -> Result<u64, Error> {
        Ok(match self {
            Self::Sqlite(connection) => {
                bound!(statement, values, again).execute(&mut **connection).await?.rows_affected()
            }
            Self::Postgres(connection) => {
                bound!(statement, values, again).execute(&mut **connection).await?.rows_affected()
            }
            Self::MySql(connection) if !again => {
                once(&statement, values).execute(&mut **connection).await?.rows_affected()
            }
            Self::MySql(connection) => {
                let (statement, values) = for_mysql(statement.as_str(), values);
                bound!(statement, &values, true).execute(&mut **connection).await?.rows_affected()
            }
        })
    }

    async fn fetched(&mut self, statement: SqlStr, values: &[Value<'_>], again: bool) -> Result<Vec<Row>, Error> {
        Ok(match self {
            Self::Sqlite(connection) => {
                let rows = bound!(statement, values, again).fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                let rows = bound!(statement, values, again).fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
            Self::MySql(connection) if !again => {
                let rows = once(&statement, values).fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::MySql).collect()
            }
            Self::MySql(connection) => {
                let (statement, values) = for_mysql(statement.as_str(), values);
                let rows = bound!(statement, &values, true).fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::MySql).collect()
            }
        })
    }
}

/// The outcome, or an error if it does not come in time.
pub(in crate::store::sql) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(Error::Io(ErrorKind::TimedOut.into())))
}

/// A statement for MySQL that runs once.
fn once(statement: &SqlStr, values: &[Value<'_>]) -> RawSql {
    sqlx::raw_sql(AssertSqlSafe(with_literals(statement.as_str(), values)))
}

fn for_mysql<'v>(statement: &str, values: &[Value<'v>]) -> (SqlStr, Vec<Value<'v>>) {
    let (statement, order) = in_order(statement);
    // A number without a value leaves a placeholder without a value, which the server refuses.
    let values = order.into_iter().filter_map(|index| values.get(index).copied()).collect();
    (AssertSqlSafe(statement).into_sql_str(), values)
}
