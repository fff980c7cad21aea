//! Pools of connections, and the connections in them.

use std::time::Duration;

use sqlx::mysql::MySqlPool;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use sqlx::{Error, MySql, Postgres, Sqlite};
use tokio::time::timeout;

use super::link::Link;
use crate::store::per_driver::PerDriver;

/// Connections that are opened as they are needed.
pub(in crate::store::sql) type Pool = PerDriver<SqlitePool, PgPool, MySqlPool>;

/// A connection that goes back to its pool.
pub(super) type Pooled = PerDriver<PoolConnection<Sqlite>, PoolConnection<Postgres>, PoolConnection<MySql>>;

impl Pool {
    /// True if the next reader has to wait until a connection is made.
    pub(in crate::store::sql) fn must_connect(&self) -> bool {
        match self {
            Self::Sqlite(pool) => pool.num_idle() == 0 && pool.size() < pool.options().get_max_connections(),
            Self::Postgres(pool) => pool.num_idle() == 0 && pool.size() < pool.options().get_max_connections(),
            Self::MySql(pool) => pool.num_idle() == 0 && pool.size() < pool.options().get_max_connections(),
        }
    }

    pub(super) async fn acquire(&self) -> Result<Pooled, Error> {
        Ok(match self {
            Self::Sqlite(pool) => Pooled::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Pooled::Postgres(pool.acquire().await?),
            Self::MySql(pool) => Pooled::MySql(pool.acquire().await?),
        })
    }
}

impl Pooled {
    /// Drops the connection, and frees its place in the pool.
    pub(super) fn discard(self) {
        match self {
            Self::Sqlite(connection) => drop(connection.detach()),
            Self::Postgres(connection) => drop(connection.detach()),
            Self::MySql(connection) => drop(connection.detach()),
        }
    }

    /// Puts the connection back if it shows within `limit` that it is alive. If it were just dropped, the pool would
    /// wait for that without a limit, and the connection would keep its place in the pool meanwhile.
    pub(super) fn give_back(self, limit: Duration) {
        match self {
            Self::Sqlite(mut connection) => drop(tokio::spawn(timeout(limit, connection.return_to_pool()))),
            Self::Postgres(mut connection) => drop(tokio::spawn(timeout(limit, connection.return_to_pool()))),
            Self::MySql(mut connection) => drop(tokio::spawn(timeout(limit, connection.return_to_pool()))),
        }
    }

    /// The connection, to run statements on it.
    pub(super) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(connection) => Link::Sqlite(connection),
            Self::Postgres(connection) => Link::Postgres(connection),
            Self::MySql(connection) => Link::MySql(connection),
        }
    }
}
