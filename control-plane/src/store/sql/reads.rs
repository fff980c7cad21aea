//! The pool that reads, opened anew where the embedded database's file has been replaced: connections keep a file that
//! has lost its name, and would answer from it for ever.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::Error;

use super::connect;
use super::connection::{Pool, Pooled};
use super::failure::may_pass;
use super::history::of_file;
use super::row::Row;
use super::value::Value;
use crate::store::database::Database;
use crate::store::identity::Identity;

/// How often a statement is run whose connection turns out to be lost: all that lie in the pool may be.
const ATTEMPTS: u32 = 10;

/// The connections that read. Clones share them.
#[derive(Clone)]
pub(crate) struct Reads {
    database: Database,
    open: Arc<Mutex<Option<Open>>>,
}

#[derive(Clone)]
struct Open {
    pool: Pool,
    /// What the file was just before the pool was made.
    file: Option<Identity>,
}

impl Reads {
    /// Connections are opened as they are needed.
    pub(crate) fn new(database: &Database) -> Self {
        Self { database: database.clone(), open: Arc::default() }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) async fn acquire(&self) -> Result<Pooled, Error> {
        self.pool()?.acquire().await
    }

    /// Runs a statement on any connection. One that was lost while it lay in the pool is noticed by the first statement
    /// on it, which is then run on another one.
    pub(super) async fn fetch(&self, statement: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        for _ in 1..ATTEMPTS {
            match self.acquire().await?.link().fetch(statement, values).await {
                Err(error) if may_pass(&error) => {}
                outcome => return outcome,
            }
        }
        self.acquire().await?.link().fetch(statement, values).await
    }

    /// The pool of the present file; an error where there is none.
    fn pool(&self) -> Result<Pool, Error> {
        let file = self.database.file().map(of_file).transpose()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some(Open { pool, file: opened }) if *opened == file => Ok(pool.clone()),
            _ => {
                // The old pool closes its connections when the last of them comes back.
                let pool = connect::pool(&self.database);
                *open = Some(Open { pool: pool.clone(), file });
                Ok(pool)
            }
        }
    }
}
