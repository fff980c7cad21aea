//! Connections to PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::{PoolConnectionMetadata, PoolOptions};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{ConnectOptions, Connection, Error};

use super::{ACQUIRE_TIMEOUT, Purpose, known_history};
use crate::store::database::Database;
use crate::store::sql::connection::Link;
use crate::store::trust::{Distrust, Trust};

/// Statements of a fraction of a millisecond, mostly spent on the way there and back.
const READ_CONNECTIONS: u32 = 8;

/// How long a connection may lie before it is asked whether it still works: no question on the busy ones.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

fn prepared(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().disable_statement_logging()
}

/// What holds for a session, whatever the server, the role or the database has for a default.
///
/// Isolation: the writer's first statement locks the head, and each later one must see what was committed before
/// that; a check is one statement, which is one snapshot as new as its begin. READ COMMITTED gives both.
///
/// Durability: `off` would answer 200 before the commit is on disk. What is stronger than `on` is left as it is.
///
/// Times: see `LOCK_TIMEOUT` for the writer. A writer that stops in a transaction (a frozen machine) must not hold the
/// head for ever. A read that takes longer than 300 ms is worth nothing: the filter has given up after 500.
const fn session(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Migrate => {
            "SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
             SET lock_timeout = '5s'; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = '60s'"
        }
        Purpose::Write => {
            "SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
             SELECT set_config('synchronous_commit', 'on', false) \
              WHERE current_setting('synchronous_commit') IN ('off', 'local'); \
             SET lock_timeout = '2s'; SET statement_timeout = '4s'; SET idle_in_transaction_session_timeout = '5s'"
        }
        Purpose::Read => {
            "SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = on; \
             SET lock_timeout = '300ms'; SET statement_timeout = '300ms'; \
             SET idle_in_transaction_session_timeout = '5s'"
        }
    }
}

pub(super) async fn open(options: &PgConnectOptions, purpose: Purpose) -> Result<PgConnection, Error> {
    let mut connection = prepared(options).connect().await?;
    prepare(&mut connection, purpose).await?;
    Ok(connection)
}

async fn prepare(connection: &mut PgConnection, purpose: Purpose) -> Result<(), Error> {
    sqlx::raw_sql(session(purpose)).execute(&mut *connection).await?;
    let standby: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await?;
    if standby { Err(Distrust::Follows.into()) } else { Ok(()) }
}

pub(super) fn pool(options: &PgConnectOptions, database: &Database, trust: &Arc<Trust>) -> PgPool {
    let (database, trust) = (database.clone(), Arc::clone(trust));
    PoolOptions::new()
        .max_connections(READ_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let (database, trust) = (database.clone(), Arc::clone(&trust));
            Box::pin(async move {
                prepare(connection, Purpose::Read).await?;
                known_history(&database, &trust, Link::Postgres(connection)).await
            })
        })
        .before_acquire(|connection, metadata| Box::pin(works(connection, metadata)))
        .connect_lazy_with(prepared(options))
}

async fn works(connection: &mut PgConnection, metadata: PoolConnectionMetadata) -> Result<bool, Error> {
    if metadata.idle_for < TRUSTED_FOR {
        return Ok(true);
    }
    Ok(connection.ping().await.is_ok())
}
