//! SQL for the harness itself: checks whether a server is ready, makes databases, runs a test's statements.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, Connection};

/// A server that accepts connections and does not answer must not hang the harness.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Runs statements, separated by `;`, over a connection of their own.
///
/// # Errors
/// When the server cannot be reached or refuses one.
pub(super) fn execute<C>(url: &str, statements: &str) -> Result<()>
where
    C: Connection,
    for<'c> &'c mut C: sqlx::Executor<'c, Database = C::Database>,
{
    let run = async {
        let mut connection = C::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await?;
        connection.close().await
    };
    // A thread of its own, because the test may already run in a runtime.
    let outcome = thread::scope(|scope| {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { tokio::time::timeout(ANSWER_LIMIT, run).await })?.context("SQL")
        };
        scope.spawn(work).join()
    });
    outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("the thread for SQL panicked")))
}
