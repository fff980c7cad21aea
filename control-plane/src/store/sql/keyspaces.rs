//! The stored rules by which users got their keys.

use std::collections::BTreeMap;

use curfew_core::SubjectRule;
use sqlx::Error;

use super::driver::{Link, Row, values};
use crate::store::keyspaces::UsedRule;

/// Stores when the last subject entries of some issuers expire, by the rules that made them.
pub(super) async fn store_lives(
    link: &mut Link<'_>,
    rules: &[SubjectRule],
    lives: BTreeMap<String, i64>,
) -> Result<(), Error> {
    for (issuer, until) in lives {
        if let Some(rule) = rules.iter().find(|rule| rule.issuer == issuer) {
            store_life(link, rule, until).await?;
        }
    }
    Ok(())
}

/// Stores when the last subject entry of this rule expires, unless a later time is stored.
pub(super) async fn store_life(link: &mut Link<'_>, rule: &SubjectRule, until: i64) -> Result<(), Error> {
    const PROLONG: &str = "UPDATE subject_keyspaces \
        SET live_until = CASE WHEN live_until > $2 THEN live_until ELSE $2 END WHERE name = $1";
    const INSERT: &str = "INSERT INTO subject_keyspaces (name, live_until, issuer, user_claim, issued_at_claim) \
        VALUES ($1, $2, $3, $4, $5)";
    let name = rule.name();
    let (issuer, user, issued_at) = (rule.issuer.as_str(), rule.user_claim.as_str(), rule.issued_at_claim.as_str());
    if link.execute(PROLONG, values![name.as_bytes(), until]).await? == 0 {
        link.execute(INSERT, values![name.as_bytes(), until, issuer, user, issued_at]).await?;
    }
    Ok(())
}

/// All rules by which logouts of all devices were made.
pub(super) async fn used(link: &mut Link<'_>) -> Result<Vec<UsedRule>, Error> {
    const USED: &str = "SELECT issuer, user_claim, issued_at_claim, live_until FROM subject_keyspaces";
    link.fetch(USED, values![]).await?.iter().map(used_rule).collect()
}

/// Removes the stored rule, so that its logouts are forgotten.
pub(super) async fn forget(link: &mut Link<'_>, rule: &SubjectRule) -> Result<(), Error> {
    let name = rule.name();
    link.execute("DELETE FROM subject_keyspaces WHERE name = $1", values![name.as_bytes()]).await.map(drop)
}

fn used_rule(row: &Row) -> Result<UsedRule, Error> {
    let rule = SubjectRule {
        issuer: row.text("issuer")?,
        user_claim: row.text("user_claim")?,
        issued_at_claim: row.text("issued_at_claim")?,
    };
    Ok(UsedRule { rule, live_until: row.integer("live_until")? })
}
