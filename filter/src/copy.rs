//! The worker's copy of the log of revocations: exact, compact, within a budget of bytes.
//!
//! It answers as a control plane with the same revocations would. The exception is a token that was issued in the
//! second of a cutoff, or does not say when: only the control plane knows whether that token was registered. The copy
//! never drops a revocation for want of space. Once a revocation does not fit, the copy calls no token clear until it is
//! thrown away, and the worker asks the control plane instead. How far the copy reaches, and whether it may be used, is
//! kept in [`crate::feed`].

mod table;

use curfew_core::wire::{CheckRequest, FeedRevocation};
use curfew_core::{Coverage, Kind, TokenKeys};

use table::{Entry, Table};

pub use table::SLOT_BYTES;

/// Revocations by key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogCopy {
    table: Table,
    overflowed: bool,
    /// True if some user has logged out all other sessions. Most copies hold no such entry, and then none is looked for.
    any_others: bool,
}

impl LogCopy {
    /// An empty copy that may take `budget` bytes. `seed` must be random. Keys are hashes of texts that users can
    /// choose; without the seed, a user could choose texts whose keys crowd into one place.
    pub fn new(budget: u64, seed: [u64; 2]) -> Self {
        Self { table: Table::new(budget, seed), overflowed: false, any_others: false }
    }

    /// Adds revocations. Those that have expired at `now`, in seconds of Unix time, are left out: they cover no token
    /// that is still valid by the same clock.
    pub fn apply(&mut self, revocations: &[FeedRevocation], now: i64) {
        for revocation in revocations.iter().filter(|revocation| revocation.expires_at > now) {
            self.any_others |= revocation.kind == Kind::Others;
            let fits = self.table.insert(Entry::from(revocation), now);
            self.overflowed = self.overflowed || !fits;
        }
    }

    /// What the copy says about a token. "Revoked" is true for ever; the rest is true as long as the copy is up to
    /// date. `None` means that a revocation did not fit, which may cover the token.
    pub fn coverage(&self, token: &CheckRequest) -> Option<Coverage> {
        let keys = TokenKeys { token: token.token, jti: token.jti, session: token.session, subject: token.subject };
        let coverage = keys.coverage(token.issued_at, |kind, key| match kind {
            // What spares the token may be what did not fit: then the control plane is asked.
            Kind::Others if !self.any_others || self.overflowed => None,
            _ => self.table.cutoff(kind, key),
        });
        (!self.overflowed || coverage == Coverage::Revoked).then_some(coverage)
    }

    /// True if a revocation did not fit.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// How many revocations the copy holds; some may have expired.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True if the copy holds no revocation.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes in use.
    pub fn bytes(&self) -> u64 {
        self.table.bytes()
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::{Keyspace, RevocationKey};

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn key(number: u64) -> RevocationKey {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        RevocationKey::from_bytes(bytes)
    }

    fn revoked(kind: Kind, number: u64, cutoff: i64) -> FeedRevocation {
        FeedRevocation { kind, key: key(number), cutoff, expires_at: NOW + 3600 }
    }

    fn token(issued_at: Option<i64>) -> CheckRequest {
        CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token: key(1),
            jti: Some(key(2)),
            session: Some(key(3)),
            subject: Some(key(4)),
            issued_at,
        }
    }

    fn copy() -> LogCopy {
        LogCopy::new(1 << 20, [1, 2])
    }

    #[test]
    fn each_of_a_tokens_keys_is_looked_up_as_its_own_kind() {
        for (kind, number) in [(Kind::Token, 1), (Kind::Jti, 2), (Kind::Session, 3), (Kind::Subject, 4)] {
            let mut copy = copy();
            assert_eq!(copy.coverage(&token(Some(NOW))), Some(Coverage::Clear));
            copy.apply(&[revoked(kind, number % 4 + 1, NOW + 1)], NOW);
            assert_eq!(copy.coverage(&token(Some(NOW))), Some(Coverage::Clear), "{kind:?} under another's key");
            copy.apply(&[revoked(kind, number, NOW + 1)], NOW);
            assert_eq!(copy.coverage(&token(Some(NOW))), Some(Coverage::Revoked), "{kind:?}");
        }
    }

    #[test]
    fn a_subject_entry_spares_newer_tokens_and_leaves_its_own_second_undecided() {
        let mut copy = copy();
        copy.apply(&[revoked(Kind::Subject, 4, NOW)], NOW);
        assert_eq!(copy.coverage(&token(Some(NOW - 1))), Some(Coverage::Revoked));
        assert_eq!(copy.coverage(&token(Some(NOW))), Some(Coverage::SameSecond));
        assert_eq!(copy.coverage(&token(Some(NOW + 1))), Some(Coverage::Clear));
        assert_eq!(copy.coverage(&token(None)), Some(Coverage::SameSecond), "its registration decides");
    }

    #[test]
    fn a_logout_of_the_others_spares_the_session_that_its_own_entry_names() {
        let [mine, theirs] = [3, 9].map(|session| CheckRequest { session: Some(key(session)), ..token(Some(NOW)) });
        let spared = |session: u64, cutoff| FeedRevocation {
            key: RevocationKey::spared(&key(4), &key(session)),
            ..revoked(Kind::Spared, 0, cutoff)
        };
        let mut copy = copy();
        copy.apply(&[spared(3, NOW + 1)], NOW);
        assert_eq!(copy.coverage(&mine), Some(Coverage::Clear), "a page may end here");
        copy.apply(&[revoked(Kind::Others, 4, NOW + 1)], NOW);
        assert_eq!((copy.coverage(&mine), copy.coverage(&theirs)), (Some(Coverage::Clear), Some(Coverage::Revoked)));
        copy.apply(&[revoked(Kind::Subject, 4, NOW - 9), spared(9, NOW + 2), revoked(Kind::Others, 4, NOW + 2)], NOW);
        assert_eq!((copy.coverage(&mine), copy.coverage(&theirs)), (Some(Coverage::Revoked), Some(Coverage::Clear)));
        copy.apply(&[revoked(Kind::Session, 9, 0)], NOW);
        assert_eq!(copy.coverage(&theirs), Some(Coverage::Revoked));
    }

    #[test]
    fn a_later_cutoff_stays_whatever_comes_after_it() {
        let mut copy = copy();
        copy.apply(&[revoked(Kind::Subject, 4, NOW), revoked(Kind::Subject, 4, NOW - 50)], NOW);
        assert_eq!(copy.len(), 1);
        assert_eq!(copy.coverage(&token(Some(NOW - 1))), Some(Coverage::Revoked));
    }

    #[test]
    fn cutoffs_that_do_not_fit_a_slot_cover_no_less() {
        let mut copy = copy();
        copy.apply(&[revoked(Kind::Subject, 4, i64::MAX)], NOW);
        assert_eq!(copy.coverage(&token(Some(NOW + 3600))), Some(Coverage::Revoked));
        let mut copy = self::copy();
        copy.apply(&[revoked(Kind::Subject, 4, i64::MIN)], NOW);
        assert_eq!(copy.coverage(&token(Some(NOW))), Some(Coverage::Clear));
    }

    #[test]
    fn expired_revocations_make_room() {
        let mut copy = LogCopy::new(64 << 10, [1, 2]);
        for hour in 0..40 {
            let now = NOW + hour * 3600;
            let first = hour.unsigned_abs() * 1000;
            for number in first..first + 1000 {
                copy.apply(&[FeedRevocation { expires_at: now + 3000, ..revoked(Kind::Token, number, 0) }], now);
            }
            assert!(!copy.overflowed() && copy.bytes() <= 64 << 10, "{} bytes", copy.bytes());
        }
    }

    #[test]
    fn over_its_budget_the_copy_still_calls_tokens_revoked_and_calls_none_clear() {
        const BUDGET: u64 = 1 << 20;
        let mut copy = LogCopy::new(BUDGET, [3, 4]);
        let mut number = 1;
        while !copy.overflowed() {
            copy.apply(&[revoked(Kind::Token, number, 0)], NOW);
            assert!(copy.bytes() <= BUDGET);
            number += 1;
        }
        assert_eq!(copy.coverage(&token(Some(NOW))), Some(Coverage::Revoked));
        let unknown = CheckRequest { token: key(u64::MAX), ..token(Some(NOW)) };
        assert_eq!(copy.coverage(&unknown), None);
    }

    #[test]
    fn over_its_budget_the_copy_refuses_nobody_by_a_logout_of_the_others() {
        let mut copy = LogCopy::new(1 << 20, [3, 4]);
        let spared = |cutoff| FeedRevocation {
            key: RevocationKey::spared(&key(4), &key(3)),
            ..revoked(Kind::Spared, 0, cutoff)
        };
        copy.apply(&[spared(NOW), revoked(Kind::Others, 4, NOW)], NOW);
        let mut number = 100;
        while !copy.overflowed() {
            copy.apply(&[revoked(Kind::Token, number, 0)], NOW);
            number += 1;
        }
        // The second call finds no room for what it spares, and moves the entry that is there.
        copy.apply(&[revoked(Kind::Others, 4, NOW + 5)], NOW);
        assert_eq!(copy.coverage(&token(Some(NOW - 1))), None, "the control plane is asked");
        copy.apply(&[revoked(Kind::Subject, 4, NOW + 5)], NOW);
        assert_eq!(copy.coverage(&token(Some(NOW - 1))), Some(Coverage::Revoked));
    }

    #[test]
    fn a_revocation_takes_at_most_forty_bytes_at_any_number() {
        let mut copy = LogCopy::new(16 << 20, [5, 6]);
        for number in 1..=200_000 {
            copy.apply(&[revoked(Kind::Token, number, 0)], NOW);
            // Below that the empty shards weigh more than the revocations in them.
            if number >= 20_000 {
                let bytes = copy.bytes();
                assert!(bytes <= number * 40, "{bytes} bytes for {number}");
            }
        }
        assert_eq!(copy.len(), 200_000);
        for number in [1, 77_777, 200_000] {
            let about = CheckRequest { token: key(number), ..token(None) };
            assert_eq!(copy.coverage(&about), Some(Coverage::Revoked));
        }
    }
}
