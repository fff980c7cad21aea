//! How long a revocation and a row about a token must be kept.
//!
//! If a revocation is purged while a worker still accepts its token, a logged-out token works again. So each revocation
//! is kept until the last moment at which any worker may accept the token, and for a margin after that.

/// The longest time, in seconds, for which a worker may admit from what it already knows: a lease by a clock that is as slow
/// as the drift allows.
pub const LEASE_SECONDS: i64 = 2;

/// Spare time, in seconds, for clocks that differ by more than the configured skew. Keeping rows for another minute
/// costs nothing; a revocation that is dropped a second too early is a logged-out token that works.
pub const MARGIN_SECONDS: i64 = 60;

/// The settings that decide how long something is kept, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How far a worker's clock may be off: a token is accepted until `exp` and this much longer.
    pub clock_skew: i64,
    /// The longest life a token may have; longer ones are refused everywhere.
    pub max_token_ttl: i64,
    /// How much longer than needed rows about tokens are kept, for the investigation of incidents. Revocations are not
    /// kept longer.
    pub audit: i64,
}

impl Retention {
    /// How long after a token's `exp` its revocation is kept.
    pub const fn after_expiry(self) -> i64 {
        self.clock_skew.saturating_add(LEASE_SECONDS).saturating_add(MARGIN_SECONDS)
    }

    /// How long after a token's `exp` its row is kept.
    pub const fn rows_after_expiry(self) -> i64 {
        self.after_expiry().saturating_add(self.audit)
    }

    /// When a revocation of the token with this `exp` may be forgotten.
    pub const fn token_until(self, expires_at: i64) -> i64 {
        expires_at.saturating_add(self.after_expiry())
    }

    /// When a revocation of all of a user's tokens issued up to `cutoff` may be forgotten. The skew counts twice: an
    /// issuer's clock may run ahead by as much, and then `iat` lies in the future and no other revocation covers the
    /// token.
    pub const fn subject_until(self, cutoff: i64) -> i64 {
        self.token_until(cutoff.saturating_add(self.max_token_ttl)).saturating_add(self.clock_skew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Retention = Retention { clock_skew: 5, max_token_ttl: 3600, audit: 86_400 };

    #[test]
    fn a_token_entry_outlives_the_token_by_skew_lease_and_margin() {
        assert_eq!(RETENTION.token_until(1_000), 1_000 + 5 + 2 + 60);
    }

    #[test]
    fn a_row_stays_for_the_audit_and_its_entry_does_not() {
        assert_eq!(RETENTION.rows_after_expiry(), 5 + 2 + 60 + 86_400);
        assert_eq!(RETENTION.after_expiry(), 5 + 2 + 60);
    }

    #[test]
    fn a_subject_entry_outlives_the_longest_token_it_covers() {
        assert_eq!(RETENTION.subject_until(1_000), 1_000 + 3600 + 5 + 2 + 60 + 5);
    }

    #[test]
    fn times_at_the_end_of_the_range_do_not_wrap() {
        assert_eq!(RETENTION.token_until(i64::MAX), i64::MAX);
    }
}
