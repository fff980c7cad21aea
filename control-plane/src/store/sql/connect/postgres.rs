//! Connections to PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::{PoolConnectionMetadata, PoolOptions};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{ConnectOptions, Connection, Error, Row};

use super::purpose::{CONNECT_LIMIT, Purpose};
use crate::store::database::Database;
use crate::store::sql::driver::Link;
use crate::store::sql::history::refuse_unknown;
use crate::store::trust::{Distrust, Trust};

/// Statements take a fraction of a millisecond, most of it on the network.
const READ_CONNECTIONS: u32 = 8;

/// A connection that was unused for longer is tested before its use. Busy connections are not.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

fn prepared(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().disable_statement_logging()
}

macro_rules! session {
    ($settings:literal) => {
        concat!(
            "SET default_transaction_isolation = 'read committed'; ",
            $settings,
            "; SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END AS role, \
             current_setting('server_encoding') AS encoding"
        )
    };
}

/// The settings of every session, whatever the defaults of the server, the role or the database are.
///
/// Isolation: the writer's first statement locks the head, and each later one must see what was committed before that;
/// a check is one statement, and so one snapshot as new as the statement's beginning. READ COMMITTED gives both.
///
/// Durability: with `off`, a logout would be answered with 200 before its commit is on disk. Settings that are stronger
/// than `on` are kept.
///
/// Times: see `LOCK_TIMEOUT` for the writer. A writer that stops in a transaction (on a frozen machine) must not hold
/// the head for ever. A read that takes longer than 300 ms is useless: the filter has given up after 500.
///
/// All of it takes one round trip, together with the question what the server is.
const fn session(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Migrate => session!(
            "SET default_transaction_read_only = off; SET lock_timeout = '5s'; SET statement_timeout = 0; \
             SET idle_in_transaction_session_timeout = '60s'"
        ),
        Purpose::Write => session!(
            "SET default_transaction_read_only = off; \
             SELECT set_config('synchronous_commit', 'on', false) \
              WHERE current_setting('synchronous_commit') IN ('off', 'local'); \
             SET lock_timeout = '1s'; SET statement_timeout = '4s'; SET idle_in_transaction_session_timeout = '5s'"
        ),
        Purpose::Read => session!(
            "SET default_transaction_read_only = on; SET lock_timeout = '300ms'; SET statement_timeout = '300ms'; \
             SET idle_in_transaction_session_timeout = '5s'"
        ),
        Purpose::ReadForeign => {
            session!("SET default_transaction_read_only = on; SET lock_timeout = '1s'; SET statement_timeout = '4s'")
        }
        Purpose::WriteForeign => {
            session!("SET default_transaction_read_only = off; SET lock_timeout = '1s'; SET statement_timeout = '4s'")
        }
    }
}

pub(super) async fn open(options: &PgConnectOptions, purpose: Purpose) -> Result<PgConnection, Error> {
    let mut connection = prepared(options).connect().await?;
    prepare(&mut connection, purpose).await?;
    Ok(connection)
}

async fn prepare(connection: &mut PgConnection, purpose: Purpose) -> Result<(), Error> {
    let rows = sqlx::raw_sql(session(purpose)).fetch_all(connection).await?;
    let row = rows.last().ok_or(Error::RowNotFound)?;
    if row.try_get::<String, _>("role")? != "primary" {
        return Err(Distrust::Follows.into());
    }
    match row.try_get::<String, _>("encoding")?.as_str() {
        "UTF8" => Ok(()),
        // The server converts its texts, and Curfew writes none of its own there.
        _ if matches!(purpose, Purpose::ReadForeign | Purpose::WriteForeign) => Ok(()),
        // If a user's name had characters that this encoding lacks, the user's logout would fail.
        other => Err(Error::Configuration(
            format!(
                "the database's encoding is {other}: make it with ENCODING 'UTF8', which any name can be written in"
            )
            .into(),
        )),
    }
}

pub(super) fn pool(options: &PgConnectOptions, database: &Database, trust: &Arc<Trust>) -> PgPool {
    let (database, trust) = (database.clone(), Arc::clone(trust));
    PoolOptions::new()
        .max_connections(READ_CONNECTIONS)
        .acquire_timeout(CONNECT_LIMIT)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let (database, trust) = (database.clone(), Arc::clone(&trust));
            Box::pin(async move {
                prepare(connection, Purpose::Read).await?;
                refuse_unknown(&database, &trust, Link::Postgres(connection)).await
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
