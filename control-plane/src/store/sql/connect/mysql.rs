//! Connections to MySQL and MariaDB.

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool};
use sqlx::pool::{PoolConnectionMetadata, PoolOptions};
use sqlx::{ConnectOptions, Connection, Error, Row};

use super::purpose::{CONNECT_LIMIT, Purpose};
use crate::store::database::Database;
use crate::store::sql::driver::Link;
use crate::store::sql::history::refuse_unknown;
use crate::store::sql::mysql_server::{mysql_server, note_run};
use crate::store::trust::{Distrust, Trust};

/// Statements take a fraction of a millisecond, most of it on the network.
const READ_CONNECTIONS: u32 = 8;

/// A connection that was unused for longer is tested before its use. Busy connections are not.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// sqlx would add settings of its own to the session, which costs a round trip and would undo the modes below.
fn prepared(options: &MySqlConnectOptions) -> MySqlConnectOptions {
    let options = options.clone().pipes_as_concat(false).no_engine_substitution(false).timezone(None);
    options.set_names(false).disable_statement_logging()
}

/// The settings of every session, whatever the server's defaults are.
///
/// Modes: a value that does not fit is an error and is not cut off; a missing engine is an error and is not replaced by
/// one without transactions; and `"key"` is a column, as in the other databases.
///
/// Isolation: the writer's first statement locks the head, and each later one must see what was committed before that.
/// With REPEATABLE READ, the default, all of them would see the moment of the first one, and gap locks would make
/// control planes wait for each other. A check is one statement, and so one snapshot as new as the statement's
/// beginning. Without `autocommit` it would open a transaction and see that moment for ever.
///
/// All of it takes one round trip, together with a note of the server's run, and the question what the server is. A setting that only MySQL or only
/// MariaDB knows is in a comment that the other one skips.
macro_rules! session {
    ($times:literal) => {
        concat!(
            "SET NAMES utf8mb4; SET SESSION \
             sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
             SESSION autocommit = 1; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION ",
            $times,
            "; ",
            note_run!(),
            "; SELECT ",
            mysql_server!()
        )
    };
}

/// Times: see `LOCK_TIMEOUT` for the writer. A writer that stops in a transaction (on a frozen machine) must not hold
/// the head for ever, so the server ends a silent session; the writer opens another one when it needs it. A read that
/// takes longer than 300 ms is useless: the filter has given up after 500.
const fn session(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Migrate => session!("lock_wait_timeout = 5, SESSION innodb_lock_wait_timeout = 5"),
        Purpose::Write => session!(
            "lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1 \
             /*M! , SESSION max_statement_time = 4, SESSION idle_transaction_timeout = 5, SESSION wait_timeout = 60 */ \
             /*!80000 , SESSION max_execution_time = 4000, SESSION wait_timeout = 10 */"
        ),
        Purpose::Read => session!(
            "lock_wait_timeout = 1 \
             /*M! , SESSION max_statement_time = 0.3 */ /*!80000 , SESSION max_execution_time = 300 */; \
             SET SESSION TRANSACTION READ ONLY"
        ),
        Purpose::ReadForeign => session!(
            "lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1 \
             /*M! , SESSION max_statement_time = 4 */ /*!80000 , SESSION max_execution_time = 4000 */; \
             SET SESSION TRANSACTION READ ONLY"
        ),
        Purpose::WriteForeign => session!(
            "lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1 \
             /*M! , SESSION max_statement_time = 4 */ /*!80000 , SESSION max_execution_time = 4000 */"
        ),
    }
}

pub(super) async fn open(options: &MySqlConnectOptions, purpose: Purpose) -> Result<MySqlConnection, Error> {
    let mut connection = prepared(options).connect().await?;
    prepare(&mut connection, purpose).await?;
    Ok(connection)
}

async fn prepare(connection: &mut MySqlConnection, purpose: Purpose) -> Result<(), Error> {
    let rows = sqlx::raw_sql(session(purpose)).fetch_all(connection).await?;
    let follows: i64 = rows.last().ok_or(Error::RowNotFound)?.try_get_unchecked("follows")?;
    if follows == 0 { Ok(()) } else { Err(Distrust::Follows.into()) }
}

pub(super) fn pool(options: &MySqlConnectOptions, database: &Database, trust: &Arc<Trust>) -> MySqlPool {
    let (database, trust) = (database.clone(), Arc::clone(trust));
    PoolOptions::new()
        .max_connections(READ_CONNECTIONS)
        .acquire_timeout(CONNECT_LIMIT)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let (database, trust) = (database.clone(), Arc::clone(&trust));
            Box::pin(async move {
                prepare(connection, Purpose::Read).await?;
                refuse_unknown(&database, &trust, Link::MySql(connection)).await
            })
        })
        .before_acquire(|connection, metadata| Box::pin(works(connection, metadata)))
        .connect_lazy_with(prepared(options))
}

async fn works(connection: &mut MySqlConnection, metadata: PoolConnectionMetadata) -> Result<bool, Error> {
    if metadata.idle_for < TRUSTED_FOR {
        return Ok(true);
    }
    Ok(connection.ping().await.is_ok())
}
