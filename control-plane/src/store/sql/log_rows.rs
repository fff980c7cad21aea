//! Rows of the log, read as values: its head and its entries.

use curfew_core::{Kind, RevocationKey};
use sqlx::Error;

use super::driver::{Link, Row, values};
use crate::log::{Epoch, LogPosition, Logged};
use crate::store::evidence::Entry;

/// The head in a row with the columns `epoch` and `seq`.
pub(super) fn head(row: &Row) -> Result<LogPosition, Error> {
    Ok(LogPosition { epoch: Epoch::from_bytes(row.sixteen("epoch")?), seq: row.count("seq")? })
}

/// The newest change of keys that a row with the column `keys_seq` shows; 0 for none.
pub(super) fn keys_seq(row: &Row) -> Result<u64, Error> {
    row.count("keys_seq")
}

/// The row's revocation; `None` if a join found none.
pub(super) fn entry(row: &Row) -> Result<Option<Entry>, Error> {
    let Some(name) = row.optional_text("kind")? else { return Ok(None) };
    let kind = Kind::parse(&name).ok_or_else(|| Error::Decode("an unknown kind".into()))?;
    let key = RevocationKey::from_bytes(row.sixteen("key")?);
    Ok(Some(Entry { kind, key, cutoff: row.integer("cutoff")? }))
}

/// The row's revocation with its seq, which is in the column `place`; `None` if a join found none.
pub(super) fn logged(row: &Row) -> Result<Option<Logged>, Error> {
    let Some(Entry { kind, key, cutoff }) = entry(row)? else { return Ok(None) };
    Ok(Some(Logged { seq: row.count("place")?, kind, key, cutoff, expires_at: row.integer("expires_at")? }))
}

/// The values that a join has found.
pub(super) fn present<T>(rows: impl Iterator<Item = Result<Option<T>, Error>>) -> Result<Vec<T>, Error> {
    rows.filter_map(Result::transpose).collect()
}

/// The revocations after a seq that must still be kept at `now`, in their order, within a transaction.
pub(super) async fn revocations_after(
    link: &mut Link<'_>,
    after: u64,
    now: i64,
    limit: u64,
) -> Result<Vec<Logged>, Error> {
    const AFTER: &str = "\
        SELECT seq AS place, kind, \"key\", cutoff, expires_at
          FROM revocations WHERE seq > $1 AND expires_at > $2 ORDER BY seq LIMIT $3";
    present(link.fetch(AFTER, values![after, now, limit]).await?.iter().map(logged))
}
