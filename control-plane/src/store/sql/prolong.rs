//! What a start does to entries that were made under other settings.
//!
//! A token that only the present settings accept may live longer than an entry that was made under others. How long
//! entries are kept is written down, so that a start which asks for no more looks at none of them; otherwise they are gone
//! through in portions, each in a transaction of its own, for logouts wait meanwhile.

use sqlx::Error;

use super::batch::Batch;
use super::connection::Link;
use super::value::values;
use crate::log::retention::Retention;

/// Entries that are looked at in one transaction: some tens of milliseconds for which logouts wait.
const PORTION: i64 = 10_000;

/// How long entries are kept at least, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// An entry of a user, from its cutoff.
    pub(crate) subject_life: i64,
    /// An entry of a token, from the token's end.
    pub(crate) token_rest: i64,
}

impl Kept {
    /// What the settings ask for.
    pub(crate) const fn asked(retention: Retention) -> Self {
        // Both are counted from a time, and are the same for each.
        Self { subject_life: retention.subject_until(0), token_rest: retention.token_until(0) }
    }

    /// Whether entries that are kept for as long as this are kept for as long as `asked`.
    pub(crate) const fn covers(self, asked: Self) -> bool {
        self.subject_life >= asked.subject_life && self.token_rest >= asked.token_rest
    }

    fn or_longer(self, other: Self) -> Self {
        Self {
            subject_life: self.subject_life.max(other.subject_life),
            token_rest: self.token_rest.max(other.token_rest),
        }
    }
}

/// One portion.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    /// The place of its last entry.
    pub(crate) last: i64,
    /// How many are kept for longer now.
    pub(crate) prolonged: u64,
    /// When the last entry of a user in it ends.
    pub(crate) subjects_until: Option<i64>,
}

/// For how long entries are kept, whoever asks for it.
pub(crate) async fn kept(link: &mut Link<'_>, retention: Retention) -> Result<Kept, Error> {
    Ok(written_down(link).await?.or_longer(Kept::asked(retention)))
}

async fn written_down(link: &mut Link<'_>) -> Result<Kept, Error> {
    let row = link.fetch_one("SELECT subject_life, token_rest FROM retention_kept", values![]).await?;
    Ok(Kept { subject_life: row.integer("subject_life")?, token_rest: row.integer("token_rest")? })
}

impl Batch<'_> {
    /// For how long entries are kept, as it is written down.
    pub(crate) async fn written_down(&mut self) -> Result<Kept, Error> {
        written_down(&mut self.link).await
    }

    /// For how long this transaction keeps what it writes: another control plane may have settings that ask for more.
    pub(super) async fn kept(&mut self) -> Result<Kept, Error> {
        if let Some(kept) = self.kept {
            return Ok(kept);
        }
        let kept = kept(&mut self.link, self.settings.retention).await?;
        self.kept = Some(kept);
        Ok(kept)
    }

    /// Keeps each entry of the portion after this place for as long as the present settings say, if that is longer than it
    /// was made for; nothing where the log ends.
    pub(crate) async fn prolong(&mut self, after: i64) -> Result<Option<Portion>, Error> {
        const LAST: &str = "SELECT max(seq) AS last FROM \
            (SELECT seq FROM revocations WHERE seq > $1 ORDER BY seq LIMIT $2) AS next_ones";
        const SUBJECTS: &str = "UPDATE revocations SET expires_at = cutoff + $3 \
            WHERE seq > $1 AND seq <= $2 AND kind = 'subject' AND expires_at < cutoff + $3";
        // Each revoked token has a row, which is kept for as long.
        const TOKENS: &str = "UPDATE revocations \
            SET expires_at = $3 + (SELECT log.expires_at FROM user_token_logs AS log WHERE log.token_id = \"key\") \
            WHERE seq > $1 AND seq <= $2 AND kind = 'token' AND EXISTS (SELECT 1 FROM user_token_logs AS log \
             WHERE log.token_id = revocations.\"key\" AND log.expires_at + $3 > revocations.expires_at)";
        const LATEST: &str =
            "SELECT max(expires_at) AS latest FROM revocations WHERE seq > $1 AND seq <= $2 AND kind = 'subject'";
        let asked = Kept::asked(self.settings.retention);
        let end = self.link.fetch_one(LAST, values![after, PORTION]).await?.optional_integer("last")?;
        let Some(last) = end else { return Ok(None) };
        let subjects = self.execute(SUBJECTS, values![after, last, asked.subject_life]).await?;
        let tokens = self.execute(TOKENS, values![after, last, asked.token_rest]).await?;
        let subjects_until = self.link.fetch_one(LATEST, values![after, last]).await?.optional_integer("latest")?;
        Ok(Some(Portion { last, prolonged: subjects.saturating_add(tokens), subjects_until }))
    }

    /// Writes down what entries are kept for from now on, which may be less than before. If they were gone through, the last
    /// entry of a user ends `subjects_until`: no rule with logouts in force ends earlier, for of each rule it is known when
    /// its last entry ends, and no more.
    pub(crate) async fn write_down(&mut self, subjects_until: Option<i64>) -> Result<(), Error> {
        const RULES: &str = "UPDATE subject_keyspaces SET live_until = $1 WHERE live_until > $2 AND live_until < $1";
        const KEPT: &str = "UPDATE retention_kept SET subject_life = $1, token_rest = $2";
        if let Some(until) = subjects_until {
            self.execute(RULES, values![until, self.moment.now]).await?;
        }
        let asked = Kept::asked(self.settings.retention);
        self.execute(KEPT, values![asked.subject_life, asked.token_rest]).await.map(drop)
    }
}
