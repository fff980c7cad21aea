//! How a token becomes revocation keys, and when a revocation covers a token.
//!
//! A key is computed from what the issuer *signed*, never from the token's text. The signature can be respelled without
//! any key: an ECDSA signature `(r, s)` has the twin `(r, n-s)`. A blacklist of texts can be bypassed with such a twin.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::{labelled, sixteen_bytes, truncated};

sixteen_bytes! {
    /// What a revocation names: a token, a `jti`, a session or a subject, as the first 16 bytes of a SHA-256.
    ///
    /// 128 bits are enough: an attacker gains nothing from a collision of two of the attacker's own keys, and a second
    /// preimage of another user's key costs 2^128. The inputs are separated by kind and each part is preceded by its
    /// length; otherwise issuer `a` with user `bc` and issuer `ab` with user `c` would log each other out.
    RevocationKey
}

sixteen_bytes! {
    /// Names the rule by which tokens become keys and by which their revocations are kept: the issuer namespace, the
    /// claims that are read, and how long a token may live.
    ///
    /// The filter sends it with each question. A control plane that computes keys by another rule would answer "not
    /// revoked" about keys that it does not know. One that assumes a shorter life of tokens would forget a logout while
    /// the filter still admits the tokens. With the keyspace it refuses such a question instead.
    Keyspace
}

/// What a revocation revokes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One token, by its token id.
    Token,
    /// One token, by `iss` and `jti`.
    Jti,
    /// All tokens of a session, by `iss` and the session claim.
    Session,
    /// All tokens of a user that were issued up to a moment, by `iss` and the user claim.
    Subject,
    /// The same tokens, except those that a [`Kind::Spared`] entry spares whose cutoff is not earlier. By the user's key.
    Others,
    /// What a [`Kind::Others`] entry spares: a session or a token, by [`RevocationKey::spared`]. It covers no token.
    ///
    /// It belongs to the entry of the same cutoff. When the user next logs out all other sessions from another session, the
    /// entry gets a later cutoff, and what this one spared is spared no more. It comes in the log before its entry, so a copy
    /// of the log may hold it beside the entry from before, whose cutoff is earlier. It spares from that one too: the change
    /// begins with a [`Kind::Subject`] entry that covers what the earlier one did.
    Spared,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Token, Self::Jti, Self::Session, Self::Subject, Self::Others, Self::Spared];

    /// The name that is stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Others => "others",
            Self::Spared => "spared",
            Self::Token => "token",
            Self::Jti => "jti",
            Self::Session => "session",
            Self::Subject => "subject",
        }
    }

    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl RevocationKey {
    /// The token id: over the JWS signing input `header.payload` (RFC 7515 section 5.1), the bytes that were signed.
    ///
    /// The other kinds start with a label with a colon in it, and no signing input has a colon.
    pub fn token(signing_input: &[u8]) -> Self {
        Self(truncated(Sha256::digest(signing_input).into()))
    }

    /// The key of one `jti` of an issuer.
    pub fn jti(issuer: &str, jti: &str) -> Self {
        Self(labelled("curfew:v1:jti", &[issuer.as_bytes(), jti.as_bytes()]))
    }

    /// The key of one session of an issuer, which its tokens name in the issuer's session claim.
    pub fn session(issuer: &str, session: &str) -> Self {
        Self(labelled("curfew:v1:session", &[issuer.as_bytes(), session.as_bytes()]))
    }

    /// The key of one user of an issuer. Nothing is normalised: two spellings of a user are two users.
    pub fn subject(issuer: &str, user: &str) -> Self {
        Self(labelled("curfew:v1:subject", &[issuer.as_bytes(), user.as_bytes()]))
    }

    /// The key of what a user's [`Kind::Others`] entry spares: `what` is the key of a session or of a token.
    pub fn spared(subject: &Self, what: &Self) -> Self {
        Self(labelled("curfew:v1:spared", &[&subject.0, &what.0]))
    }
}

impl Keyspace {
    /// The keyspace of these parts. Both sides name them in the same order.
    pub(crate) fn new(parts: &[&str]) -> Self {
        Self(labelled("curfew:v1:keyspace", &parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>()))
    }
}

/// All keys under which one token can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenKeys {
    /// The token id.
    pub token: RevocationKey,
    /// Present if the token carries `jti`.
    pub jti: Option<RevocationKey>,
    /// Present if the token carries the session claim.
    pub session: Option<RevocationKey>,
    /// Present if the token carries the user claim.
    pub subject: Option<RevocationKey>,
}

impl TokenKeys {
    /// The keys of this token, each with its kind.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, RevocationKey)> {
        [
            (Kind::Token, Some(self.token)),
            (Kind::Jti, self.jti),
            (Kind::Session, self.session),
            (Kind::Subject, self.subject),
        ]
        .into_iter()
        .filter_map(|(kind, key)| key.map(|key| (kind, key)))
    }

    /// What spares this token where a [`Kind::Others`] entry names its user: its session, and the token itself.
    fn spared_by(&self) -> [Option<RevocationKey>; 2] {
        let by = |what: RevocationKey| self.subject.map(|subject| RevocationKey::spared(&subject, &what));
        [self.session.and_then(by), by(self.token)]
    }

    /// The keys under which entries matter for this token: its own, the token's first, and what spares it.
    pub fn looked_up(&self) -> [Option<RevocationKey>; 6] {
        let [by_session, by_token] = self.spared_by();
        [Some(self.token), self.jti, self.session, self.subject, by_session, by_token]
    }

    /// True if an entry of this kind and key matters for this token.
    pub fn concerns(&self, kind: Kind, key: &RevocationKey) -> bool {
        match kind {
            Kind::Others => self.subject.as_ref() == Some(key),
            Kind::Spared => self.spared_by().contains(&Some(*key)),
            _ => self.iter().any(|own| own == (kind, *key)),
        }
    }

    /// What all revocations together mean for this token. `issued_at` is in seconds of Unix time. `find` gives the cutoff of the
    /// entry of a kind and a key, if there is one.
    pub fn coverage(
        &self,
        issued_at: Option<i64>,
        mut find: impl FnMut(Kind, &RevocationKey) -> Option<i64>,
    ) -> Coverage {
        let own = self.iter().filter_map(|(kind, key)| Some(covers(kind, find(kind, &key)?, issued_at))).max();
        let own = own.unwrap_or(Coverage::Clear);
        // Most users have no such entry, and then nothing more is computed.
        let others = self.subject.and_then(|subject| find(Kind::Others, &subject));
        let as_other = others.map_or(Coverage::Clear, |cutoff| {
            let coverage = covers(Kind::Others, cutoff, issued_at);
            let mut spared = || self.spared_by().iter().flatten().any(|key| find(Kind::Spared, key) >= Some(cutoff));
            if coverage > own && !spared() { coverage } else { Coverage::Clear }
        });
        own.max(as_other)
    }
}

/// What a revocation means for a token whose key it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coverage {
    /// The token was issued after the cutoff.
    Clear,
    /// The token was issued in the second of the cutoff, or does not say when. Only the control plane may know whether
    /// that was before or after the cutoff, by the token's registration.
    SameSecond,
    /// The token is revoked.
    Revoked,
}

/// Tells whether a revocation of `kind` with `cutoff` covers a token issued at `issued_at`, both in seconds of Unix
/// time.
///
/// Token, `jti` and session entries always cover. A subject entry covers tokens that were issued before its cutoff, and so
/// does an entry for others, unless the token is spared. A token that does not say when it was issued is judged by its
/// registration, as one of the cutoff's own second is: nothing else shows that it is newer.
pub fn covers(kind: Kind, cutoff: i64, issued_at: Option<i64>) -> Coverage {
    match (kind, issued_at) {
        (Kind::Token | Kind::Jti | Kind::Session, _) => Coverage::Revoked,
        (Kind::Subject | Kind::Others, None) => Coverage::SameSecond,
        (Kind::Subject | Kind::Others, Some(issued_at)) => match issued_at.cmp(&cutoff) {
            Ordering::Less => Coverage::Revoked,
            Ordering::Equal => Coverage::SameSecond,
            Ordering::Greater => Coverage::Clear,
        },
        (Kind::Spared, _) => Coverage::Clear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored rows and other versions of the filter hold these keys, so they never change.
    #[test]
    fn the_keys_are_pinned() {
        let pinned = [
            (RevocationKey::token(b"e30.e30"), "token"),
            (RevocationKey::jti("https://issuer.example.com", "1"), "jti"),
            (RevocationKey::session("https://issuer.example.com", "1"), "session"),
            (RevocationKey::subject("https://issuer.example.com", "1"), "subject"),
            (RevocationKey::spared(&RevocationKey([1; 16]), &RevocationKey([2; 16])), "spared"),
        ]
        .map(|(key, kind)| format!("{kind} {key}"));
        assert_eq!(
            pinned,
            [
                "token e75e2f1bd181b1b0e32a20fa939f3f8a",
                "jti 9b86a8bd0f8fe2fa8727dfb99a47cd90",
                "session 71cfcf58a98df2e134172e49b5a6899d",
                "subject 99e591fcdc79bfdc44241c90e1c1dcd5",
                "spared aeae6e2e8034db5089452d0d7bbe4b5e"
            ]
        );
        assert_eq!(
            Keyspace::new(&["https://issuer.example.com", "sub", "iat"]).to_string(),
            "9b29c1f0bba6c32dc5c1a8a58007e66a"
        );
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        assert_ne!(RevocationKey::subject("a", "bc"), RevocationKey::subject("ab", "c"));
        assert_ne!(RevocationKey::subject("", "a"), RevocationKey::subject("a", ""));
    }

    #[test]
    fn an_identifier_has_one_spelling() {
        let key = RevocationKey::token(b"e30.e30");
        assert_eq!(key.to_string().parse(), Ok(key));
        let wrong = ["", "00", &"0".repeat(31), &"0".repeat(33), &"A".repeat(32), &"g".repeat(32)];
        for text in wrong {
            assert!(text.parse::<RevocationKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_subject_entry_covers_what_was_issued_before_its_cutoff() {
        assert_eq!(covers(Kind::Subject, 100, Some(99)), Coverage::Revoked);
        assert_eq!(covers(Kind::Subject, 100, Some(100)), Coverage::SameSecond);
        assert_eq!(covers(Kind::Subject, 100, Some(101)), Coverage::Clear);
        assert_eq!(covers(Kind::Subject, 100, None), Coverage::SameSecond);
    }

    #[test]
    fn the_other_entries_always_cover() {
        for kind in [Kind::Token, Kind::Jti, Kind::Session] {
            assert_eq!(covers(kind, 0, Some(i64::MAX)), Coverage::Revoked);
        }
    }

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!(Kind::parse("Token"), None);
    }

    fn key(byte: u8) -> RevocationKey {
        RevocationKey([byte; 16])
    }

    /// A token of this session; its own key is 1 and its user 4.
    fn of_session(session: Option<u8>) -> TokenKeys {
        TokenKeys { token: key(1), jti: None, session: session.map(key), subject: Some(key(4)) }
    }

    fn by(entries: &[(Kind, RevocationKey, i64)], keys: &TokenKeys, issued_at: Option<i64>) -> Coverage {
        keys.coverage(issued_at, |kind, key| {
            entries.iter().find(|entry| (entry.0, &entry.1) == (kind, key)).map(|entry| entry.2)
        })
    }

    #[test]
    fn the_entry_for_others_spares_one_session_or_one_token() {
        let others = (Kind::Others, key(4), 100);
        for (spared, mine, spares) in [
            (Some(7), Some(7), true),
            (Some(7), Some(8), false),
            (Some(7), None, false),
            (None, None, true),
            (None, Some(8), true),
        ] {
            let what = spared.map_or(key(1), key);
            let entries = [others, (Kind::Spared, RevocationKey::spared(&key(4), &what), 100)];
            let coverage = |issued_at| by(&entries, &of_session(mine), issued_at);
            let expected = |covered| if spares { Coverage::Clear } else { covered };
            assert_eq!(coverage(Some(99)), expected(Coverage::Revoked), "{spared:?} {mine:?}");
            assert_eq!(coverage(Some(100)), expected(Coverage::SameSecond), "{spared:?} {mine:?}");
            assert_eq!(coverage(None), expected(Coverage::SameSecond), "{spared:?} {mine:?}");
            assert_eq!(coverage(Some(101)), Coverage::Clear);
        }
        let other_user = TokenKeys { subject: Some(key(5)), ..of_session(Some(7)) };
        assert_eq!(by(&[others], &other_user, Some(99)), Coverage::Clear);
        assert_eq!(by(&[others], &TokenKeys { subject: None, ..other_user }, Some(99)), Coverage::Clear);
    }

    #[test]
    fn what_is_spared_is_not_spared_from_a_later_entry() {
        let spared = |cutoff| (Kind::Spared, RevocationKey::spared(&key(4), &key(7)), cutoff);
        let mine = of_session(Some(7));
        assert_eq!(by(&[(Kind::Others, key(4), 101), spared(100)], &mine, Some(99)), Coverage::Revoked);
        assert_eq!(
            by(&[(Kind::Others, key(4), 100), spared(100), (Kind::Subject, key(4), 50)], &mine, Some(50)),
            Coverage::SameSecond
        );
        assert_eq!(
            by(&[(Kind::Others, key(4), 100), spared(100), (Kind::Session, key(7), 0)], &mine, Some(99)),
            Coverage::Revoked
        );
        assert_eq!(
            by(&[(Kind::Others, key(4), 99), spared(100)], &mine, Some(99)),
            Coverage::Clear,
            "a page may end between the two"
        );
        assert_eq!(by(&[spared(100)], &mine, Some(99)), Coverage::Clear, "it covers nothing itself");
    }
}
