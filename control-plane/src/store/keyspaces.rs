//! Logouts of all devices and of sessions that cover no token under the present settings. Pure.

use curfew_core::KeyRule;

/// A rule by which such logouts were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsedRule {
    pub(crate) rule: KeyRule,
    /// When the last of these logouts may be forgotten, seconds of Unix time.
    pub(crate) live_until: i64,
}

/// The rules whose logouts are in force at `now` but are not found by any present rule, although a present rule may
/// accept their tokens.
pub(crate) fn orphaned<'u>(used: &'u [UsedRule], present: &[KeyRule], now: i64) -> Vec<&'u UsedRule> {
    let in_force = used.iter().filter(|used| used.live_until > now && !present.contains(&used.rule));
    in_force.filter(|used| present.iter().any(|rule| used.rule.shares_tokens_with(rule))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(issuer: &str, user_claim: &str) -> KeyRule {
        let kind = curfew_core::Kind::Subject;
        KeyRule { issuer: issuer.into(), kind, claim: user_claim.into(), issued_at_claim: "iat".into() }
    }

    fn used(issuer: &str, user_claim: &str) -> UsedRule {
        UsedRule { rule: rule(issuer, user_claim), live_until: 100 }
    }

    #[test]
    fn the_same_settings_orphan_nothing_and_nor_do_more_issuers() {
        let used = [used("a", "sub")];
        assert_eq!(orphaned(&used, &[rule("a", "sub")], 0), Vec::<&UsedRule>::new());
        assert_eq!(orphaned(&used, &[rule("b", "sub"), rule("a", "sub")], 0), Vec::<&UsedRule>::new());
    }

    #[test]
    fn another_claim_or_name_for_the_same_tokens_orphans_what_is_alive() {
        let named = [used("a", "sub")];
        assert_eq!(orphaned(&named, &[rule("a", "user_id")], 99), [&named[0]]);
        assert_eq!(orphaned(&named, &[rule("", "sub")], 99), [&named[0]]);
        assert_eq!(orphaned(&named, &[rule("a", "user_id")], 100), Vec::<&UsedRule>::new());
        let nameless = [used("", "sub")];
        assert_eq!(orphaned(&nameless, &[rule("a", "sub")], 99), [&nameless[0]]);
    }

    #[test]
    fn an_issuer_that_is_gone_has_its_tokens_refused() {
        assert_eq!(orphaned(&[used("a", "sub")], &[rule("b", "sub")], 0), Vec::<&UsedRule>::new());
    }
}
