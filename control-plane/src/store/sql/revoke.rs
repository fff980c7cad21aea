//! The rows that a logout writes: one function for each kind.
//!
//! No statement here relies on a conflict to find out whether a row exists. The head is locked, so what has been read
//! stays true. And MySQL would treat a collision in any unique column like one in the intended column.

use curfew_core::{Kind, RevocationKey};
use sqlx::Error;

use super::batch::Batch;
use super::driver::{Value, values};
use crate::log::Cause;
use crate::store::command::TokenRecord;
use crate::store::evidence::Known;

/// The most tokens that one logout of all devices revokes one by one, which takes about a second. The user's entry
/// covers the others.
const MOST_TOKENS: i64 = 20_000;

/// Which tokens of a user stay, where the others are revoked: none by default.
#[derive(Clone, Copy, Default)]
pub(super) struct Stays<'t> {
    /// Those of this session.
    pub(super) session: Option<&'t str>,
    /// This one. Its row may have no session, or another one: it may have been registered under other settings.
    pub(super) token: Option<&'t RevocationKey>,
}

impl<'t> Stays<'t> {
    /// The two values of a statement that says which tokens stay.
    fn values(self) -> [Value<'t>; 2] {
        [Value::Text(self.session), Value::Bytes(self.token.map(|token| &token.as_bytes()[..]))]
    }
}

impl Batch<'_> {
    /// Blocks the token's row, or inserts a blocked one, and revokes the token.
    pub(super) async fn revoke_token(&mut self, token: &TokenRecord, known: Known, cause: Cause) -> Result<(), Error> {
        match known {
            Known::No => self.insert_blocked_token(token, cause).await?,
            Known::Alive => self.block_token(&token.keys.token, cause).await?,
            // The row stays: it says when and by which call the token was first logged out.
            Known::Blocked => {}
        }
        let until = token.expires_at.saturating_add(self.kept().await?.token_rest);
        // There is no entry yet, because a token with its own entry is revoked already and does not get here.
        self.insert_revocation(Kind::Token, &token.keys.token, self.moment.now, until, cause).await
    }

    async fn insert_blocked_token(&mut self, token: &TokenRecord, cause: Cause) -> Result<(), Error> {
        const INSERT: &str = "\
            INSERT INTO user_token_logs (token_id, issuer, user_id, session_id, issued_at, expires_at,
                                         is_block, blocked_at, block_reason, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, $7, $7)";
        let values = values![
            &token.keys.token,
            token.issuer.as_str(),
            &token.user,
            &token.session_id,
            token.issued_at,
            token.expires_at,
            self.moment.now,
            cause.reason(),
        ];
        self.link.execute(INSERT, values).await.map(drop)
    }

    async fn block_token(&mut self, token: &RevocationKey, cause: Cause) -> Result<(), Error> {
        const BLOCK: &str = "\
            UPDATE user_token_logs SET is_block = 1, blocked_at = $1, block_reason = $2, updated_at = $1
             WHERE token_id = $3";
        self.link.execute(BLOCK, values![self.moment.now, cause.reason(), token]).await.map(drop)
    }

    /// Blocks the rows of a user that are not blocked yet, without those that stay, and revokes those tokens one by one: the newest
    /// [`MOST_TOKENS`] of them, and in any case all tokens that a subject entry with this cutoff may not cover. A token
    /// that was issued before the cutoff is revoked by that entry, whatever its row says. Returns how many tokens were
    /// revoked.
    pub(super) async fn revoke_known_tokens(
        &mut self,
        issuer: &str,
        user: &str,
        stays: Stays<'_>,
        cutoff: i64,
        cause: Cause,
    ) -> Result<u64, Error> {
        const UNCOVERED: &str = "\
            SELECT is_block FROM user_token_logs
             WHERE user_id = $1 AND issuer = $2 AND is_block = 0 AND (issued_at IS NULL OR issued_at >= $3)
               AND expires_at >= $4 AND ($5 IS NULL OR session_id IS NULL OR session_id <> $5)
               AND ($6 IS NULL OR token_id <> $6) LIMIT 1";
        // No worker accepts a token that expired earlier. If its row still exists, it is kept for audits.
        let alive_from = self.moment.earliest().saturating_sub(self.kept().await?.token_rest);
        let mut all = 0_u64;
        loop {
            let revoked = self.revoke_newest_tokens(issuer, user, stays, cause).await?;
            all = all.saturating_add(revoked);
            let [session, token] = stays.values();
            if revoked < MOST_TOKENS.unsigned_abs()
                || self
                    .link
                    .fetch(UNCOVERED, values![user, issuer, cutoff, alive_from, session, token])
                    .await?
                    .is_empty()
            {
                return Ok(all);
            }
        }
    }

    /// True if there is a row of a token of this user.
    pub(super) async fn knows_user(&mut self, issuer: &str, user: &str) -> Result<bool, Error> {
        const KNOWN: &str = "SELECT is_block FROM user_token_logs WHERE user_id = $1 AND issuer = $2 LIMIT 1";
        Ok(!self.link.fetch(KNOWN, values![user, issuer]).await?.is_empty())
    }

    /// Blocks the rows of a session that are not blocked yet. Its own entry revokes their tokens.
    pub(super) async fn block_session(&mut self, issuer: &str, session: &str, cause: Cause) -> Result<u64, Error> {
        const BLOCK: &str = "\
            UPDATE user_token_logs SET is_block = 1, blocked_at = $1, block_reason = $2, updated_at = $1
             WHERE session_id = $3 AND issuer = $4 AND is_block = 0";
        self.link.execute(BLOCK, values![self.moment.now, cause.reason(), session, issuer]).await
    }

    async fn revoke_newest_tokens(
        &mut self,
        issuer: &str,
        user: &str,
        stays: Stays<'_>,
        cause: Cause,
    ) -> Result<u64, Error> {
        const REVOKE: &str = "\
            INSERT INTO revocations (seq, \"key\", kind, cutoff, expires_at, reason, actor, created_at)
            SELECT $1 + row_number() OVER (ORDER BY token_id), token_id, 'token', $2, expires_at + $3, $4, $5, $2
              FROM (SELECT token_id, expires_at FROM user_token_logs
                     WHERE user_id = $6 AND issuer = $7 AND is_block = 0 AND expires_at + $3 >= $9
                       AND ($10 IS NULL OR session_id IS NULL OR session_id <> $10)
                       AND ($11 IS NULL OR token_id <> $11)
                       AND NOT EXISTS (SELECT 1 FROM revocations AS entry
                                        WHERE entry.\"key\" = token_id AND entry.kind = 'token')
                     ORDER BY CASE WHEN issued_at IS NULL THEN 0 ELSE 1 END, issued_at DESC LIMIT $8) AS newest";
        const BLOCK: &str = "\
            UPDATE user_token_logs SET is_block = 1, blocked_at = $1, block_reason = $2, updated_at = $1
             WHERE user_id = $3 AND issuer = $4 AND is_block = 0
               AND EXISTS (SELECT 1 FROM revocations AS entry WHERE entry.\"key\" = token_id AND entry.kind = 'token')";
        let rest = self.kept().await?.token_rest;
        let (now, earliest) = (self.moment.now, self.moment.earliest());
        let [session, token] = stays.values();
        let (reason, actor) = (cause.reason(), cause.actor());
        let values = values![self.seq, now, rest, reason, actor, user, issuer, MOST_TOKENS, earliest, session, token];
        let revoked = self.link.execute(REVOKE, values).await?;
        self.seq = self.seq.saturating_add(revoked);
        self.link.execute(BLOCK, values![self.moment.now, cause.reason(), user, issuer]).await?;
        Ok(revoked)
    }

    /// Appends to the log. The `cutoff` has a meaning only for a subject. An earlier entry of the same key is replaced,
    /// but the later cutoff and the longer life of the two are kept, because the wall clock may have been set back.
    pub(super) async fn put_revocation(
        &mut self,
        kind: Kind,
        key: &RevocationKey,
        cutoff: i64,
        until: i64,
        cause: Cause,
    ) -> Result<(), Error> {
        const MOVE: &str = "\
            UPDATE revocations
               SET seq = $1, cutoff = CASE WHEN cutoff > $4 THEN cutoff ELSE $4 END,
                   expires_at = CASE WHEN expires_at > $5 THEN expires_at ELSE $5 END,
                   reason = $6, actor = $7, created_at = $8
             WHERE \"key\" = $2 AND kind = $3";
        let (reason, actor) = (cause.reason(), cause.actor());
        let values =
            values![self.seq.saturating_add(1), key, kind.as_str(), cutoff, until, reason, actor, self.moment.now];
        if self.link.execute(MOVE, values).await? == 0 {
            return self.insert_revocation(kind, key, cutoff, until, cause).await;
        }
        self.seq = self.seq.saturating_add(1);
        Ok(())
    }

    /// Appends an entry to the log for a key that has no entry yet.
    async fn insert_revocation(
        &mut self,
        kind: Kind,
        key: &RevocationKey,
        cutoff: i64,
        until: i64,
        cause: Cause,
    ) -> Result<(), Error> {
        const INSERT: &str = "\
            INSERT INTO revocations (seq, \"key\", kind, cutoff, expires_at, reason, actor, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        self.seq = self.seq.saturating_add(1);
        let (reason, actor) = (cause.reason(), cause.actor());
        let values = values![self.seq, key, kind.as_str(), cutoff, until, reason, actor, self.moment.now];
        self.link.execute(INSERT, values).await.map(drop)
    }
}
