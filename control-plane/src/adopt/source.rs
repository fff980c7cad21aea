//! The application's database: one connection, and the table in it.

use super::failure::SourceFailure;
use super::old_table::{OldRow, OldTable};
use crate::store::Database;
use crate::store::adoption::{Connection, open_foreign};

/// The application's database with a table that can be adopted.
pub(super) struct Source {
    database: Database,
    connection: Connection,
    table: OldTable,
    /// True if the run blanks raw tokens.
    writes: bool,
}

impl Source {
    /// Opens the database; `None` if it has no table `user_token_logs`.
    pub(super) async fn open(database: &Database, writes: bool) -> Result<Option<Self>, SourceFailure> {
        let mut connection = open_foreign(database, writes).await?;
        match OldTable::find(&mut connection.link()).await? {
            Some(table) => Ok(Some(Self { database: database.clone(), connection, table, writes })),
            None => {
                connection.close().await?;
                Ok(None)
            }
        }
    }

    /// Opens another connection, because the old one may be lost.
    pub(super) async fn reopen(&mut self) -> Result<(), SourceFailure> {
        self.connection = open_foreign(&self.database, self.writes).await?;
        Ok(())
    }

    /// The id of the table's last row.
    pub(super) async fn last(&mut self) -> Result<i64, SourceFailure> {
        Ok(OldTable::last(&mut self.connection.link()).await?)
    }

    /// At most `limit` rows after the id `after`, in the order of their ids; none at the end.
    pub(super) async fn rows(&mut self, after: i64, limit: i64) -> Result<Vec<OldRow>, SourceFailure> {
        let rows = OldTable::rows(&mut self.connection.link(), after, limit).await?;
        match rows.last() {
            Some(last) if last.id <= after => {
                Err(SourceFailure::Unusable(format!("the ids of its table user_token_logs do not grow after {after}")))
            }
            _ => Ok(rows),
        }
    }

    /// Blanks the texts of rows that still hold this text; returns the number of blanked rows.
    pub(super) async fn blank(&mut self, texts: &[(i64, &str)]) -> Result<u64, SourceFailure> {
        Ok(self.table.blank(&mut self.connection.link(), texts).await?)
    }

    /// Closes the connection.
    pub(super) async fn close(self) -> Result<(), SourceFailure> {
        Ok(self.connection.close().await?)
    }
}
