//! The pool that reads. It is opened again when the embedded database's file has been replaced: the old connections
//! keep the old file open, and would answer from it for ever.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::Error;
use tokio::sync::Semaphore;

use super::connect;
use super::driver::{CheckedOut, Pool, Row, Value};
use super::failure::may_pass;
use super::history::{history, of_file};
use super::trusted::Trusted;
use crate::log::LogPosition;
use crate::store::database::Database;
use crate::store::identity::Identity;
use crate::store::trust::Trust;

/// How often a statement is tried when its connection turns out to be lost. All connections in the pool may be lost.
const ATTEMPTS: u32 = 10;

/// How many connections are made at the same time for readers that may stop waiting for them: as many as a pool has.
const CONNECTING: usize = 8;

/// The connections that read. Clones share them.
#[derive(Clone)]
pub(crate) struct Reader {
    database: Database,
    trust: Arc<Trust>,
    open: Arc<Mutex<Option<Open>>>,
    /// Limits the connections that are being made at the same time.
    connecting: Arc<Semaphore>,
}

#[derive(Clone)]
struct Open {
    pool: Pool,
    /// The identity of the file just before the pool was made.
    file: Option<Identity>,
}

impl Reader {
    /// A pool that opens connections as they are needed.
    pub(crate) fn new(database: &Database, trust: Arc<Trust>) -> Self {
        let connecting = Arc::new(Semaphore::new(CONNECTING));
        Self { database: database.clone(), trust, open: Arc::default(), connecting }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) async fn acquire(&self) -> Result<CheckedOut, Error> {
        self.check_out(&self.open()?).await
    }

    /// The head and the rows of a statement, if the database may be believed. If not, this process stops all reads
    /// until the watch has looked at the database, and drops the pool's connections.
    pub(super) async fn trusted(
        &self,
        statement: &Trusted,
        values: &[Value<'_>],
    ) -> Result<(LogPosition, Vec<Row>), Error> {
        let seen = self.trust.seen();
        let (rows, file) = self.fetch(statement, values).await?;
        let history = history(rows.first().ok_or(Error::RowNotFound)?, file)?;
        if let Err(distrust) = self.trust.weigh(&seen, &history) {
            self.discard();
            self.trust.fence(distrust);
            return Err(distrust.into());
        }
        Ok((history.head, rows))
    }

    /// Drops the pool, so that no connection that was made before is used again.
    pub(crate) fn discard(&self) {
        // Connections in use close when they come back.
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Runs a statement on any connection. If a connection in the pool was lost, the first statement on it fails, and
    /// is then run on another connection.
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
        let mut connection = self.check_out(&open).await?;
        let mut link = connection.link()?;
        let rows = link.fetch(statement.on(&link), values).await;
        connection.answered(&rows);
        Ok((rows?, open.file))
    }

    /// A connection from the pool. If one has to be made first, this goes on even if the reader stops waiting, and the
    /// next reader finds the connection. Otherwise a distant server could never be read from.
    async fn check_out(&self, open: &Open) -> Result<CheckedOut, Error> {
        let pool = open.pool.clone();
        let place = if pool.must_connect() { Arc::clone(&self.connecting).try_acquire_owned().ok() } else { None };
        let Some(place) = place else { return CheckedOut::from(&pool).await };
        let connecting = tokio::spawn(async move {
            let connection = CheckedOut::from(&pool).await;
            drop(place);
            connection
        });
        connecting.await.map_err(|_| Error::WorkerCrashed)?
    }

    /// The pool of the present file; an error if there is no file.
    fn open(&self) -> Result<Open, Error> {
        let file = self.database.file().map(of_file).transpose()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some(present) if present.file == file => Ok(present.clone()),
            _ => {
                // The old pool closes its connections when the last of them is returned.
                let present = Open { pool: connect::pool(&self.database, &self.trust), file };
                *open = Some(present.clone());
                Ok(present)
            }
        }
    }
}
