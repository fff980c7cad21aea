//! What becomes of a user's log entries when all other sessions are logged out, more than once and from more than one session.
//! Pure.
//!
//! An `others` entry covers what was issued up to its cutoff, except what is spared with the same cutoff. Of two such logouts,
//! from two sessions, the later one covers the session that the earlier one spared, and the earlier one covers the session of
//! the later one up to its own cutoff. So together they are: everything up to the earlier cutoff, and the others up to the later.

/// The cutoffs of the entries that are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldOthers {
    /// Of the user's `others` entry.
    pub others: Option<i64>,
    /// Of the entry that spares the session from which the logout comes.
    pub spared: Option<i64>,
}

/// The cutoffs of the entries to write, seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OthersChange {
    /// Of a `subject` entry: everything up to here is revoked.
    pub all: Option<i64>,
    /// Of the `others` entry.
    pub others: i64,
    /// Of the `spared` entry.
    pub spared: Option<i64>,
}

impl HeldOthers {
    /// True if a logout of all other sessions with this cutoff would make nothing of them that they are not.
    pub(crate) fn say_all_of(self, cutoff: i64) -> bool {
        self.others == self.spared && self.others >= Some(cutoff)
    }

    /// What a logout of all other sessions with this cutoff makes of them.
    pub fn followed_by(self, cutoff: i64) -> OthersChange {
        let Some(before) = self.others else {
            return OthersChange { all: None, others: cutoff, spared: Some(cutoff) };
        };
        let others = before.max(cutoff);
        if self.spared == Some(before) {
            // It comes from the same session again.
            return OthersChange { all: None, others, spared: Some(others) };
        }
        // If the clock has gone back, the earlier entry stays as it is, with what it spares.
        let spared = (cutoff >= before).then_some(cutoff);
        OthersChange { all: Some(before.min(cutoff)), others, spared }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What logouts mean, one by one: (session that stays, cutoff).
    fn is_revoked(logouts: &[(u8, i64)], session: u8, issued_at: i64) -> bool {
        logouts.iter().any(|(stays, cutoff)| *stays != session && issued_at <= *cutoff)
    }

    #[derive(Default)]
    struct Entries {
        all: Option<i64>,
        others: Option<i64>,
        spared: BTreeMap<u8, i64>,
    }

    impl Entries {
        fn logout(&mut self, (session, cutoff): (u8, i64)) {
            let held = HeldOthers { others: self.others, spared: self.spared.get(&session).copied() };
            let change = held.followed_by(cutoff);
            self.all = self.all.max(change.all);
            self.others = Some(change.others);
            if let Some(cutoff) = change.spared {
                self.spared.insert(session, cutoff);
            }
        }

        fn cover(&self, session: u8, issued_at: i64) -> bool {
            let spared = self.others.is_some_and(|cutoff| self.spared.get(&session) >= Some(&cutoff));
            self.all >= Some(issued_at) || (self.others >= Some(issued_at) && !spared)
        }
    }

    /// Every sequence of four logouts from three sessions at four times.
    #[test]
    fn the_entries_cover_what_the_logouts_revoke() {
        let steps: Vec<_> = (0..3).flat_map(|session| (10..14).map(move |cutoff| (session, cutoff))).collect();
        let mut seen = 0;
        for number in 0..steps.len().pow(4) {
            let logouts: Vec<_> = (0..4).map(|place| steps[number / steps.len().pow(place) % steps.len()]).collect();
            let mut entries = Entries::default();
            for count in 1..=logouts.len() {
                entries.logout(logouts[count - 1]);
                for (session, issued_at) in
                    (0..4).flat_map(|session| (9..16).map(move |issued_at| (session, issued_at)))
                {
                    let expected = is_revoked(&logouts[..count], session, issued_at);
                    assert_eq!(
                        entries.cover(session, issued_at),
                        expected,
                        "{:?} {session} {issued_at}",
                        &logouts[..count]
                    );
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 12_usize.pow(4) * 4 * 28);
    }
}
