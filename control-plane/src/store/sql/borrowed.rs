//! A connection of the pool's in somebody's hands.
//!
//! Only one that has answered goes back. Whoever stops waiting for an answer, or is told of a broken connection, leaves one
//! behind that the next would wait for, too: it is closed, and its place in the pool is free at once.

use std::time::Duration;

use sqlx::Error;

use super::connection::{Link, Pooled};

/// How long a connection that goes back may take to show that it lives: a server that vanished meanwhile says nothing,
/// and nobody would be told of it.
const RETURN_LIMIT: Duration = Duration::from_secs(1);

/// A connection of the pool's.
pub(crate) struct Borrowed {
    connection: Option<Pooled>,
    /// Something was asked over it, and no answer has come.
    is_asked: bool,
}

impl Borrowed {
    pub(super) fn new(connection: Pooled) -> Self {
        Self { connection: Some(connection), is_asked: false }
    }

    /// To ask something over it; [`Self::answered`] has to be told of the answer.
    pub(crate) fn link(&mut self) -> Result<Link<'_>, Error> {
        self.is_asked = true;
        self.connection.as_mut().map(Pooled::link).ok_or(Error::PoolClosed)
    }

    /// Takes note of an answer.
    pub(crate) fn answered<T>(&mut self, outcome: &Result<T, Error>) {
        self.is_asked = !matches!(outcome, Ok(_) | Err(Error::Database(_)));
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.is_asked {
            connection.discard();
        } else {
            connection.give_back(RETURN_LIMIT);
        }
    }
}
