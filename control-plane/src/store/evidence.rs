//! What the database holds about one token, and the verdict that follows.
//!
//! The same rule answers the filter's check, and decides inside the writer's transaction whether the token of a logout
//! is revoked already. It is pure; the statement that gathers the evidence is in [`super::sql`].

use curfew_core::wire::CheckVerdict;
use curfew_core::{Coverage, Kind, RevocationKey, TokenKeys};

use crate::log::LogPosition;

/// The part of a stored revocation that a verdict needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) key: RevocationKey,
    pub(crate) cutoff: i64,
}

/// Everything that is stored about a token, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// The log's head at that moment.
    pub(crate) head: LogPosition,
    /// The revocations found under the token's keys.
    pub(crate) entries: Vec<Entry>,
    /// What the token's row says.
    pub(crate) known: Known,
}

/// What the row of a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// There is no row.
    No,
    /// The token is registered and not blocked. A logout of all devices blocks every existing row, so this row is newer
    /// than the last such logout.
    Alive,
    /// It was logged out.
    Blocked,
}

impl Evidence {
    /// What the entries mean for the token. An entry counts only for the key of its own kind.
    pub(crate) fn coverage(&self, keys: &TokenKeys, cutoff_time: Option<i64>) -> Coverage {
        let find =
            |kind, key: &RevocationKey| self.entries.iter().find(|entry| (entry.kind, &entry.key) == (kind, key));
        keys.coverage(cutoff_time, |kind, key| find(kind, key).map(|entry| entry.cutoff))
    }

    /// Whether the token is revoked. For a token of the cutoff's own second its row decides.
    pub(crate) fn verdict(&self, keys: &TokenKeys, cutoff_time: Option<i64>) -> CheckVerdict {
        match self.coverage(keys, cutoff_time) {
            Coverage::Clear => CheckVerdict::Active,
            Coverage::SameSecond if self.known == Known::Alive => CheckVerdict::Active,
            Coverage::SameSecond | Coverage::Revoked => CheckVerdict::Revoked,
        }
    }

    /// True if the token is revoked only because it was never registered, and was issued in the cutoff's own second or does not
    /// say when.
    pub(crate) fn is_of_same_second(&self, keys: &TokenKeys, cutoff_time: Option<i64>) -> bool {
        self.known == Known::No && self.coverage(keys, cutoff_time) == Coverage::SameSecond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> RevocationKey {
        RevocationKey::from_bytes([byte; 16])
    }

    fn keys() -> TokenKeys {
        TokenKeys { token: key(1), jti: Some(key(2)), session: None, subject: Some(key(4)) }
    }

    fn found(entries: &[(Kind, u8, i64)], registered: bool) -> Evidence {
        let entries = entries.iter().map(|&(kind, byte, cutoff)| Entry { kind, key: key(byte), cutoff });
        Evidence {
            head: LogPosition { epoch: crate::log::Epoch::from_bytes([0; 16]), seq: 0 },
            entries: entries.collect(),
            known: if registered { Known::Alive } else { Known::Blocked },
        }
    }

    #[test]
    fn a_token_without_a_revocation_is_active() {
        assert_eq!(found(&[], false).verdict(&keys(), Some(100)), CheckVerdict::Active);
    }

    #[test]
    fn an_entry_under_any_key_of_its_own_kind_revokes() {
        for entry in [(Kind::Token, 1, 0), (Kind::Jti, 2, 0), (Kind::Subject, 4, 101)] {
            let verdict = found(&[entry], true).verdict(&keys(), Some(100));
            assert_eq!(verdict, CheckVerdict::Revoked, "{entry:?}");
        }
    }

    #[test]
    fn an_entry_of_another_kind_says_nothing() {
        let entries = [(Kind::Jti, 1, 0), (Kind::Token, 4, 0), (Kind::Session, 2, 0)];
        assert_eq!(found(&entries, false).verdict(&keys(), Some(100)), CheckVerdict::Active);
    }

    #[test]
    fn in_the_cutoffs_second_only_a_token_registered_afterwards_is_active() {
        let tie = [(Kind::Subject, 4, 100)];
        assert_eq!(found(&tie, true).verdict(&keys(), Some(100)), CheckVerdict::Active);
        assert_eq!(found(&tie, false).verdict(&keys(), Some(100)), CheckVerdict::Revoked);
    }

    #[test]
    fn only_a_login_that_was_never_registered_is_told_of_the_second() {
        let told = |entries: &[(Kind, u8, i64)], known, cutoff_time| {
            Evidence { known, ..found(entries, false) }.is_of_same_second(&keys(), cutoff_time)
        };
        let tie = (Kind::Subject, 4, 100);
        assert!(told(&[tie], Known::No, Some(100)));
        for known in [Known::Alive, Known::Blocked] {
            assert!(!told(&[tie], known, Some(100)), "{known:?}");
        }
        assert!(!told(&[tie, (Kind::Token, 1, 0)], Known::No, Some(100)), "logged out by itself too");
        assert!(!told(&[tie], Known::No, Some(99)), "issued before");
        assert!(told(&[tie], Known::No, None), "it does not say when");
    }

    #[test]
    fn the_strongest_entry_wins() {
        let entries = [(Kind::Subject, 4, 50), (Kind::Token, 1, 0)];
        assert_eq!(found(&entries, true).verdict(&keys(), Some(100)), CheckVerdict::Revoked);
    }
}
