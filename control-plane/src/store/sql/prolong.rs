//! What a start does to entries that were made under other settings.

use sqlx::Error;

use super::batch::Batch;
use super::value::values;

impl Batch<'_> {
    /// Keeps each subject entry for as long as the present settings say, if that is longer than it was made for;
    /// returns how many it concerned. A token that only the present settings accept may have been issued long before
    /// the entry's cutoff.
    pub(crate) async fn prolong_subjects(&mut self) -> Result<u64, Error> {
        const ENTRIES: &str = "UPDATE revocations SET expires_at = cutoff + $1 \
            WHERE kind = 'subject' AND expires_at < cutoff + $1";
        // Not earlier than any entry: of each rule it is known when its last entry ends, and no more.
        const RULES: &str = "UPDATE subject_keyspaces SET live_until = live_until + $1 WHERE live_until > 0";
        // The time is counted from the cutoff, so it is the same for all of them.
        let life = self.settings.retention.subject_until(0);
        let longest = self.link.fetch_one(LONGEST, values![life]).await?.optional_integer("longer")?;
        let prolonged = self.link.execute(ENTRIES, values![life]).await?;
        if let Some(longer) = longest {
            self.link.execute(RULES, values![longer]).await?;
        }
        Ok(prolonged)
    }
}

/// By how much the entry that gains most is prolonged.
const LONGEST: &str = "SELECT max(cutoff + $1 - expires_at) AS longer FROM revocations \
    WHERE kind = 'subject' AND expires_at < cutoff + $1";
