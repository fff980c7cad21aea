//! What a start does to entries that were made under other settings.

use sqlx::Error;
use sqlx::sqlite::SqliteConnection;

use crate::store::retention::Retention;

/// Keeps each subject entry for as long as `retention` says, if that is longer than it was made for; returns how many
/// it concerned. A token that only the present settings accept may have been issued long before the entry's cutoff.
pub(crate) async fn prolong_subjects(connection: &mut SqliteConnection, retention: Retention) -> Result<u64, Error> {
    const PROLONG: &str = "UPDATE revocations SET expires_at = cutoff + ?1 \
        WHERE kind = 'subject' AND expires_at < cutoff + ?1";
    // The time is counted from the cutoff, so it is the same for all of them.
    let prolonged = sqlx::query(PROLONG).bind(retention.subject_until(0)).execute(connection).await?;
    Ok(prolonged.rows_affected())
}
