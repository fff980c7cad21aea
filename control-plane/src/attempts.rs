//! Failed logouts, limited by where they come from and by the token they show.
//!
//! A logout that is real is never refused here, because it is never asked about: only when an attempt has failed is it
//! counted, and only then can it be told 429 instead of why it failed. Neither a crowd behind one address nor
//! somebody who plays with another's token can take a logout away from its owner.
//!
//! What the limit does before the verdict is to choose the lane in which a signature is checked: see
//! [`crate::verification`].

use std::time::Duration;

use crate::rate::FailureLimit;
use crate::source::Source;

/// Who tries a logout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where it comes from.
    pub source: Source,
    /// What identifies the token, if one was shown.
    pub token: Option<TokenId>,
}

/// A token apart from its signature: everything that is tried with one signing input counts together. It is the
/// client's word until it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 32]);

impl TokenId {
    /// The id of whatever was sent as a token.
    pub fn of(text: &[u8]) -> Self {
        let signing_input = text.iter().rposition(|byte| *byte == b'.').and_then(|end| text.get(..end));
        Self(hmac_sha256::Hash::hash(signing_input.unwrap_or(text)))
    }
}

/// An attempt that failed as too many did before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// What was counted, for the metrics: `source` or `token`.
    pub by: &'static str,
    /// When one more failure will not be too many.
    pub retry_after: Duration,
}

/// Both limits.
pub struct FailedAttempts {
    by_source: FailureLimit,
    by_token: FailureLimit,
}

impl FailedAttempts {
    /// Failures in a minute for each source and for each token; 0 sets no limit.
    pub fn per_minute(source: u32, token: u32) -> Self {
        Self { by_source: FailureLimit::per_minute(source), by_token: FailureLimit::per_minute(token) }
    }

    /// Whether this one, or one like it, has lately failed too often.
    pub fn is_suspect(&self, attempt: &Attempt) -> bool {
        self.by_source.is_reached(&attempt.source)
            || attempt.token.as_ref().is_some_and(|token| self.by_token.is_reached(token))
    }

    /// Counts an attempt that has failed.
    ///
    /// # Errors
    ///
    /// Too many have.
    pub fn failed(&self, attempt: &Attempt) -> Result<(), TooMany> {
        let source = self.by_source.failed(&attempt.source);
        let token = attempt.token.as_ref().map_or(Ok(()), |token| self.by_token.failed(token));
        let too_many = |by| move |retry_after| TooMany { by, retry_after };
        source.map_err(too_many("source")).and(token.map_err(too_many("token")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(address: &str, token: Option<&[u8]>) -> Attempt {
        let source = Source::of(address.parse().unwrap(), &axum::http::HeaderMap::new(), 0);
        Attempt { source, token: token.map(TokenId::of) }
    }

    #[test]
    fn a_signature_does_not_make_another_token() {
        assert_eq!(TokenId::of(b"a.b.c"), TokenId::of(b"a.b.d"));
        assert_ne!(TokenId::of(b"a.b.c"), TokenId::of(b"a.c.c"));
        assert_ne!(TokenId::of(b"abc"), TokenId::of(b"abd"));
    }

    #[tokio::test(start_paused = true)]
    async fn each_limit_holds_by_itself() {
        let failed = FailedAttempts::per_minute(4, 2);
        let from = |last| attempt(&format!("192.0.2.{last}"), Some(b"a.b.c"));
        assert_eq!(failed.failed(&from(1)), Ok(()));
        assert_eq!(failed.failed(&from(2)), Ok(()));
        let too_many = TooMany { by: "token", retry_after: Duration::from_secs(30) };
        assert_eq!(failed.failed(&from(3)), Err(too_many));
        assert!(failed.is_suspect(&from(4)));
        assert!(!failed.is_suspect(&attempt("192.0.2.4", Some(b"a.other.c"))));
        for _ in 0..4 {
            assert_eq!(failed.failed(&attempt("192.0.2.9", None)), Ok(()));
        }
        let too_many = TooMany { by: "source", retry_after: Duration::from_secs(15) };
        assert_eq!(failed.failed(&attempt("192.0.2.9", None)), Err(too_many));
        assert!(failed.is_suspect(&attempt("192.0.2.9", Some(b"a.other.c"))));
    }
}
