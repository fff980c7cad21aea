//! How a start treats rules by which users or sessions got other keys than today.

use curfew_core::{KeyRule, Kind};
use sqlx::Error;

use super::batch::Batch;
use super::driver::values;
use super::keyspaces::{forget, store_life, used};
use crate::store::keyspaces::{UsedRule, orphaned};

impl Batch<'_> {
    /// The rules of logouts that the present rules do not reach. Entries that are older than the first stored rule
    /// count as entries of the present rules.
    pub(crate) async fn orphaned_keyspaces(&mut self) -> Result<Vec<UsedRule>, Error> {
        const LATEST: &str = "SELECT max(expires_at) AS latest FROM revocations WHERE kind = 'subject'";
        let used = used(&mut self.link).await?;
        if used.is_empty() {
            let latest = self.link.fetch_one(LATEST, values![]).await?.optional_integer("latest")?;
            // Nothing revoked sessions when no rules were stored.
            for rule in self.settings.rules.iter().filter(|rule| rule.kind == Kind::Subject) {
                store_life(&mut self.link, rule, latest.unwrap_or_default()).await?;
            }
            return Ok(Vec::new());
        }
        Ok(orphaned(&used, &self.settings.rules, self.moment.now).into_iter().cloned().collect())
    }

    /// Forgets the logouts of this rule: an operator has accepted that they cover no token any more.
    pub(crate) async fn forget_keyspace(&mut self, rule: &KeyRule) -> Result<(), Error> {
        forget(&mut self.link, rule).await
    }
}
