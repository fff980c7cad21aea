//! The removal of rows that no worker can need any more.

use sqlx::Error;

use super::batch::Batch;
use super::driver::values;
use crate::store::command::Purged;

/// The most rows of each table that one step of the purge removes. Logouts wait for a step for some milliseconds.
pub(crate) const PURGE_ROWS: i64 = 500;

impl Batch<'_> {
    /// Removes at most [`PURGE_ROWS`] rows of each table. If a table had as many, it may have more.
    pub(crate) async fn purge(&mut self) -> Result<Purged, Error> {
        let now = self.surely_past_by_mark().await?;
        self.move_clock_mark(now).await?;
        let expired = now.saturating_sub(self.settings.retention.rows_after_expiry());
        Ok(Purged { tokens: self.delete_tokens(expired).await?, revocations: self.delete_revocations(now).await? })
    }

    /// Deletes at most [`PURGE_ROWS`] rows about tokens that expired before `before`.
    async fn delete_tokens(&mut self, before: i64) -> Result<u64, Error> {
        const BY_KEY: &str = "DELETE FROM user_token_logs WHERE token_id IN \
            (SELECT token_id FROM user_token_logs WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
        const LIMITED: &str = "DELETE FROM user_token_logs WHERE expires_at < $1 ORDER BY expires_at LIMIT $2";
        self.delete(BY_KEY, LIMITED, before).await
    }

    /// Deletes at most [`PURGE_ROWS`] revocations whose life ended before `before`.
    async fn delete_revocations(&mut self, before: i64) -> Result<u64, Error> {
        const BY_KEY: &str = "DELETE FROM revocations WHERE seq IN \
            (SELECT seq FROM revocations WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
        const LIMITED: &str = "DELETE FROM revocations WHERE expires_at < $1 ORDER BY expires_at LIMIT $2";
        self.delete(BY_KEY, LIMITED, before).await
    }

    /// MySQL allows no LIMIT in such a subquery, and the others allow none in a DELETE.
    async fn delete(&mut self, by_key: &'static str, limited: &'static str, before: i64) -> Result<u64, Error> {
        let statement = self.link.choose(by_key, by_key, limited);
        self.link.execute(statement, values![before, PURGE_ROWS]).await
    }
}
