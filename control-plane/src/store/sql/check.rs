//! The evidence about one token.

use curfew_core::{RevocationKey, TokenKeys};
use sqlx::Error;

use super::driver::{Link, Row, Value};
use super::log_rows::{entry, head, present};
use super::trusted::{Trusted, trusted};
use crate::store::evidence::{Evidence, Known};

/// One statement, hence one snapshot: the head, the revocations and the row belong to the same moment.
pub(crate) const CHECK: Trusted = trusted!(
    "entry.kind, entry.\"key\", entry.cutoff, (SELECT is_block FROM user_token_logs WHERE token_id = $1) AS is_block",
    "LEFT JOIN revocations AS entry ON entry.\"key\" IN ($1, $2, $3, $4, $5, $6)"
);

/// The same within a transaction. The transaction has checked at its beginning whether the database may be believed.
const EVIDENCE: &str = "\
SELECT head.epoch, head.seq, entry.kind, entry.\"key\", entry.cutoff,
       (SELECT is_block FROM user_token_logs WHERE token_id = $1) AS is_block
  FROM feed_head AS head
  LEFT JOIN revocations AS entry ON entry.\"key\" IN ($1, $2, $3, $4, $5, $6)";

/// Reads what is known about the token with these keys, within a transaction.
///
/// # Errors
///
/// The database did not answer, or holds what this version cannot read.
pub(super) async fn evidence(link: &mut Link<'_>, keys: &TokenKeys) -> Result<Evidence, Error> {
    let rows = link.fetch(EVIDENCE, &values_of(&keys.looked_up())).await?;
    evidence_in(&rows)
}

/// The values of either statement; see [`TokenKeys::looked_up`].
pub(super) fn values_of(looked_up: &[Option<RevocationKey>; 6]) -> [Value<'_>; 6] {
    looked_up.each_ref().map(Value::from)
}

/// The evidence in the rows of either statement.
pub(super) fn evidence_in(rows: &[Row]) -> Result<Evidence, Error> {
    let first = rows.first().ok_or(Error::RowNotFound)?;
    Ok(Evidence { head: head(first)?, known: known(first)?, entries: present(rows.iter().map(entry))? })
}

/// What the column `is_block` of a token's row says, which a join may not have found.
pub(super) fn known(row: &Row) -> Result<Known, Error> {
    Ok(match row.optional_integer("is_block")? {
        None => Known::No,
        Some(0) => Known::Alive,
        Some(_) => Known::Blocked,
    })
}
