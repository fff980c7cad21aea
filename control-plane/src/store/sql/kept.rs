//! The stored time for which entries are kept.
//!
//! Control planes may have different settings. The table `retention_kept` holds the least time for which all of them
//! keep what they write. So a start whose settings ask for no more has no entries to look through.

use sqlx::Error;

use super::driver::{Link, values};
use crate::log::retention::Retention;

/// How long entries are kept at least, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// An entry of a user, from its cutoff.
    pub(crate) subject_life: i64,
    /// An entry of a token, from the token's end.
    pub(crate) token_rest: i64,
}

impl Kept {
    /// What is stored before the first start.
    pub(crate) const NOTHING: Self = Self { subject_life: 0, token_rest: 0 };

    /// What the settings ask for.
    pub(crate) const fn asked(retention: Retention) -> Self {
        // The difference between the end and the time that it is counted from. It is the same for every time.
        Self { subject_life: retention.subject_until(0), token_rest: retention.token_until(0) }
    }

    /// True if entries that are kept for as long as this are kept for as long as `asked`.
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

/// For how long entries are kept: the stored time, or that of these settings if they ask for more.
pub(crate) async fn kept(link: &mut Link<'_>, retention: Retention) -> Result<Kept, Error> {
    Ok(stored(link).await?.or_longer(Kept::asked(retention)))
}

/// The stored time for which entries are kept.
pub(super) async fn stored(link: &mut Link<'_>) -> Result<Kept, Error> {
    let row = link.fetch_one("SELECT subject_life, token_rest FROM retention_kept", values![]).await?;
    Ok(Kept { subject_life: row.integer("subject_life")?, token_rest: row.integer("token_rest")? })
}
