//! The reads over the pool: the evidence about a token, a user's sessions, the head of the log, and the revocations
//! after a seq.

use curfew_core::{RevocationKey, TokenKeys};
use sqlx::Error;

use super::check::{CHECK, evidence_in, values_of};
use super::driver::{Row, values};
use super::log_rows::{keys_seq, logged, present};
use super::reader::Reader;
use super::trusted::{Trusted, trusted};
use crate::log::{LogPosition, Logged};
use crate::store::evidence::Evidence;
use crate::store::sessions::{Session, SessionQuery};

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

impl Reader {
    /// The revocations after a seq that must still be kept at `now`, in their order.
    pub(crate) async fn revocations_after(&self, after: u64, now: i64, limit: u64) -> Result<Vec<Logged>, Error> {
        let (_, rows) = self.trusted(&REVOCATIONS, values![after, now, limit]).await?;
        present(rows.iter().map(logged))
    }

    /// What is known about the token with these keys, and the newest change of keys in the same snapshot.
    pub(crate) async fn evidence(&self, keys: &TokenKeys) -> Result<(Evidence, u64), Error> {
        let (_, rows) = self.trusted(&CHECK, &values_of(&keys.looked_up())).await?;
        let keys_seq = keys_seq(rows.first().ok_or(Error::RowNotFound)?)?;
        Ok((evidence_in(&rows)?, keys_seq))
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

/// The row's session; `None` if the join found none.
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
