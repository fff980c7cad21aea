//! What is read: the evidence about a token, a user's sessions, the head of the log.

use curfew_core::{Kind, RevocationKey, TokenKeys};
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Error, Row};

use crate::store::evidence::{Entry, Evidence};
use crate::store::feed::Logged;
use crate::store::sessions::{Session, SessionQuery};
use crate::store::{Epoch, FeedHead};

/// One statement, hence one snapshot: the head, the revocations and the row belong to the same moment.
const EVIDENCE: &str = "\
SELECT head.epoch, head.seq, entry.kind, entry.key, entry.cutoff,
       EXISTS (SELECT 1 FROM user_token_logs WHERE token_id = ?1 AND is_block = 0) AS registered
  FROM feed_head AS head
  LEFT JOIN revocations AS entry ON entry.key IN (?1, ?2, ?3, ?4)";

/// Gathers what is known about the token with these keys.
///
/// # Errors
///
/// The database did not answer, or holds what this version cannot read.
pub(crate) async fn evidence(connection: &mut SqliteConnection, keys: &TokenKeys) -> Result<Evidence, Error> {
    let rows = sqlx::query(EVIDENCE)
        .bind(bytes(&keys.token))
        .bind(keys.jti.as_ref().map(bytes))
        .bind(keys.session.as_ref().map(bytes))
        .bind(keys.subject.as_ref().map(bytes))
        .fetch_all(connection)
        .await?;
    let first = rows.first().ok_or(Error::RowNotFound)?;
    let entries = rows.iter().filter_map(|row| entry(row).transpose());
    Ok(Evidence {
        head: feed_head(first)?,
        registered: first.try_get("registered")?,
        entries: entries.collect::<Result<_, _>>()?,
    })
}

/// The head of the log of revocations.
pub(crate) async fn head(pool: &SqlitePool) -> Result<FeedHead, Error> {
    let row = sqlx::query("SELECT epoch, seq FROM feed_head").fetch_one(pool).await?;
    feed_head(&row)
}

const REVOCATIONS_AFTER: &str = "\
SELECT seq, kind, key, cutoff, expires_at FROM revocations WHERE seq > ?1 AND expires_at > ?2 ORDER BY seq LIMIT ?3";

/// The revocations after a place in the log that may not be forgotten at `now`, in their order.
pub(crate) async fn revocations_after(
    connection: &mut SqliteConnection,
    after: i64,
    now: i64,
    limit: i64,
) -> Result<Vec<Logged>, Error> {
    let query = sqlx::query(REVOCATIONS_AFTER).bind(after).bind(now).bind(limit);
    query.fetch_all(connection).await?.iter().map(logged).collect()
}

fn logged(row: &SqliteRow) -> Result<Logged, Error> {
    let kind = Kind::parse(row.try_get("kind")?).ok_or_else(|| Error::Decode("an unknown kind".into()))?;
    Ok(Logged {
        seq: row.try_get("seq")?,
        kind,
        key: RevocationKey::from_bytes(sixteen(row, "key")?),
        cutoff: row.try_get("cutoff")?,
        expires_at: row.try_get("expires_at")?,
    })
}

const SESSIONS: &str = "\
SELECT token_id, issuer, session_id, issued_at, expires_at, user_agent, ip, is_block, blocked_at, block_reason
  FROM user_token_logs
 WHERE user_id = ?1 AND (?2 IS NULL OR issuer = ?2) AND expires_at > ?3
 ORDER BY coalesce(issued_at, created_at) DESC, token_id
 LIMIT ?4";

/// A user's unexpired tokens, newest first.
pub(crate) async fn sessions(pool: &SqlitePool, query: &SessionQuery, now: i64) -> Result<Vec<Session>, Error> {
    let rows =
        sqlx::query(SESSIONS).bind(&query.user).bind(&query.issuer).bind(now).bind(query.limit).fetch_all(pool).await?;
    rows.iter().map(session).collect()
}

fn session(row: &SqliteRow) -> Result<Session, Error> {
    Ok(Session {
        token_id: RevocationKey::from_bytes(sixteen(row, "token_id")?),
        issuer: row.try_get("issuer")?,
        session_id: row.try_get("session_id")?,
        issued_at: row.try_get("issued_at")?,
        expires_at: row.try_get("expires_at")?,
        user_agent: row.try_get("user_agent")?,
        ip: row.try_get("ip")?,
        blocked: row.try_get("is_block")?,
        blocked_at: row.try_get("blocked_at")?,
        block_reason: row.try_get("block_reason")?,
    })
}

pub(super) fn feed_head(row: &SqliteRow) -> Result<FeedHead, Error> {
    Ok(FeedHead { epoch: Epoch::from_bytes(sixteen(row, "epoch")?), seq: row.try_get("seq")? })
}

/// The row's revocation; none where the join found none.
fn entry(row: &SqliteRow) -> Result<Option<Entry>, Error> {
    let Some(name) = row.try_get::<Option<&str>, _>("kind")? else {
        return Ok(None);
    };
    let kind = Kind::parse(name).ok_or_else(|| Error::Decode("an unknown kind".into()))?;
    Ok(Some(Entry { kind, key: RevocationKey::from_bytes(sixteen(row, "key")?), cutoff: row.try_get("cutoff")? }))
}

fn sixteen(row: &SqliteRow, column: &str) -> Result<[u8; 16], Error> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| Error::Decode("not 16 bytes".into()))
}

pub(super) fn bytes(key: &RevocationKey) -> &[u8] {
    key.as_bytes()
}
