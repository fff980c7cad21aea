//! What an adoption notes of itself, in tables of Curfew's own: that it has begun and ended, and which rows of the old table
//! have been taken over. The old table gets no column for that: its application may show every column that there is.

use curfew_core::RevocationKey;
use sqlx::Error;

use super::batch::Batch;
use super::connection::Link;
use super::placeholders::{list, tuples};
use super::register::TOKENS;
use super::tables::columns;
use super::value::{Value, values};

/// Notes that an adoption has begun. From here on Curfew's own table of tokens goes by its other name.
pub(crate) async fn begin(link: &mut Link<'_>) -> Result<(), Error> {
    // A row says that it has ended.
    const NOTE: &str = "CREATE TABLE IF NOT EXISTS curfew_adoption \
        (id INTEGER NOT NULL PRIMARY KEY, finished_at BIGINT)";
    const NOTE_MYSQL: &str = "CREATE TABLE IF NOT EXISTS curfew_adoption \
        (id INTEGER NOT NULL PRIMARY KEY, finished_at BIGINT) ENGINE = InnoDB";
    // The old row's id, and the id of the token that was found there.
    const MARKS: &str = "CREATE TABLE IF NOT EXISTS curfew_adopted \
        (old_id BIGINT NOT NULL PRIMARY KEY, token_id BLOB NOT NULL)";
    const MARKS_POSTGRES: &str = "CREATE TABLE IF NOT EXISTS curfew_adopted \
        (old_id BIGINT NOT NULL PRIMARY KEY, token_id BYTEA NOT NULL)";
    const MARKS_MYSQL: &str = "CREATE TABLE IF NOT EXISTS curfew_adopted \
        (old_id BIGINT NOT NULL PRIMARY KEY, token_id BINARY(16) NOT NULL) ENGINE = InnoDB";
    link.run(link.choose(NOTE, NOTE, NOTE_MYSQL)).await?;
    link.run(link.choose(MARKS, MARKS_POSTGRES, MARKS_MYSQL)).await
}

/// Tables of Curfew's that another application might have, too.
const OURS: [&str; 8] = [
    "curfew_token_logs",
    "curfew_adopted",
    "revocations",
    "feed_head",
    "subject_keyspaces",
    "retention_kept",
    "replicas",
    "_sqlx_migrations",
];

/// Looks, before an adoption has begun, whether any of the names is taken.
pub(crate) async fn names_are_free(link: &mut Link<'_>) -> Result<(), Error> {
    for table in OURS {
        if !columns(link, table).await?.is_empty() {
            let problem = format!("the database has another application's table {table}, whose name Curfew needs");
            return Err(super::old_table::unusable(problem));
        }
    }
    Ok(())
}

/// Whether the tables are there in which an adoption is noted, those that migrations make included.
pub(crate) async fn has_begun(link: &mut Link<'_>) -> Result<bool, Error> {
    for table in ["curfew_adopted", "curfew_token_logs", "retention_kept"] {
        if columns(link, table).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Batch<'_> {
    /// Notes which token was found in which row of the old table, whatever was noted of that row before.
    pub(crate) async fn mark(&mut self, marks: &[(i64, RevocationKey)]) -> Result<(), Error> {
        for marks in marks.chunks(TOKENS) {
            let again = marks.len() == TOKENS;
            let ids: Vec<_> = marks.iter().map(|(id, _)| Value::from(*id)).collect();
            let forget = format!("DELETE FROM curfew_adopted WHERE old_id IN ({})", list(ids.len()));
            self.execute_made(&forget, &ids, again).await?;
            let values: Vec<_> = marks.iter().flat_map(|(id, token)| [Value::from(*id), Value::from(token)]).collect();
            let insert = format!("INSERT INTO curfew_adopted (old_id, token_id) VALUES {}", tuples(2, marks.len()));
            self.execute_made(&insert, &values, again).await?;
        }
        Ok(())
    }

    /// Notes that everything that was blocked in the old table is revoked.
    pub(crate) async fn end_adoption(&mut self) -> Result<(), Error> {
        const ENDED: &str = "SELECT count(*) AS ended FROM curfew_adoption";
        const END: &str = "INSERT INTO curfew_adoption (id, finished_at) VALUES (1, $1)";
        if self.link.fetch_one(ENDED, values![]).await?.integer("ended")? == 0 {
            self.execute(END, values![self.moment.now]).await?;
        }
        Ok(())
    }
}
