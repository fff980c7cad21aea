//! The control planes' rows in the table `replicas`: reads all of them, and writes the own row.
//!
//! The room `leases` decides what a row means. The own row is written over its own connection and not by the writer: a
//! queue of logouts must not make this control plane look silent, or delay its confirmations.

use std::sync::Arc;
use std::time::Duration;

use super::sql::{self, Opened};
use super::{Database, Health, ReadFailure, Store};
use crate::log::{Beat, ControlPlaneId, ControlPlanes};

/// How long a write may take, the opening of a connection included. A row lives three times as long.
const WRITE_TIMEOUT: Duration = Duration::from_millis(550);

impl Store {
    /// All rows, from one snapshot.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn control_planes(&self) -> Result<ControlPlanes, ReadFailure> {
        self.read(self.reader.control_planes()).await
    }

    /// A writer of rows.
    pub fn row_writer(&self) -> RowWriter {
        let health = Arc::clone(&self.health);
        RowWriter { database: self.reader.database().clone(), opened: None, distrusts: 0, health }
    }
}

/// A connection that writes rows, opened when it is needed.
pub struct RowWriter {
    database: Database,
    opened: Option<Opened>,
    /// How often the database was found to be one that may not be believed, when the connection was made: an older one may
    /// lead to an old primary.
    distrusts: u64,
    health: Arc<Health>,
}

/// A write that failed, or whose outcome is not known. The cause is for the log.
#[derive(Debug, thiserror::Error)]
#[error("the control plane's row could not be written")]
pub struct RowFailure(#[from] sqlx::Error);

impl RowFailure {
    /// The cause, for the log.
    pub fn cause(&self) -> String {
        sql::explained(&self.0)
    }
}

impl RowWriter {
    /// Counts a write that failed. True if the log tells of the reason elsewhere: the database does not answer, or is not
    /// believed.
    pub fn explains(&self, failure: &RowFailure) -> bool {
        self.health.outage.explains(&failure.0)
    }

    /// Writes the row of `id`: inserts it, or raises its beat if a lower one is stored.
    ///
    /// # Errors
    ///
    /// See [`RowFailure`].
    pub async fn write(&mut self, id: ControlPlaneId, beat: Beat) -> Result<(), RowFailure> {
        self.within(async |opened| opened.write_row(id, beat).await).await
    }

    /// Removes a row, if its beat is still this one.
    ///
    /// # Errors
    ///
    /// See [`RowFailure`].
    pub async fn remove(&mut self, id: ControlPlaneId, beat: u64) -> Result<(), RowFailure> {
        self.within(async |opened| opened.remove_row(id, beat).await).await
    }

    /// Replaces a row by one that belongs to no control plane, if its beat is still this one. See
    /// [`crate::log::ControlPlaneRow::nobody`].
    ///
    /// # Errors
    ///
    /// See [`RowFailure`].
    pub async fn replace(&mut self, id: ControlPlaneId, beat: u64) -> Result<(), RowFailure> {
        self.within(async |opened| opened.replace_row(id, beat).await).await
    }

    /// Runs `work` on the connection. The connection is kept only if the work succeeds in time.
    async fn within(
        &mut self,
        work: impl AsyncFnOnce(&mut Opened) -> Result<(), sqlx::Error>,
    ) -> Result<(), RowFailure> {
        let distrusts = *self.health.trust.distrusts().borrow();
        let is_older = std::mem::replace(&mut self.distrusts, distrusts) != distrusts;
        let opened = self.opened.take().filter(|opened| !is_older && opened.leads_to_the_database());
        let working = async {
            let mut opened = match opened {
                Some(opened) => opened,
                None => Opened::writer(&self.database).await?,
            };
            work(&mut opened).await?;
            Ok(opened)
        };
        let late = |_| Err(sqlx::Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut)));
        self.opened = Some(tokio::time::timeout(WRITE_TIMEOUT, Box::pin(working)).await.unwrap_or_else(late)?);
        Ok(())
    }
}
