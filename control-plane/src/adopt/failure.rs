//! Why an adoption fails, and on which of the two sides.

use sqlx::Error;

use crate::store::OpenFailure;
use crate::store::adoption::{explained, is_locked, may_pass};

/// What is wrong with the application's database.
#[derive(Debug, thiserror::Error)]
pub enum SourceFailure {
    /// It cannot be reached or read, or a right is missing.
    #[error("the database cannot be opened: {}", explained(.0))]
    Database(#[from] Error),
    /// The shape of its table does not allow an adoption.
    #[error("{0}, and so the table cannot be adopted")]
    Unusable(String),
    /// Its table is Curfew's own, whatever the database is called.
    #[error("its table user_token_logs is Curfew's own: name the application's database")]
    Curfews,
    /// It is the database that DATABASE_URL names.
    #[error("DATABASE_URL names the same database: give Curfew a database of its own")]
    SameDatabase,
}

/// Why an adoption could not begin, or ended early. What it did before that stays done.
#[derive(Debug, thiserror::Error)]
pub enum AdoptFailure {
    /// The application's database is at fault.
    #[error("CURFEW_ADOPT_FROM: {0}")]
    Source(#[from] SourceFailure),
    /// Curfew's own database is at fault.
    #[error("DATABASE_URL: {0}")]
    Own(#[from] OpenFailure),
    /// Curfew's own database does not have everything any more that this run has written.
    #[error(
        "DATABASE_URL: the database was replaced, restored or taken over by a standby during this run, and may lack what \
         was taken over: run `curfew adopt --apply` again"
    )]
    HistoryEnded,
}

impl AdoptFailure {
    /// True if another attempt may succeed: another process held a lock, or a connection was lost.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Source(SourceFailure::Database(error)) | Self::Own(OpenFailure::Database(error)) => {
                is_locked(error) || may_pass(error)
            }
            _ => false,
        }
    }
}

/// An error of Curfew's own database.
pub(super) fn own(error: Error) -> AdoptFailure {
    AdoptFailure::Own(OpenFailure::Database(error))
}
