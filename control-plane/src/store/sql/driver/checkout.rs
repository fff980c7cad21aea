//! A connection that is checked out of the pool.
//!
//! It goes back only if its last statement was answered. A reader that stops waiting for an answer, or whose connection
//! breaks, leaves one behind on which the next reader would wait, too: that one is closed, and its place in the pool is
//! free at once.

use std::time::Duration;

use sqlx::Error;

use super::link::Link;
use super::pool::{Pool, Pooled};

/// How long a connection that goes back may take to show that it is alive. A server that vanished meanwhile says
/// nothing, and the pool would not be told.
const RETURN_LIMIT: Duration = Duration::from_secs(1);

/// A connection of the pool's.
pub(crate) struct CheckedOut {
    connection: Option<Pooled>,
    /// A statement was sent, and no answer has come.
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

    /// Notes that a statement has ended. An error of the server's is an answer; any other leaves the connection in
    /// doubt.
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
