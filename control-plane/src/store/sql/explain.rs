//! All that is stored under a token's keys, for operators.

use curfew_core::TokenKeys;
use sqlx::Error;

use super::check::values_of;
use super::driver::Row;
use super::log_rows::{entry, keys_seq, present};
use super::reader::Reader;
use super::trusted::{Trusted, trusted};
use crate::store::explained::{Explained, Registered, Stored};

/// One statement, hence one snapshot, as a check reads it.
const EXPLAIN: Trusted = trusted!(
    "entry.kind, entry.\"key\", entry.cutoff, entry.place, entry.expires_at, entry.reason, entry.actor, entry.created_at,
     token.is_block, token.blocked_at, token.block_reason, token.registered_at",
    "LEFT JOIN (
       SELECT seq AS place, kind, \"key\", cutoff, expires_at, reason, actor, created_at
         FROM revocations WHERE \"key\" IN ($1, $2, $3, $4, $5, $6)) AS entry ON 1 = 1
     LEFT JOIN (
       SELECT is_block, blocked_at, block_reason, created_at AS registered_at
         FROM user_token_logs WHERE token_id = $1) AS token ON 1 = 1
     ORDER BY entry.place"
);

impl Reader {
    /// What is stored about the token with these keys. `cutoff_time` is what cutoffs are compared with.
    pub(crate) async fn explain(&self, keys: &TokenKeys, cutoff_time: Option<i64>) -> Result<Explained, Error> {
        let (head, rows) = self.trusted(&EXPLAIN, &values_of(&keys.looked_up())).await?;
        let keys_seq = keys_seq(rows.first().ok_or(Error::RowNotFound)?)?;
        let stored = present(rows.iter().map(stored))?;
        let registration = rows.first().map(registration).transpose()?.flatten();
        Ok(Explained::of((head, keys_seq), stored, registration, keys, cutoff_time))
    }
}

fn stored(row: &Row) -> Result<Option<Stored>, Error> {
    let Some(entry) = entry(row)? else { return Ok(None) };
    Ok(Some(Stored {
        entry,
        seq: row.count("place")?,
        expires_at: row.integer("expires_at")?,
        reason: row.text("reason")?,
        actor: row.text("actor")?,
        created_at: row.integer("created_at")?,
    }))
}

fn registration(row: &Row) -> Result<Option<Registered>, Error> {
    let Some(block) = row.optional_integer("is_block")? else { return Ok(None) };
    Ok(Some(Registered {
        created_at: row.integer("registered_at")?,
        blocked: block != 0,
        blocked_at: row.optional_integer("blocked_at")?,
        block_reason: row.optional_text("block_reason")?,
    }))
}
