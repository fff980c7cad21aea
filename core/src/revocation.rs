//! How a token becomes revocation keys, and when a revocation covers a token.
//!
//! A key is computed from what the issuer *signed*, never from the token's text. The signature can be respelled
//! without any key (an ECDSA signature `(r, s)` has the twin `(r, n-s)`), and a blacklist of texts falls to that.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::sixteen_bytes;

sixteen_bytes! {
    /// What a revocation names: a token, a `jti`, a session or a subject, as the first 16 bytes of a SHA-256.
    ///
    /// 128 bits because nobody gains from a collision of two keys of their own, and a second preimage of somebody
    /// else's costs 2^128. The inputs are separated by kind and each part is preceded by its length; otherwise
    /// issuer `a` with user `bc` and issuer `ab` with user `c` would log each other out.
    RevocationKey
}

sixteen_bytes! {
    /// Names the rule by which tokens become keys and by which their revocations are kept: the issuer namespace, the
    /// claims that are read, and how long a token may live.
    ///
    /// The filter sends it with each question. A control plane that computes keys by another rule would answer "not
    /// revoked" to keys it has never heard of, and one that takes tokens to live shorter would forget a logout while the
    /// filter still admits them; with this it refuses the question instead.
    Keyspace
}

/// What a revocation is about.
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
    /// The other kinds start with a label that holds a colon, which no signing input can.
    pub fn token(signing_input: &[u8]) -> Self {
        Self(truncated(Sha256::digest(signing_input).into()))
    }

    /// The key of one `jti` of an issuer.
    pub fn jti(issuer: &str, jti: &str) -> Self {
        Self(labelled("curfew:v1:jti", &[issuer, jti]))
    }

    /// The key of one session (`sid`) of an issuer.
    pub fn session(issuer: &str, session: &str) -> Self {
        Self(labelled("curfew:v1:session", &[issuer, session]))
    }

    /// The key of one user of an issuer. Two spellings of a user are two users: nothing is normalised.
    pub fn subject(issuer: &str, user: &str) -> Self {
        Self(labelled("curfew:v1:subject", &[issuer, user]))
    }
}

impl Keyspace {
    /// The keyspace of these parts, in an order that both sides share.
    pub(crate) fn new(parts: &[&str]) -> Self {
        Self(labelled("curfew:v1:keyspace", parts))
    }
}

fn labelled(label: &str, parts: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(label.as_bytes());
    for part in parts {
        // usize to u64 widens on every platform Curfew is built for.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    truncated(hash.finalize().into())
}

fn truncated(digest: [u8; 32]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = from;
    }
    bytes
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
    /// The keys that this token has, each with its kind.
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

/// What a revocation whose key matches says of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coverage {
    /// The token was issued after the cutoff.
    Clear,
    /// The token was issued in the cutoff's second, before or after: only who saw it issued can tell.
    SameSecond,
    /// The token is revoked.
    Revoked,
}

/// Whether a revocation of `kind` with `cutoff` covers a token issued at `issued_at`, both in seconds of Unix time.
///
/// Token, `jti` and session entries cover always. A subject entry covers what was issued before its cutoff; a token
/// that does not say when it was issued is covered, for nothing shows that it is newer.
pub fn covers(kind: Kind, cutoff: i64, issued_at: Option<i64>) -> Coverage {
    match (kind, issued_at) {
        (Kind::Token | Kind::Jti | Kind::Session, _) | (Kind::Subject, None) => Coverage::Revoked,
        (Kind::Subject, Some(issued_at)) if issued_at > cutoff => Coverage::Clear,
        (Kind::Subject, Some(issued_at)) if issued_at == cutoff => Coverage::SameSecond,
        (Kind::Subject, Some(_)) => Coverage::Revoked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored rows and other versions of the filter hold these keys: they never change.
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
        assert_eq!(covers(Kind::Subject, 100, None), Coverage::Revoked);
    }

    #[test]
    fn the_other_entries_cover_always() {
        for kind in [Kind::Token, Kind::Jti, Kind::Session] {
            assert_eq!(covers(kind, 0, Some(i64::MAX)), Coverage::Revoked);
        }
    }

    #[test]
    fn kinds_go_by_their_names() {
        for kind in [Kind::Token, Kind::Jti, Kind::Session, Kind::Subject] {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::parse("Token"), None);
    }
}
