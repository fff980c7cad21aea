//! The rules by which users got their keys, in the database.

use curfew_core::SubjectRule;
use sqlx::Error;

use super::batch::Batch;
use super::row::Row;
use super::value::values;
use crate::store::keyspaces::{UsedRule, orphaned};

impl Batch<'_> {
    /// Notes until when the subject entries of an issuer live.
    pub(super) fn subjects_live(&mut self, issuer: &str, until: i64) {
        let latest = self.subjects_until.entry(issuer.to_owned()).or_insert(until);
        *latest = until.max(*latest);
    }

    /// Writes that down, once for each issuer and transaction.
    pub(super) async fn keep_keyspaces(&mut self) -> Result<(), Error> {
        for (issuer, until) in std::mem::take(&mut self.subjects_until) {
            let rules = &self.settings.rules;
            if let Some(rule) = rules.iter().find(|rule| rule.issuer == issuer) {
                self.keep_keyspace(rule, until).await?;
            }
        }
        Ok(())
    }

    async fn keep_keyspace(&mut self, rule: &SubjectRule, until: i64) -> Result<(), Error> {
        const PROLONG: &str = "UPDATE subject_keyspaces \
            SET live_until = CASE WHEN live_until > $2 THEN live_until ELSE $2 END WHERE name = $1";
        const INSERT: &str = "INSERT INTO subject_keyspaces (name, live_until, issuer, user_claim, issued_at_claim) \
            VALUES ($1, $2, $3, $4, $5)";
        let name = rule.name();
        let (issuer, user, issued_at) = (rule.issuer.as_str(), rule.user_claim.as_str(), rule.issued_at_claim.as_str());
        if self.link.execute(PROLONG, values![name.as_bytes(), until]).await? == 0 {
            self.link.execute(INSERT, values![name.as_bytes(), until, issuer, user, issued_at]).await?;
        }
        Ok(())
    }

    /// The rules of logouts that the present ones do not reach, at a start. Entries from before rules were written down
    /// are taken for entries of the present ones.
    pub(crate) async fn orphaned_keyspaces(&mut self) -> Result<Vec<UsedRule>, Error> {
        const USED: &str = "SELECT issuer, user_claim, issued_at_claim, live_until FROM subject_keyspaces";
        const LATEST: &str = "SELECT max(expires_at) AS latest FROM revocations WHERE kind = 'subject'";
        let rows = self.link.fetch(USED, values![]).await?;
        if rows.is_empty() {
            let latest = self.link.fetch_one(LATEST, values![]).await?.optional_integer("latest")?;
            for rule in &self.settings.rules {
                self.keep_keyspace(rule, latest.unwrap_or_default()).await?;
            }
            return Ok(Vec::new());
        }
        let used = rows.iter().map(used_rule).collect::<Result<Vec<_>, _>>()?;
        Ok(orphaned(&used, &self.settings.rules, self.moment.now).into_iter().cloned().collect())
    }

    /// Forgets that logouts were made by this rule: an operator has accepted that they reach nobody.
    pub(crate) async fn forget_keyspace(&mut self, rule: &SubjectRule) -> Result<(), Error> {
        let name = rule.name();
        self.link.execute("DELETE FROM subject_keyspaces WHERE name = $1", values![name.as_bytes()]).await.map(drop)
    }
}

fn used_rule(row: &Row) -> Result<UsedRule, Error> {
    let rule = SubjectRule {
        issuer: row.text("issuer")?,
        user_claim: row.text("user_claim")?,
        issued_at_claim: row.text("issued_at_claim")?,
    };
    Ok(UsedRule { rule, live_until: row.integer("live_until")? })
}
