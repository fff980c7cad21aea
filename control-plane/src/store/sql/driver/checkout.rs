//! A connection that is checked out of the pool.
//!
//! It goes back only if its last statement was answered. If a reader stops waiting for an answer, or its connection
//! breaks, the next reader would wait on that connection, too. Such a connection is closed, and its place in the pool
//! is free at once.

use std::time::Duration;

use sqlx::Error;

use super::link::Link;
use super::pool::{Pool, Pooled};

/// How long a returned connection may take to show that it is alive. A server that vanished meanwhile does not answer,
/// and the pool would not notice.
const RETURN_LIMIT: Duration = Duration::from_secs(1);

/// A connection of the pool.
pub(crate) struct CheckedOut {
    connection: Option<Pooled>,
    /// True if a statement was sent and no answer has come.
    is_waiting: bool,
}

impl CheckedOut {
    /// Takes a connection from the pool, which opens one if none is free.
    pub(in crate::store::sql) async fn from(pool: &Pool) -> Result<Self, Error> {
        Ok(Self { connection: Some(pool.acquire().await?), is_waiting: false })
    }

    /// The connection, to run a statement on it. The caller passes the outcome to [`Self::answered`].
    pub(crate) fn link(&mut self) -> Result<Link<'_>, Error> {
        self.is_waiting = true;
        self.connection.as_mut().map(Pooled::link).ok_or(Error::PoolClosed)
    }

    /// Notes that a statement has ended. An error from the server is an answer; any other error leaves the connection
    /// in doubt.
    pub(crate) fn answered<T>(&mut self, outcome: &Result<T, Error>) {
        self.is_waiting = !matches!(outcome, Ok(_) | Err(Error::Database(_)));
    }
}

impl Drop for CheckedOut {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.is_waiting {
            connection.discard();
        } else {
            connection.give_back(RETURN_LIMIT);
        }
    }
}
