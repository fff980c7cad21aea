//! How a start prolongs entries that were made under other settings.
//!
//! A token that only the present settings accept may live longer than an entry that was made under other settings. The
//! time for which entries are kept is stored, so that a start that asks for no more looks at no entry. Otherwise the
//! start goes through all entries in portions. Each portion is one transaction, because logouts wait meanwhile.

use sqlx::Error;

use super::batch::Batch;
use super::driver::values;
use super::kept::{Kept, stored};

/// The entries of one transaction. Logouts wait for it for some tens of milliseconds.
const PORTION: i64 = 10_000;

/// One portion.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    /// The seq of its last entry.
    pub(crate) last: i64,
    /// The number of entries that are kept for longer now.
    pub(crate) prolonged: u64,
    /// When the last entry in it expires that is kept for as long as a user's.
    pub(crate) subjects_until: Option<i64>,
}

impl Batch<'_> {
    /// The stored time for which entries are kept.
    pub(crate) async fn stored_kept(&mut self) -> Result<Kept, Error> {
        stored(&mut self.link).await
    }

    /// Prolongs each entry of the portion after this seq to the time of the present settings, if that is longer. `None`
    /// at the end of the log.
    pub(crate) async fn prolong(&mut self, after: i64) -> Result<Option<Portion>, Error> {
        const LAST: &str = "SELECT max(seq) AS last FROM \
            (SELECT seq FROM revocations WHERE seq > $1 ORDER BY seq LIMIT $2) AS next_ones";
        const SUBJECTS: &str = "UPDATE revocations SET expires_at = cutoff + $3 \
            WHERE seq > $1 AND seq <= $2 AND kind IN ('subject', 'session', 'others', 'spared') AND expires_at < cutoff + $3";
        // Each revoked token has a row, which is kept for the same time.
        const TOKENS: &str = "UPDATE revocations \
            SET expires_at = $3 + (SELECT log.expires_at FROM user_token_logs AS log WHERE log.token_id = \"key\") \
            WHERE seq > $1 AND seq <= $2 AND kind = 'token' AND EXISTS (SELECT 1 FROM user_token_logs AS log \
             WHERE log.token_id = revocations.\"key\" AND log.expires_at + $3 > revocations.expires_at)";
        const LATEST: &str = "SELECT max(expires_at) AS latest FROM revocations \
            WHERE seq > $1 AND seq <= $2 AND kind IN ('subject', 'session', 'others', 'spared')";
        let asked = Kept::asked(self.settings.retention);
        let end = self.link.fetch_one(LAST, values![after, PORTION]).await?.optional_integer("last")?;
        let Some(last) = end else { return Ok(None) };
        let subjects = self.link.execute(SUBJECTS, values![after, last, asked.subject_life]).await?;
        let tokens = self.link.execute(TOKENS, values![after, last, asked.token_rest]).await?;
        let subjects_until = self.link.fetch_one(LATEST, values![after, last]).await?.optional_integer("latest")?;
        Ok(Some(Portion { last, prolonged: subjects.saturating_add(tokens), subjects_until }))
    }

    /// Stores for how long entries are kept from now on, which may be less than before. `subjects_until` is when the
    /// last subject entry expires, if the start has gone through the entries. Then no rule with logouts in force may
    /// end earlier: for each rule only the end of its last entry is known, and this may be the entry that was prolonged
    /// most.
    pub(crate) async fn store_kept(&mut self, subjects_until: Option<i64>) -> Result<(), Error> {
        const RULES: &str = "UPDATE subject_keyspaces SET live_until = $1 WHERE live_until > $2 AND live_until < $1";
        const KEPT: &str = "UPDATE retention_kept SET subject_life = $1, token_rest = $2";
        if let Some(until) = subjects_until {
            self.link.execute(RULES, values![until, self.moment.now]).await?;
        }
        let asked = Kept::asked(self.settings.retention);
        self.link.execute(KEPT, values![asked.subject_life, asked.token_rest]).await.map(drop)
    }
}
