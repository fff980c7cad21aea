//! What is read: the evidence about a token, a user's sessions, the head of the log.

use curfew_core::{Kind, RevocationKey, TokenKeys};
use sqlx::Error;

use super::connection::Link;
use super::reads::Reads;
use super::row::Row;
use super::tables::Tables;
use super::trusted::{Trusted, trusted};
use super::value::values;
use crate::log::{Epoch, LogPosition, Logged};
use crate::store::evidence::{Entry, Evidence, Known};
use crate::store::sessions::{Session, SessionQuery};

/// One statement, hence one snapshot: the head, the revocations and the row belong to the same moment.
pub(crate) const CHECK: Trusted = trusted!(
    "entry.kind, entry.\"key\", entry.cutoff, (SELECT is_block FROM user_token_logs WHERE token_id = $1) AS is_block",
    "LEFT JOIN revocations AS entry ON entry.\"key\" IN ($1, $2, $3, $4)"
);

/// The same within a transaction, which has looked at its beginning whether the database may be believed.
const EVIDENCE: &str = "\
SELECT head.epoch, head.seq, entry.kind, entry.\"key\", entry.cutoff,
       (SELECT is_block FROM user_token_logs WHERE token_id = $1) AS is_block
  FROM feed_head AS head
  LEFT JOIN revocations AS entry ON entry.\"key\" IN ($1, $2, $3, $4)";

/// Gathers what is known about the token with these keys, within a transaction.
///
/// # Errors
///
/// The database did not answer, or holds what this version cannot read.
pub(crate) async fn evidence(link: &mut Link<'_>, tables: Tables, keys: &TokenKeys) -> Result<Evidence, Error> {
    let rows = link.fetch(tables.of(EVIDENCE), values![&keys.token, &keys.jti, &keys.session, &keys.subject]).await?;
    evidence_in(&rows)
}

fn evidence_in(rows: &[Row]) -> Result<Evidence, Error> {
    let first = rows.first().ok_or(Error::RowNotFound)?;
    let entries = rows.iter().filter_map(|row| entry(row).transpose());
    Ok(Evidence { head: feed_head(first)?, known: known(first)?, entries: entries.collect::<Result<_, _>>()? })
}

const SESSIONS: Trusted = trusted!(
    "session.*",
    "LEFT JOIN (
       SELECT token_id, issuer, session_id, issued_at, expires_at, user_agent, ip, is_block, blocked_at, block_reason,
              coalesce(issued_at, created_at) AS shown_at
         FROM user_token_logs
        WHERE user_id = $1 AND ($2 IS NULL OR issuer = $2) AND expires_at > $3
        ORDER BY coalesce(issued_at, created_at) DESC, token_id
        LIMIT $4) AS session ON 1 = 1
      ORDER BY session.shown_at DESC, session.token_id"
);

const REVOCATIONS: Trusted = trusted!(
    "entry.place, entry.kind, entry.\"key\", entry.cutoff, entry.expires_at",
    "LEFT JOIN (
       SELECT seq AS place, kind, \"key\", cutoff, expires_at
         FROM revocations WHERE seq > $1 AND expires_at > $2 ORDER BY seq LIMIT $3) AS entry ON 1 = 1
      ORDER BY entry.place"
);

const HEAD: Trusted = trusted!("head.id", "");

const REVOCATIONS_AFTER: &str = "\
SELECT seq AS place, kind, \"key\", cutoff, expires_at FROM revocations WHERE seq > $1 AND expires_at > $2 ORDER BY seq LIMIT $3";

/// The revocations after a place in the log that may not be forgotten at `now`, in their order, within a transaction.
pub(crate) async fn revocations_after(
    link: &mut Link<'_>,
    after: u64,
    now: i64,
    limit: u64,
) -> Result<Vec<Logged>, Error> {
    present(link.fetch(REVOCATIONS_AFTER, values![after, now, limit]).await?.iter().map(logged))
}

/// The row's revocation; none where the join found none.
pub(super) fn logged(row: &Row) -> Result<Option<Logged>, Error> {
    let Some(Entry { kind, key, cutoff }) = entry(row)? else { return Ok(None) };
    Ok(Some(Logged { seq: row.count("place")?, kind, key, cutoff, expires_at: row.integer("expires_at")? }))
}

pub(super) fn present<T>(rows: impl Iterator<Item = Result<Option<T>, Error>>) -> Result<Vec<T>, Error> {
    rows.filter_map(Result::transpose).collect()
}

impl Reads {
    /// The revocations after a place in the log that may not be forgotten at `now`, in their order.
    pub(crate) async fn revocations_after(&self, after: u64, now: i64, limit: u64) -> Result<Vec<Logged>, Error> {
        let (_, rows) = self.trusted(&REVOCATIONS, values![after, now, limit]).await?;
        present(rows.iter().map(logged))
    }

    /// What is known about the token with these keys.
    pub(crate) async fn evidence(&self, keys: &TokenKeys) -> Result<Evidence, Error> {
        let (_, rows) = self.trusted(&CHECK, values![&keys.token, &keys.jti, &keys.session, &keys.subject]).await?;
        evidence_in(&rows)
    }

    /// The head of the log of revocations.
    pub(crate) async fn head(&self) -> Result<LogPosition, Error> {
        Ok(self.trusted(&HEAD, values![]).await?.0)
    }

    /// A user's unexpired tokens, newest first.
    pub(crate) async fn sessions(&self, query: &SessionQuery, now: i64) -> Result<Vec<Session>, Error> {
        let values = values![query.user.as_str(), &query.issuer, now, query.limit];
        let (_, rows) = self.trusted(&SESSIONS, values).await?;
        present(rows.iter().map(session))
    }
}

/// The row's session; none where the join found none.
fn session(row: &Row) -> Result<Option<Session>, Error> {
    if row.optional_text("issuer")?.is_none() {
        return Ok(None);
    }
    Ok(Some(Session {
        token_id: RevocationKey::from_bytes(row.sixteen("token_id")?),
        issuer: row.text("issuer")?,
        session_id: row.optional_text("session_id")?,
        issued_at: row.optional_integer("issued_at")?,
        expires_at: row.integer("expires_at")?,
        user_agent: row.optional_text("user_agent")?,
        ip: row.optional_text("ip")?,
        blocked: row.integer("is_block")? != 0,
        blocked_at: row.optional_integer("blocked_at")?,
        block_reason: row.optional_text("block_reason")?,
    }))
}

pub(super) fn feed_head(row: &Row) -> Result<LogPosition, Error> {
    Ok(LogPosition { epoch: Epoch::from_bytes(row.sixteen("epoch")?), seq: row.count("seq")? })
}

fn known(row: &Row) -> Result<Known, Error> {
    Ok(match row.optional_integer("is_block")? {
        None => Known::No,
        Some(0) => Known::Alive,
        Some(_) => Known::Blocked,
    })
}

/// The row's revocation; none where the join found none.
pub(super) fn entry(row: &Row) -> Result<Option<Entry>, Error> {
    let Some(name) = row.optional_text("kind")? else {
        return Ok(None);
    };
    let kind = Kind::parse(&name).ok_or_else(|| Error::Decode("an unknown kind".into()))?;
    let key = RevocationKey::from_bytes(row.sixteen("key")?);
    Ok(Some(Entry { kind, key, cutoff: row.integer("cutoff")? }))
}
