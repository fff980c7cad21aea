//! One write transaction, which carries out any number of commands.
//!
//! It holds the write lock from its first statement, so nothing it has read can change before it commits, and
//! numbers revocations from the head it read. Dropped without a commit, it leaves nothing behind.

use curfew_core::wire::CheckVerdict;
use curfew_core::{Kind, RevocationKey};
use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{Connection, Error, Transaction};

use super::read::{evidence, feed_head, revocations_after};
use crate::store::FeedHead;
use crate::store::command::{Cause, LogoutOutcome, Purged, Registered, Registration, TokenRecord};
use crate::store::feed::Logged;
use crate::store::retention::Retention;

/// How many rows of each table one step of the purge removes: some milliseconds for which logouts wait.
pub(crate) const PURGE_ROWS: i64 = 500;

/// A write transaction in the making.
pub(crate) struct Batch<'c> {
    pub(super) transaction: Transaction<'c, Sqlite>,
    /// The head when the transaction began.
    began_at: FeedHead,
    /// The seq of the newest revocation of this batch, or of the head.
    pub(super) seq: i64,
    pub(super) now: i64,
    pub(super) retention: Retention,
}

impl<'c> Batch<'c> {
    /// Begins a transaction that dates everything `now`.
    pub(crate) async fn begin(
        connection: &'c mut SqliteConnection,
        now: i64,
        retention: Retention,
    ) -> Result<Self, Error> {
        // IMMEDIATE takes the write lock here. A deferred transaction that has read and then wants to write fails
        // with SQLITE_BUSY at once, whatever the busy timeout.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query("SELECT epoch, seq FROM feed_head").fetch_one(&mut *transaction).await?;
        let head = feed_head(&row)?;
        Ok(Self { transaction, began_at: head, seq: head.seq, now, retention })
    }

    /// The head when the transaction began.
    pub(crate) fn began_at(&self) -> FeedHead {
        self.began_at
    }

    /// At most `limit` of the revocations that this batch has made so far, in their order.
    pub(crate) async fn revoked(&mut self, limit: i64) -> Result<Vec<Logged>, Error> {
        if self.seq == self.began_at.seq {
            return Ok(Vec::new());
        }
        revocations_after(&mut self.transaction, self.began_at.seq, self.now, limit).await
    }

    /// Revokes a token, unless it is revoked already.
    pub(crate) async fn logout(&mut self, token: &TokenRecord) -> Result<LogoutOutcome, Error> {
        if self.is_revoked(token).await? {
            return Ok(LogoutOutcome::AlreadyRevoked);
        }
        self.revoke_token(token, Cause::Logout).await?;
        Ok(LogoutOutcome::LoggedOut)
    }

    /// Revokes a token and everything else of its user, unless the token is revoked already.
    ///
    /// The token gets an entry of its own, for the subject entry may not cover it: it may be of the cutoff's very
    /// second and registered. An issuer whose clock runs ahead dates its other tokens like this one, so the cutoff
    /// is the token's own time where that is later; no token is accepted that is dated further ahead than the skew.
    pub(crate) async fn logout_all(&mut self, token: &TokenRecord, user: &str) -> Result<LogoutOutcome, Error> {
        if self.is_revoked(token).await? {
            return Ok(LogoutOutcome::AlreadyRevoked);
        }
        let cause = Cause::LogoutAllDevice;
        self.revoke_token(token, cause).await?;
        let cutoff = token.cutoff_time.unwrap_or(self.now).max(self.now);
        self.revoke_subject(&token.issuer, user, cutoff, cause).await?;
        Ok(LogoutOutcome::LoggedOut)
    }

    /// Revokes every known token of a user, and by a cutoff of now those that were never registered.
    pub(crate) async fn revoke_user(&mut self, issuer: &str, user: &str, cause: Cause) -> Result<(), Error> {
        self.revoke_subject(issuer, user, self.now, cause).await
    }

    async fn revoke_subject(&mut self, issuer: &str, user: &str, cutoff: i64, cause: Cause) -> Result<(), Error> {
        self.revoke_known_tokens(issuer, user, cause).await?;
        let subject = RevocationKey::subject(issuer, user);
        let until = self.retention.subject_until(cutoff);
        self.insert_revocation(Kind::Subject, &subject, cutoff, until, cause).await
    }

    /// Records tokens that were issued. A known token stays as it is: registering again never brings one back.
    pub(crate) async fn register(&mut self, tokens: &[Registration]) -> Result<Registered, Error> {
        let mut registered = Registered::default();
        for registration in tokens {
            match self.insert_token(registration).await? {
                0 => registered.known += 1,
                _ => registered.new += 1,
            }
        }
        Ok(registered)
    }

    /// Removes some of what no proxy can need any more. Call again while a table gives [`PURGE_ROWS`].
    pub(crate) async fn purge(&mut self) -> Result<Purged, Error> {
        const TOKENS: &str = "DELETE FROM user_token_logs WHERE token_id IN \
            (SELECT token_id FROM user_token_logs WHERE expires_at < ?1 LIMIT ?2)";
        const REVOCATIONS: &str = "DELETE FROM revocations WHERE seq IN \
            (SELECT seq FROM revocations WHERE expires_at < ?1 LIMIT ?2)";
        let expired = self.now.saturating_sub(self.retention.after_expiry());
        Ok(Purged {
            tokens: self.delete(TOKENS, expired).await?,
            revocations: self.delete(REVOCATIONS, self.now).await?,
        })
    }

    /// Moves the head over this batch's revocations; the last statement before [`Self::commit`].
    pub(crate) async fn move_head(&mut self) -> Result<FeedHead, Error> {
        let new = self.seq - self.began_at.seq;
        if new == 0 {
            return Ok(self.began_at);
        }
        let row = sqlx::query("UPDATE feed_head SET seq = seq + ?1 RETURNING epoch, seq")
            .bind(new)
            .fetch_one(&mut *self.transaction)
            .await?;
        feed_head(&row)
    }

    /// Makes everything durable. Where it fails, it is not known whether anything was.
    pub(crate) async fn commit(self) -> Result<(), Error> {
        self.transaction.commit().await
    }

    async fn is_revoked(&mut self, token: &TokenRecord) -> Result<bool, Error> {
        let evidence = evidence(&mut self.transaction, &token.keys).await?;
        let verdict = evidence.verdict(&token.keys, token.cutoff_time);
        Ok(verdict == CheckVerdict::Revoked)
    }
}
