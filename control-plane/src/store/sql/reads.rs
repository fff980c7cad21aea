//! The pool that reads, opened anew where the embedded database's file has been replaced: connections keep a file that
//! has lost its name, and would answer from it for ever.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::Error;
use tokio::sync::Semaphore;

use super::borrowed::Borrowed;
use super::connect;
use super::connection::Pool;
use super::failure::may_pass;
use super::history::{history, of_file};
use super::row::Row;
use super::trusted::Trusted;
use super::value::Value;
use crate::log::LogPosition;
use crate::store::database::Database;
use crate::store::identity::Identity;
use crate::store::trust::Trust;

/// How often a statement is run whose connection turns out to be lost: all that lie in the pool may be.
const ATTEMPTS: u32 = 10;

/// How many connections are made at a time for readers who may not wait for them: as many as a pool has.
const CONNECTING: usize = 8;

/// The connections that read. Clones share them.
#[derive(Clone)]
pub(crate) struct Reads {
    database: Database,
    trust: Arc<Trust>,
    open: Arc<Mutex<Option<Open>>>,
    /// For connections that are being made.
    connecting: Arc<Semaphore>,
}

#[derive(Clone)]
struct Open {
    pool: Pool,
    /// What the file was just before the pool was made.
    file: Option<Identity>,
}

impl Reads {
    /// Connections are opened as they are needed.
    pub(crate) fn new(database: &Database, trust: Arc<Trust>) -> Self {
        let connecting = Arc::new(Semaphore::new(CONNECTING));
        Self { database: database.clone(), trust, open: Arc::default(), connecting }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) async fn acquire(&self) -> Result<Borrowed, Error> {
        self.lent(&self.open()?).await
    }

    /// The head and the rows of a statement, if the database may be believed. If not, nothing more is read by this
    /// process until the watch has found out about it, and the pool's connections are gone.
    pub(super) async fn trusted(
        &self,
        statement: &Trusted,
        values: &[Value<'_>],
    ) -> Result<(LogPosition, Vec<Row>), Error> {
        let seen = self.trust.seen();
        let (rows, file) = self.fetch(statement, values).await?;
        let history = history(rows.first().ok_or(Error::RowNotFound)?, file)?;
        if let Err(distrust) = history.judge(&seen) {
            self.discard();
            self.trust.fence(distrust);
            return Err(distrust.into());
        }
        self.trust.observe(&seen, history.head);
        Ok((history.head, rows))
    }

    /// No connection that was made before is used again.
    pub(crate) fn discard(&self) {
        // Those in use close when they come back.
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Runs a statement on any connection. One that was lost while it lay in the pool is noticed by the first statement
    /// on it, which is then run on another one.
    async fn fetch(&self, statement: &Trusted, values: &[Value<'_>]) -> Result<(Vec<Row>, Option<Identity>), Error> {
        for _ in 1..ATTEMPTS {
            match self.fetch_once(statement, values).await {
                Err(error) if may_pass(&error) => {}
                outcome => return outcome,
            }
        }
        self.fetch_once(statement, values).await
    }

    async fn fetch_once(
        &self,
        statement: &Trusted,
        values: &[Value<'_>],
    ) -> Result<(Vec<Row>, Option<Identity>), Error> {
        let open = self.open()?;
        let mut lent = self.lent(&open).await?;
        let mut link = lent.link()?;
        let rows = link.fetch(self.database.tables().of(statement.on(&link)), values).await;
        lent.answered(&rows);
        Ok((rows?, open.file))
    }

    /// A connection from the pool. One that has to be made first is made to the end, also when the reader has no patience
    /// left: the next reader finds it, and a server that is far away would never be read from otherwise.
    async fn lent(&self, open: &Open) -> Result<Borrowed, Error> {
        let pool = open.pool.clone();
        let place = if pool.must_connect() { Arc::clone(&self.connecting).try_acquire_owned().ok() } else { None };
        let Some(place) = place else { return Ok(Borrowed::new(pool.acquire().await?)) };
        let connecting = tokio::spawn(async move {
            let lent = pool.acquire().await.map(Borrowed::new);
            drop(place);
            lent
        });
        connecting.await.map_err(|_| Error::WorkerCrashed)?
    }

    /// The pool of the present file; an error where there is none.
    fn open(&self) -> Result<Open, Error> {
        let file = self.database.file().map(of_file).transpose()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some(present) if present.file == file => Ok(present.clone()),
            _ => {
                // The old pool closes its connections when the last of them comes back.
                let present = Open { pool: connect::pool(&self.database, &self.trust), file };
                *open = Some(present.clone());
                Ok(present)
            }
        }
    }
}
