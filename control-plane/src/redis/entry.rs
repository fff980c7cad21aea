//! One entry in Redis: its name, its value, its life, and what it proves about a token. Pure.

use curfew_core::{Coverage, Kind, RevocationKey, TokenKeys, covers};

use crate::log::retention::MARGIN_SECONDS;
use crate::log::{Epoch, Logged};

/// A hundred years, in seconds: longer than any token lives, and less than the highest value that Redis takes.
const LONGEST_LIFE: i64 = 3_153_600_000;

/// How entries are named and how long they live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRules {
    /// What the names of all keys begin with.
    pub prefix: String,
    /// The least life of an entry in seconds, if configured. It never shortens a life.
    pub least_life: Option<i64>,
    /// How far the clocks of issuers and workers may be off, in seconds.
    pub clock_skew: i64,
}

/// An entry as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) name: String,
    pub(crate) cutoff: i64,
    /// Seconds.
    pub(crate) life: i64,
}

impl EntryRules {
    /// The name of an entry. The epoch is part of it, so that a control plane with a restored or new database never
    /// reads the entries of another history.
    pub(crate) fn name(&self, epoch: Epoch, kind: Kind, key: &RevocationKey) -> String {
        format!("{}{epoch}:{}:{key}", self.prefix, kind.as_str())
    }

    /// The name of the marker that says how far the log has been copied. It is lost when the entries are lost.
    pub(crate) fn marker(&self, epoch: Epoch) -> String {
        format!("{}{epoch}:filled", self.prefix)
    }

    /// The entry for a revocation at `now`; `None` if the revocation is no longer needed, or of a kind that is not copied.
    ///
    /// The life is never shorter than the revocation's own, which covers the rest of its tokens' lives, the clock skew,
    /// the lease and the margin. Today an entry that vanished earlier would only cost a read of the database, but no
    /// setting may make the copy in Redis forget a revocation.
    pub(crate) fn write(&self, epoch: Epoch, entry: &Logged, now: i64) -> Option<Written> {
        // Those prove something only together, and one of the two may be lost: the database decides.
        if matches!(entry.kind, Kind::Others | Kind::Spared) {
            return None;
        }
        let needed = entry.expires_at.saturating_sub(now);
        let life = self.least_life.unwrap_or(0).max(needed).min(LONGEST_LIFE);
        let name = self.name(epoch, entry.kind, &entry.key);
        (needed > 0).then_some(Written { name, cutoff: entry.cutoff, life })
    }

    /// The latest cutoff that a control plane can have written by `now`: its own time, or the time of a token whose
    /// issuer's clock runs ahead by no more than the skew. The margin is for control planes whose clocks differ.
    pub(crate) fn latest_cutoff(&self, now: i64) -> i64 {
        now.saturating_add(self.clock_skew).saturating_add(MARGIN_SECONDS)
    }

    /// The names under which a token may be found, each with the kind of its key.
    pub(crate) fn names(&self, epoch: Epoch, keys: &TokenKeys) -> Vec<(Kind, String)> {
        keys.iter().map(|(kind, key)| (kind, self.name(epoch, kind, &key))).collect()
    }
}

/// What the values under a token's names prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// True if they prove that the token is revoked. False proves nothing: an entry may be missing, and for a token of
    /// the cutoff's own second only the database knows.
    pub(crate) revoked: bool,
    /// How many values Curfew did not write.
    pub(crate) unreadable: u64,
}

/// Judges the values that were found, in the order of the names. No control plane writes a user's cutoff after
/// `latest`. Such a value would refuse all later logins of the user, so the database decides instead.
pub(crate) fn judge(
    names: &[(Kind, String)],
    values: &[Option<Vec<u8>>],
    cutoff_time: Option<i64>,
    latest: i64,
) -> Found {
    let mut found = Found { revoked: false, unreadable: 0 };
    for ((kind, _), value) in names.iter().zip(values) {
        let Some(value) = value else { continue };
        match cutoff(value).filter(|cutoff| *kind != Kind::Subject || *cutoff <= latest) {
            Some(cutoff) => found.revoked |= covers(*kind, cutoff, cutoff_time) == Coverage::Revoked,
            None => found.unreadable += 1,
        }
    }
    found
}

/// A cutoff, if it is written exactly as Curfew writes it.
fn cutoff(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let number: i64 = text.parse().ok()?;
    (number >= 0 && number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch::from_bytes([0xab; 16]);
    const NOW: i64 = 1_000;

    fn rules(least_life: Option<i64>) -> EntryRules {
        EntryRules { prefix: "curfew:".to_owned(), least_life, clock_skew: 5 }
    }

    fn logged(expires_at: i64) -> Logged {
        Logged { seq: 1, kind: Kind::Subject, key: RevocationKey::from_bytes([1; 16]), cutoff: 900, expires_at }
    }

    #[test]
    fn an_entry_is_pinned() {
        let name = "curfew:abababababababababababababababab:subject:01010101010101010101010101010101";
        let written = Written { name: name.to_owned(), cutoff: 900, life: 67 };
        assert_eq!(rules(None).write(EPOCH, &logged(NOW + 67), NOW), Some(written));
        assert_eq!(rules(None).marker(EPOCH), "curfew:abababababababababababababababab:filled");
    }

    #[test]
    fn the_configured_life_lengthens_and_never_shortens() {
        let life = |least, expires_at| rules(least).write(EPOCH, &logged(expires_at), NOW).map(|written| written.life);
        assert_eq!(life(None, NOW + 67), Some(67));
        assert_eq!(life(Some(66), NOW + 67), Some(67));
        assert_eq!(life(Some(67), NOW + 67), Some(67));
        assert_eq!(life(Some(68), NOW + 67), Some(68));
        assert_eq!(life(Some(i64::MAX), NOW + 67), Some(LONGEST_LIFE));
        assert_eq!(life(None, i64::MAX), Some(LONGEST_LIFE));
    }

    #[test]
    fn a_revocation_that_may_be_forgotten_is_not_written() {
        for expires_at in [NOW, NOW - 1, i64::MIN] {
            assert_eq!(rules(Some(3600)).write(EPOCH, &logged(expires_at), NOW), None, "{expires_at}");
        }
        assert_eq!(rules(None).write(EPOCH, &logged(NOW + 1), NOW).map(|written| written.life), Some(1));
    }

    fn judged(kind: Kind, value: Option<&str>, cutoff_time: Option<i64>) -> (bool, u64) {
        let value = value.map(|value| value.as_bytes().to_vec());
        let Found { revoked, unreadable } =
            judge(&[(kind, String::new())], &[value], cutoff_time, rules(None).latest_cutoff(NOW));
        (revoked, unreadable)
    }

    #[test]
    fn an_entry_of_the_token_itself_proves_whatever_its_cutoff() {
        for kind in [Kind::Token, Kind::Jti, Kind::Session] {
            assert_eq!(judged(kind, Some("0"), Some(NOW)), (true, 0));
        }
    }

    #[test]
    fn a_subject_entry_proves_only_when_its_cutoff_is_later() {
        assert_eq!(judged(Kind::Subject, Some("1001"), Some(NOW)), (true, 0));
        assert_eq!(judged(Kind::Subject, Some("1000"), Some(NOW)), (false, 0));
        assert_eq!(judged(Kind::Subject, Some("999"), Some(NOW)), (false, 0));
        assert_eq!(judged(Kind::Subject, Some("1"), None), (false, 0), "the database knows its registration");
    }

    #[test]
    fn a_subject_entry_of_the_future_proves_nothing_and_is_counted() {
        // NOW, the skew and the margin. A token that is dated ahead can make this cutoff, and no token can make a later
        // one.
        let latest = NOW + 5 + 60;
        assert_eq!(judged(Kind::Subject, Some(&latest.to_string()), Some(NOW)), (true, 0));
        assert_eq!(judged(Kind::Subject, Some(&(latest + 1).to_string()), Some(NOW)), (false, 1));
        assert_eq!(judged(Kind::Subject, Some(&i64::MAX.to_string()), None), (false, 1));
        assert_eq!(judged(Kind::Token, Some(&i64::MAX.to_string()), Some(NOW)), (true, 0));
    }

    #[test]
    fn a_value_that_curfew_does_not_write_proves_nothing_and_is_counted() {
        for value in ["", " 1", "1 ", "+1", "-1", "01", "1.0", "revoked", "9223372036854775808", "1\n"] {
            assert_eq!(judged(Kind::Token, Some(value), Some(NOW)), (false, 1), "{value:?}");
        }
        assert_eq!(judge(&[(Kind::Token, String::new())], &[Some(vec![0xff])], None, NOW).unreadable, 1);
        assert_eq!(judged(Kind::Token, None, Some(NOW)), (false, 0));
    }

    #[test]
    fn one_proof_among_the_names_is_enough() {
        let names = [Kind::Token, Kind::Jti, Kind::Subject].map(|kind| (kind, String::new()));
        let values = [None, Some(b"1".to_vec()), Some(b"x".to_vec())];
        assert_eq!(judge(&names, &values, Some(NOW), NOW), Found { revoked: true, unreadable: 1 });
    }
}
