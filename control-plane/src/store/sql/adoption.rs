//! The records of adoptions: the databases from which tokens were taken over, and the rows of their tables.

use std::collections::HashMap;

use curfew_core::RevocationKey;
use sqlx::Error;

use super::batch::Batch;
use super::check::known;
use super::driver::{Link, Value, list, tuples, values};
use super::register::TOKENS;
use crate::store::evidence::Known;

/// The note about a row of another application's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The token that the row held.
    pub(crate) token: RevocationKey,
    /// What Curfew's table says of that token now.
    pub(crate) known: Known,
}

/// A hash of a row's text, for a text that is no token.
pub(crate) type TextHash = [u8; 16];

/// The number of the adoption from this database, if one has begun.
pub(crate) async fn find_adoption(link: &mut Link<'_>, source: &str) -> Result<Option<i64>, Error> {
    let rows = link.fetch("SELECT id FROM adoptions WHERE source = $1", values![source]).await?;
    rows.first().map(|row| row.integer("id")).transpose()
}

/// The databases from which no adoption has finished: tokens that are blocked there may not be revoked yet.
pub(crate) async fn unfinished_adoptions(link: &mut Link<'_>) -> Result<Vec<String>, Error> {
    const UNFINISHED: &str = "SELECT source FROM adoptions WHERE finished_at IS NULL ORDER BY id";
    link.fetch(UNFINISHED, values![]).await?.iter().map(|row| row.text("source")).collect()
}

/// True if a run of this adoption has ended with everything revoked or accepted.
pub(crate) async fn has_finished(link: &mut Link<'_>, adoption: i64) -> Result<bool, Error> {
    let row = link.fetch_one("SELECT finished_at FROM adoptions WHERE id = $1", values![adoption]).await?;
    Ok(row.optional_integer("finished_at")?.is_some())
}

/// Those of these rows of which an operator has accepted that nothing is revoked for them, with the text that each had.
pub(crate) async fn accepted(
    link: &mut Link<'_>,
    adoption: i64,
    rows: &[i64],
) -> Result<HashMap<i64, TextHash>, Error> {
    let mut accepted = HashMap::new();
    for ids in rows.chunks(TOKENS) {
        let statement = format!(
            "SELECT row_id, text_hash FROM accepted_rows WHERE adoption = ${} AND row_id IN ({})",
            ids.len().saturating_add(1),
            list(ids.len())
        );
        let values: Vec<_> = ids.iter().copied().chain([adoption]).map(Value::from).collect();
        for row in &link.fetch_built(statement, &values, ids.len() == TOKENS).await? {
            accepted.insert(row.integer("row_id")?, row.sixteen("text_hash")?);
        }
    }
    Ok(accepted)
}

/// The notes about the rows with these ids.
pub(crate) async fn marks(link: &mut Link<'_>, adoption: i64, rows: &[i64]) -> Result<HashMap<i64, Mark>, Error> {
    let mut marks = HashMap::new();
    for ids in rows.chunks(TOKENS) {
        // The adoption is the last value, because the list begins with the first.
        let statement = format!(
            "SELECT mark.row_id, mark.token_id, token.is_block FROM adopted_rows AS mark \
               LEFT JOIN user_token_logs AS token ON token.token_id = mark.token_id \
              WHERE mark.adoption = ${} AND mark.row_id IN ({})",
            ids.len().saturating_add(1),
            list(ids.len())
        );
        let values: Vec<_> = ids.iter().copied().chain([adoption]).map(Value::from).collect();
        for row in &link.fetch_built(statement, &values, ids.len() == TOKENS).await? {
            let token = RevocationKey::from_bytes(row.sixteen("token_id")?);
            marks.insert(row.integer("row_id")?, Mark { token, known: known(row)? });
        }
    }
    Ok(marks)
}

impl Batch<'_> {
    /// The number of the adoption from this database, which begins now if there is none yet.
    pub(crate) async fn begin_adoption(&mut self, source: &str) -> Result<i64, Error> {
        const LAST: &str = "SELECT max(id) AS last FROM adoptions";
        const BEGIN: &str = "INSERT INTO adoptions (id, source, started_at) VALUES ($1, $2, $3)";
        if let Some(adoption) = find_adoption(&mut self.link, source).await? {
            return Ok(adoption);
        }
        let last = self.link.fetch_one(LAST, values![]).await?.optional_integer("last")?;
        let adoption = last.unwrap_or_default().saturating_add(1);
        self.link.execute(BEGIN, values![adoption, source, self.moment.now]).await?;
        Ok(adoption)
    }

    /// Notes which token was found in which row, and replaces an earlier note about the row.
    pub(crate) async fn mark(&mut self, adoption: i64, marks: &[(i64, RevocationKey)]) -> Result<(), Error> {
        let notes: Vec<_> = marks.iter().map(|(id, token)| (*id, Value::from(token))).collect();
        self.note("adopted_rows", "token_id", adoption, &notes).await
    }

    /// Notes of which rows an operator accepts that nothing is revoked for them, and replaces an earlier note about the
    /// row.
    pub(crate) async fn accept(&mut self, adoption: i64, rows: &[(i64, TextHash)]) -> Result<(), Error> {
        let notes: Vec<_> = rows.iter().map(|(id, text)| (*id, Value::from(text))).collect();
        self.note("accepted_rows", "text_hash", adoption, &notes).await
    }

    /// Writes notes about rows into a table of such notes.
    async fn note(
        &mut self,
        table: &'static str,
        column: &'static str,
        adoption: i64,
        notes: &[(i64, Value<'_>)],
    ) -> Result<(), Error> {
        for notes in notes.chunks(TOKENS) {
            let again = notes.len() == TOKENS;
            let forget = format!(
                "DELETE FROM {table} WHERE adoption = ${} AND row_id IN ({})",
                notes.len().saturating_add(1),
                list(notes.len())
            );
            let ids: Vec<_> = notes.iter().map(|(id, _)| *id).chain([adoption]).map(Value::from).collect();
            self.link.execute_built(forget, &ids, again).await?;
            let values: Vec<_> = notes.iter().flat_map(|(id, value)| [adoption.into(), (*id).into(), *value]).collect();
            let insert = format!("INSERT INTO {table} (adoption, row_id, {column}) VALUES {}", tuples(3, notes.len()));
            self.link.execute_built(insert, &values, again).await?;
        }
        Ok(())
    }

    /// Notes that all tokens that are blocked in the application's table are revoked.
    pub(crate) async fn finish_adoption(&mut self, adoption: i64) -> Result<(), Error> {
        const FINISH: &str = "UPDATE adoptions SET finished_at = $1 WHERE id = $2 AND finished_at IS NULL";
        self.link.execute(FINISH, values![self.moment.now, adoption]).await.map(drop)
    }
}
