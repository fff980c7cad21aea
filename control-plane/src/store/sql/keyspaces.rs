//! The stored rules by which users and sessions got their keys.

use std::collections::BTreeMap;

use curfew_core::{KeyRule, Kind};
use sqlx::Error;

use super::driver::{Link, Row, values};
use crate::store::keyspaces::UsedRule;

/// When the last entries of some issuers expire, in seconds of Unix time, by the name of their kind and the issuer.
pub(super) type Lives = BTreeMap<(&'static str, String), i64>;

/// Stores when entries expire, by the rules that made them.
pub(super) async fn store_lives(link: &mut Link<'_>, rules: &[KeyRule], lives: Lives) -> Result<(), Error> {
    for ((kind, issuer), until) in lives {
        if let Some(rule) = rules.iter().find(|rule| rule.kind.as_str() == kind && rule.issuer == issuer) {
            store_life(link, rule, until).await?;
        }
    }
    Ok(())
}

/// Stores when the last entry of this rule expires, unless a later time is stored.
pub(super) async fn store_life(link: &mut Link<'_>, rule: &KeyRule, until: i64) -> Result<(), Error> {
    const PROLONG: &str = "UPDATE subject_keyspaces \
        SET live_until = CASE WHEN live_until > $2 THEN live_until ELSE $2 END WHERE name = $1";
    const INSERT: &str = "INSERT INTO subject_keyspaces (name, live_until, issuer, kind, user_claim, issued_at_claim) \
        VALUES ($1, $2, $3, $4, $5, $6)";
    let KeyRule { issuer, kind, claim, issued_at_claim } = rule;
    let name = rule.name();
    if link.execute(PROLONG, values![name.as_bytes(), until]).await? == 0 {
        let (issuer, claim, issued_at) = (issuer.as_str(), claim.as_str(), issued_at_claim.as_str());
        link.execute(INSERT, values![name.as_bytes(), until, issuer, kind.as_str(), claim, issued_at]).await?;
    }
    Ok(())
}

/// All rules by which logouts of all devices and of sessions were made.
pub(super) async fn used(link: &mut Link<'_>) -> Result<Vec<UsedRule>, Error> {
    const USED: &str = "SELECT issuer, kind, user_claim, issued_at_claim, live_until FROM subject_keyspaces";
    link.fetch(USED, values![]).await?.iter().map(used_rule).collect()
}

/// Removes the stored rule, so that its logouts are forgotten.
pub(super) async fn forget(link: &mut Link<'_>, rule: &KeyRule) -> Result<(), Error> {
    let name = rule.name();
    link.execute("DELETE FROM subject_keyspaces WHERE name = $1", values![name.as_bytes()]).await.map(drop)
}

fn used_rule(row: &Row) -> Result<UsedRule, Error> {
    let kind = Kind::parse(&row.text("kind")?).ok_or_else(|| Error::Decode("an unknown kind".into()))?;
    let rule = KeyRule {
        issuer: row.text("issuer")?,
        kind,
        claim: row.text("user_claim")?,
        issued_at_claim: row.text("issued_at_claim")?,
    };
    Ok(UsedRule { rule, live_until: row.integer("live_until")? })
}
