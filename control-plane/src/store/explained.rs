//! Why a token counts as revoked or not, as an operator reads it.

use curfew_core::wire::CheckVerdict;
use curfew_core::{Coverage, Kind, RevocationKey, TokenKeys};
use serde::{Deserialize, Serialize};

use super::evidence::{Entry, Evidence, Known};
use crate::log::LogPosition;

/// All that is stored under a token's keys, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The log's head at that moment.
    pub position: LogPosition,
    /// The newest change of keys at that moment; 0 for none.
    pub keys_seq: u64,
    /// What a check would answer.
    pub verdict: CheckVerdict,
    /// What a check would say of the second in which the token was issued.
    pub same_second: bool,
    /// The revocations under the token's keys, whether they cover it or not.
    pub revocations: Vec<Found>,
    /// What spares the token where all other sessions of its user were logged out.
    pub spared: Vec<Found>,
    /// The token's row, if there is one.
    pub registration: Option<Registered>,
}

/// A revocation under one of a token's keys. Times are seconds of Unix time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The kind of the key.
    pub kind: Kind,
    /// The key.
    pub key: RevocationKey,
    /// Its place in the log.
    pub seq: u64,
    /// A subject or others entry covers tokens that were issued up to this second.
    pub cutoff: i64,
    /// Until when it is kept.
    pub expires_at: i64,
    /// Which entrance made it.
    pub reason: String,
    /// Who called.
    pub actor: String,
    /// When it was committed.
    pub created_at: i64,
    /// Whether it covers the token.
    pub covers: Covers,
}

/// Whether a revocation covers a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Covers {
    /// It does.
    Yes,
    /// The token was issued in the second of the cutoff: it is covered unless it was registered afterwards.
    SameSecond,
    /// It covers other tokens of the user, and spares this one.
    Spared,
    /// The token was issued later.
    No,
}

impl From<Coverage> for Covers {
    fn from(coverage: Coverage) -> Self {
        match coverage {
            Coverage::Revoked => Self::Yes,
            Coverage::SameSecond => Self::SameSecond,
            Coverage::Clear => Self::No,
        }
    }
}

/// A token's row. Times are seconds of Unix time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// When this database first saw the token.
    pub created_at: i64,
    /// Whether it was logged out.
    pub blocked: bool,
    /// When it was logged out.
    pub blocked_at: Option<i64>,
    /// Which call logged it out.
    pub block_reason: Option<String>,
}

/// A revocation as it is stored, before it is compared with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) entry: Entry,
    pub(crate) seq: u64,
    pub(crate) expires_at: i64,
    pub(crate) reason: String,
    pub(crate) actor: String,
    pub(crate) created_at: i64,
}

impl Explained {
    /// Compares what is stored with a token. The verdict comes from the rule that answers checks.
    pub(crate) fn of(
        (position, keys_seq): (LogPosition, u64),
        stored: Vec<Stored>,
        registration: Option<Registered>,
        keys: &TokenKeys,
        cutoff_time: Option<i64>,
    ) -> Self {
        let known = match &registration {
            None => Known::No,
            Some(row) if row.blocked => Known::Blocked,
            Some(_) => Known::Alive,
        };
        let entries = stored.iter().map(|stored| stored.entry).collect();
        let evidence = Evidence { head: position, entries, known };
        let verdict = evidence.verdict(keys, cutoff_time);
        let same_second = evidence.is_of_same_second(keys, cutoff_time);
        // A key counts only as a key of its own kind.
        let of_token = stored.into_iter().filter(|it| keys.concerns(it.entry.kind, &it.entry.key));
        let (spared, revocations): (Vec<_>, Vec<_>) = of_token.partition(|it| it.entry.kind == Kind::Spared);
        let is_spared = |entry: &Entry| {
            entry.kind == Kind::Others && spared.iter().any(|spared| spared.entry.cutoff >= entry.cutoff)
        };
        let found_here = |stored: Stored| found(is_spared(&stored.entry), stored, cutoff_time);
        let revocations = revocations.into_iter().map(found_here).collect();
        let spared = spared.into_iter().map(|stored| found(false, stored, cutoff_time)).collect();
        Self { position, keys_seq, verdict, same_second, revocations, spared, registration }
    }
}

fn found(is_spared: bool, stored: Stored, cutoff_time: Option<i64>) -> Found {
    let Stored { entry: Entry { kind, key, cutoff }, seq, expires_at, reason, actor, created_at } = stored;
    let covers = match curfew_core::covers(kind, cutoff, cutoff_time) {
        Coverage::Revoked | Coverage::SameSecond if is_spared => Covers::Spared,
        coverage => coverage.into(),
    };
    Found { kind, key, seq, cutoff, expires_at, reason, actor, created_at, covers }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Epoch;

    fn key(byte: u8) -> RevocationKey {
        RevocationKey::from_bytes([byte; 16])
    }

    fn stored(kind: Kind, byte: u8, cutoff: i64) -> Stored {
        let entry = Entry { kind, key: key(byte), cutoff };
        let (reason, actor) = ("logout".to_owned(), "user".to_owned());
        Stored { entry, seq: 5, expires_at: 900, reason, actor, created_at: 100 }
    }

    fn explained(stored: Vec<Stored>, registration: Option<Registered>) -> Explained {
        let keys = TokenKeys { token: key(1), jti: None, session: None, subject: Some(key(4)) };
        let position = LogPosition { epoch: Epoch::from_bytes([1; 16]), seq: 9 };
        Explained::of((position, 0), stored, registration, &keys, Some(100))
    }

    #[test]
    fn each_revocation_says_whether_it_covers_the_token() {
        let all = vec![stored(Kind::Subject, 4, 99), stored(Kind::Token, 1, 0), stored(Kind::Jti, 1, 0)];
        let explained = explained(all, None);
        let covers: Vec<_> = explained.revocations.iter().map(|found| (found.kind, found.covers)).collect();
        assert_eq!(covers, [(Kind::Subject, Covers::No), (Kind::Token, Covers::Yes)]);
        assert_eq!(explained.verdict, CheckVerdict::Revoked);
    }

    #[test]
    fn in_the_second_of_the_cutoff_the_registration_decides() {
        let alive = Registered { created_at: 101, blocked: false, blocked_at: None, block_reason: None };
        let tie = || vec![stored(Kind::Subject, 4, 100)];
        assert_eq!(explained(tie(), None).verdict, CheckVerdict::Revoked);
        let registered = explained(tie(), Some(alive));
        assert_eq!((registered.verdict, registered.revocations[0].covers), (CheckVerdict::Active, Covers::SameSecond));
    }
}
