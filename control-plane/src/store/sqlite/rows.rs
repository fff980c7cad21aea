//! The rows that a write transaction writes: one function for each kind.

use curfew_core::{Coverage, Kind, RevocationKey};
use sqlx::Error;

use super::batch::{Batch, PURGE_ROWS};
use super::read::{bytes, evidence};
use crate::store::command::{Cause, Registration, TokenRecord};

impl Batch<'_> {
    /// Blocks the token's row, which is made if there is none, and revokes the token.
    pub(super) async fn revoke_token(&mut self, token: &TokenRecord, cause: Cause) -> Result<(), Error> {
        const UPSERT: &str = "\
            INSERT INTO user_token_logs (token_id, issuer, user_id, session_id, issued_at, expires_at,
                                         is_block, blocked_at, block_reason, created_at, updated_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?7, ?7)
            ON CONFLICT (token_id) DO UPDATE
               SET is_block = 1, blocked_at = ?7, block_reason = ?8, updated_at = ?7
             WHERE is_block = 0";
        sqlx::query(UPSERT)
            .bind(bytes(&token.keys.token))
            .bind(&token.issuer)
            .bind(&token.user)
            .bind(&token.session_id)
            .bind(token.issued_at)
            .bind(token.expires_at)
            .bind(self.now)
            .bind(cause.reason())
            .execute(&mut *self.transaction)
            .await?;
        let until = self.retention.token_until(token.expires_at);
        self.insert_revocation(Kind::Token, &token.keys.token, self.now, until, cause).await
    }

    /// Blocks every row of a user that is not blocked yet, and revokes each of those tokens.
    pub(super) async fn revoke_known_tokens(&mut self, issuer: &str, user: &str, cause: Cause) -> Result<(), Error> {
        const REVOKE: &str = "\
            INSERT INTO revocations (seq, key, kind, cutoff, expires_at, reason, actor, created_at)
            SELECT ?1 + row_number() OVER (ORDER BY token_id), token_id, 'token', ?2, expires_at + ?3, ?4, ?5, ?2
              FROM user_token_logs
             WHERE user_id = ?6 AND issuer = ?7 AND is_block = 0
            ON CONFLICT (key, kind) DO UPDATE
               SET seq = excluded.seq, expires_at = max(expires_at, excluded.expires_at)";
        const BLOCK: &str = "\
            UPDATE user_token_logs SET is_block = 1, blocked_at = ?1, block_reason = ?2, updated_at = ?1
             WHERE user_id = ?3 AND issuer = ?4 AND is_block = 0";
        let revoked = sqlx::query(REVOKE)
            .bind(self.seq)
            .bind(self.now)
            .bind(self.retention.after_expiry())
            .bind(cause.reason())
            .bind(cause.actor())
            .bind(user)
            .bind(issuer)
            .execute(&mut *self.transaction)
            .await?
            .rows_affected();
        self.seq = self.seq.saturating_add_unsigned(revoked);
        sqlx::query(BLOCK)
            .bind(self.now)
            .bind(cause.reason())
            .bind(user)
            .bind(issuer)
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    /// Appends to the log; only a subject's `cutoff` decides anything. An earlier entry of the same key gives way, but never a later cutoff or a longer life: the
    /// wall clock may have been set back.
    pub(super) async fn insert_revocation(
        &mut self,
        kind: Kind,
        key: &RevocationKey,
        cutoff: i64,
        until: i64,
        cause: Cause,
    ) -> Result<(), Error> {
        const INSERT: &str = "\
            INSERT INTO revocations (seq, key, kind, cutoff, expires_at, reason, actor, created_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            ON CONFLICT (key, kind) DO UPDATE
               SET seq = excluded.seq, cutoff = max(cutoff, excluded.cutoff),
                   expires_at = max(expires_at, excluded.expires_at),
                   reason = excluded.reason, actor = excluded.actor, created_at = excluded.created_at";
        self.seq = self.seq.saturating_add(1);
        sqlx::query(INSERT)
            .bind(self.seq)
            .bind(bytes(key))
            .bind(kind.as_str())
            .bind(cutoff)
            .bind(until)
            .bind(cause.reason())
            .bind(cause.actor())
            .bind(self.now)
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    /// Inserts a token, blocked where an entry already covers it, so that a list of sessions tells the truth.
    pub(super) async fn insert_token(&mut self, registration: &Registration) -> Result<u64, Error> {
        const INSERT: &str = "\
            INSERT INTO user_token_logs (token_id, issuer, user_id, session_id, issued_at, expires_at, is_block,
                                         blocked_at, block_reason, user_agent, ip, created_at, updated_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, iif(?7, ?8, NULL), iif(?7, 'already_revoked', NULL),
                    ?9, ?10, ?8, ?8)
            ON CONFLICT (token_id) DO NOTHING";
        let token = &registration.token;
        let evidence = evidence(&mut self.transaction, &token.keys).await?;
        let dead = evidence.coverage(&token.keys, token.cutoff_time) == Coverage::Revoked;
        let inserted = sqlx::query(INSERT)
            .bind(bytes(&token.keys.token))
            .bind(&token.issuer)
            .bind(&token.user)
            .bind(&token.session_id)
            .bind(token.issued_at)
            .bind(token.expires_at)
            .bind(dead)
            .bind(self.now)
            .bind(&registration.user_agent)
            .bind(registration.ip.map(|ip| ip.to_string()))
            .execute(&mut *self.transaction)
            .await?;
        Ok(inserted.rows_affected())
    }

    /// Runs a statement that deletes at most [`PURGE_ROWS`] rows older than `before`.
    pub(super) async fn delete(&mut self, statement: &'static str, before: i64) -> Result<u64, Error> {
        let deleted = sqlx::query(statement).bind(before).bind(PURGE_ROWS).execute(&mut *self.transaction).await?;
        Ok(deleted.rows_affected())
    }
}
