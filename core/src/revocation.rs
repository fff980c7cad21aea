//! How a token becomes revocation keys, and when a revocation covers a token.
//!
//! A key is computed from what the issuer *signed*, never from the token's text. The signature can be respelled without
//! any key: an ECDSA signature `(r, s)` has the twin `(r, n-s)`. A blacklist of texts can be bypassed with such a twin.

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
    /// All tokens of a session, by `iss` and `sid`.
    Session,
    /// All tokens of a user that were issued up to a moment, by `iss` and the user claim.
    Subject,
}

impl Kind {
    /// The name that is stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Jti => "jti",
            Self::Session => "session",
            Self::Subject => "subject",
        }
    }

    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Token, Self::Jti, Self::Session, Self::Subject].into_iter().find(|kind| kind.as_str() == name)
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

    /// The key of one session (`sid`) of an issuer.
    pub fn session(issuer: &str, session: &str) -> Self {
        Self(labelled("curfew:v1:session", &[issuer.as_bytes(), session.as_bytes()]))
    }

    /// The key of one user of an issuer. Nothing is normalised: two spellings of a user are two users.
    pub fn subject(issuer: &str, user: &str) -> Self {
        Self(labelled("curfew:v1:subject", &[issuer.as_bytes(), user.as_bytes()]))
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
    /// Present if the token carries `sid`.
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
/// Token, `jti` and session entries always cover. A subject entry covers tokens that were issued before its cutoff. A
/// token that does not say when it was issued is judged by its registration, as one of the cutoff's own second is:
/// nothing else shows that it is newer.
pub fn covers(kind: Kind, cutoff: i64, issued_at: Option<i64>) -> Coverage {
    match (kind, issued_at) {
        (Kind::Token | Kind::Jti | Kind::Session, _) => Coverage::Revoked,
        (Kind::Subject, None) => Coverage::SameSecond,
        (Kind::Subject, Some(issued_at)) if issued_at > cutoff => Coverage::Clear,
        (Kind::Subject, Some(issued_at)) if issued_at == cutoff => Coverage::SameSecond,
        (Kind::Subject, Some(_)) => Coverage::Revoked,
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
        ]
        .map(|(key, kind)| format!("{kind} {key}"));
        assert_eq!(
            pinned,
            [
                "token e75e2f1bd181b1b0e32a20fa939f3f8a",
                "jti 9b86a8bd0f8fe2fa8727dfb99a47cd90",
                "session 71cfcf58a98df2e134172e49b5a6899d",
                "subject 99e591fcdc79bfdc44241c90e1c1dcd5"
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
        for kind in [Kind::Token, Kind::Jti, Kind::Session, Kind::Subject] {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::parse("Token"), None);
    }
}
