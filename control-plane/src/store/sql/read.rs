//! What is read: the evidence about a token, a user's sessions, the head of the log.

use curfew_core::{Kind, RevocationKey, TokenKeys};
use sqlx::Error;

use super::connection::Link;
use super::reads::Reads;
use super::row::Row;
use super::value::values;
use crate::store::evidence::{Entry, Evidence, Known};
use crate::store::feed::Logged;
use crate::store::sessions::{Session, SessionQuery};
use crate::store::{Epoch, FeedHead};

/// One statement, hence one snapshot: the head, the revocations and the row belong to the same moment.
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
pub(crate) async fn evidence(link: &mut Link<'_>, keys: &TokenKeys) -> Result<Evidence, Error> {
    let rows = link.fetch(EVIDENCE, values![&keys.token, &keys.jti, &keys.session, &keys.subject]).await?;
    evidence_in(&rows)
}

fn evidence_in(rows: &[Row]) -> Result<Evidence, Error> {
    let first = rows.first().ok_or(Error::RowNotFound)?;
    let entries = rows.iter().filter_map(|row| entry(row).transpose());
    Ok(Evidence { head: feed_head(first)?, known: known(first)?, entries: entries.collect::<Result<_, _>>()? })
}

const SESSIONS: &str = "\
SELECT token_id, issuer, session_id, issued_at, expires_at, user_agent, ip, is_block, blocked_at, block_reason
  FROM user_token_logs
 WHERE user_id = $1 AND ($2 IS NULL OR issuer = $2) AND expires_at > $3
 ORDER BY coalesce(issued_at, created_at) DESC, token_id
 LIMIT $4";

const REVOCATIONS_AFTER: &str = "\
SELECT seq, kind, \"key\", cutoff, expires_at FROM revocations WHERE seq > $1 AND expires_at > $2 ORDER BY seq LIMIT $3";

/// The revocations after a place in the log that may not be forgotten at `now`, in their order, within a transaction.
pub(crate) async fn revocations_after(
    link: &mut Link<'_>,
    after: i64,
    now: i64,
    limit: i64,
) -> Result<Vec<Logged>, Error> {
    link.fetch(REVOCATIONS_AFTER, values![after, now, limit]).await?.iter().map(logged).collect()
}

fn logged(row: &Row) -> Result<Logged, Error> {
    let Entry { kind, key, cutoff } = entry(row)?.ok_or(Error::RowNotFound)?;
    Ok(Logged { seq: row.integer("seq")?, kind, key, cutoff, expires_at: row.integer("expires_at")? })
}

impl Reads {
    /// The revocations after a place in the log that may not be forgotten at `now`, in their order.
    pub(crate) async fn revocations_after(&self, after: i64, now: i64, limit: i64) -> Result<Vec<Logged>, Error> {
        self.fetch(REVOCATIONS_AFTER, values![after, now, limit]).await?.iter().map(logged).collect()
    }

    /// What is known about the token with these keys.
    pub(crate) async fn evidence(&self, keys: &TokenKeys) -> Result<Evidence, Error> {
        let rows = self.fetch(EVIDENCE, values![&keys.token, &keys.jti, &keys.session, &keys.subject]).await?;
        evidence_in(&rows)
    }

    /// The head of the log of revocations.
    pub(crate) async fn head(&self) -> Result<FeedHead, Error> {
        let rows = self.fetch("SELECT epoch, seq FROM feed_head", values![]).await?;
        feed_head(rows.first().ok_or(Error::RowNotFound)?)
    }

    /// A user's unexpired tokens, newest first.
    pub(crate) async fn sessions(&self, query: &SessionQuery, now: i64) -> Result<Vec<Session>, Error> {
        let rows = self.fetch(SESSIONS, values![query.user.as_str(), &query.issuer, now, query.limit]).await?;
        rows.iter().map(session).collect()
    }
}

fn session(row: &Row) -> Result<Session, Error> {
    Ok(Session {
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
    })
}

pub(super) fn feed_head(row: &Row) -> Result<FeedHead, Error> {
    Ok(FeedHead { epoch: Epoch::from_bytes(row.sixteen("epoch")?), seq: row.integer("seq")? })
}

fn known(row: &Row) -> Result<Known, Error> {
    Ok(match row.optional_integer("is_block")? {
        None => Known::No,
        Some(0) => Known::Alive,
        Some(_) => Known::Blocked,
    })
}

/// The row's revocation; none where the join found none.
fn entry(row: &Row) -> Result<Option<Entry>, Error> {
    let Some(name) = row.optional_text("kind")? else {
        return Ok(None);
    };
    let kind = Kind::parse(&name).ok_or_else(|| Error::Decode("an unknown kind".into()))?;
    let key = RevocationKey::from_bytes(row.sixteen("key")?);
    Ok(Some(Entry { kind, key, cutoff: row.integer("cutoff")? }))
}
