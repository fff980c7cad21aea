//! Failed logouts, limited by where they come from and by the token they show.
//!
//! A logout that is real is never refused here, because it is never asked about: only when an attempt has failed is it
//! counted, and only then can it be told 429 instead of why it failed. Neither a crowd behind one address nor
//! somebody who plays with another's token can take a logout away from its owner.
//!
//! What the limit by source does before the verdict is to choose the lane in which a signature is checked: see
//! [`crate::abuse::lanes`]. The token has no say in that: anybody can write another's into a request.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::abuse::limit::FailureLimit;
use crate::abuse::source::Source;

/// By what lanes are chosen where failures of a source are not limited.
const LANE_LIMIT: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);

/// How many times a source's failures the wider network of it may have, of which one customer can have many sources.
const NETWORK: NonZeroU32 = NonZeroU32::MIN.saturating_add(15);

/// One attempt at a logout.
#[derive(Debug)]
pub struct Attempt {
    /// Where it comes from.
    pub source: Source,
    begun: AtomicBool,
}

impl Attempt {
    /// One that has cost nothing yet.
    pub const fn from(source: Source) -> Self {
        Self { source, begun: AtomicBool::new(false) }
    }

    /// The check of a signature begins for it.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Whether that has happened: it counts as failed then, unless somebody waits for the answer.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }
}

/// A token apart from its signature: everything that is tried with one signing input counts together. It is the
/// client's word until it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 32]);

impl TokenId {
    /// The id of a token's text.
    pub fn of(text: &[u8]) -> Self {
        let signing_input = text.iter().rposition(|byte| *byte == b'.').and_then(|end| text.get(..end));
        Self(hmac_sha256::Hash::hash(signing_input.unwrap_or(text)))
    }
}

/// An attempt that failed as too many did before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// What was counted, for the metrics: `source`, `network` or `token`.
    pub by: &'static str,
    /// When one more failure will not be too many.
    pub retry_after: Duration,
}

impl TooMany {
    const fn by(by: &'static str) -> impl FnOnce(Duration) -> Self {
        move |retry_after| Self { by, retry_after }
    }
}

/// All limits.
pub struct FailedAttempts {
    by_source: FailureLimit,
    by_network: FailureLimit,
    /// Whether a source is told; it is counted in any case, for the lanes.
    limits_sources: bool,
    by_token: Option<FailureLimit>,
}

impl FailedAttempts {
    /// Failures in a minute for each source and for each token; 0 sets no limit.
    pub fn per_minute(source: u32, token: u32) -> Self {
        let limit = NonZeroU32::new(source).unwrap_or(LANE_LIMIT);
        Self {
            by_source: FailureLimit::per_minute(limit),
            by_network: FailureLimit::per_minute(limit.saturating_mul(NETWORK)),
            limits_sources: source > 0,
            by_token: NonZeroU32::new(token).map(FailureLimit::per_minute),
        }
    }

    /// Whether attempts from there have lately failed too often.
    pub fn is_suspect(&self, source: &Source) -> bool {
        self.by_source.is_suspect(source)
            || source.network().is_some_and(|network| self.by_network.is_suspect(&network))
    }

    /// Counts an attempt that has failed. `token` is the one that was shown, where it failed by its signature or by
    /// what a signature proves: a text that was never signed would only fill the cells of others.
    ///
    /// # Errors
    ///
    /// Too many have. Whoever is over the first limit uses up none of the next ones, which others share.
    pub fn failed(&self, source: &Source, token: Option<&TokenId>) -> Result<(), TooMany> {
        let source = self.source_failed(source);
        if self.limits_sources {
            source?;
        }
        let (Some(limit), Some(token)) = (&self.by_token, token) else { return Ok(()) };
        limit.failed(token).map_err(TooMany::by("token"))
    }

    fn source_failed(&self, source: &Source) -> Result<(), TooMany> {
        self.by_source.failed(source).map_err(TooMany::by("source"))?;
        let Some(network) = source.network() else { return Ok(()) };
        self.by_network.failed(&network).map_err(TooMany::by("network"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap(), &axum::http::HeaderMap::new(), 0)
    }

    fn too_many(by: &'static str, seconds: u64) -> Result<(), TooMany> {
        Err(TooMany { by, retry_after: Duration::from_secs(seconds) })
    }

    #[test]
    fn a_signature_does_not_make_another_token() {
        assert_eq!(TokenId::of(b"a.b.c"), TokenId::of(b"a.b.d"));
        assert_ne!(TokenId::of(b"a.b.c"), TokenId::of(b"a.c.c"));
        assert_ne!(TokenId::of(b"abc"), TokenId::of(b"abd"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_others_play_with_makes_nobody_suspect() {
        let failed = FailedAttempts::per_minute(4, 2);
        let token = TokenId::of(b"a.b.c");
        let from = |last| source(&format!("192.0.2.{last}"));
        assert_eq!(failed.failed(&from(1), Some(&token)), Ok(()));
        assert_eq!(failed.failed(&from(2), Some(&token)), Ok(()));
        assert_eq!(failed.failed(&from(3), Some(&token)), too_many("token", 30));
        assert!((1..5).all(|last| !failed.is_suspect(&from(last))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_over_its_limit_uses_up_nothing_of_a_tokens() {
        let failed = FailedAttempts::per_minute(2, 3);
        let (mallory, token) = (source("192.0.2.9"), TokenId::of(b"a.b.c"));
        for _ in 0..2 {
            assert_eq!(failed.failed(&mallory, None), Ok(()));
        }
        for _ in 0..10 {
            assert_eq!(failed.failed(&mallory, Some(&token)), too_many("source", 30));
        }
        assert!(failed.is_suspect(&mallory));
        let by_token = failed.by_token.as_ref().unwrap();
        assert_eq!([(); 4].map(|()| by_token.failed(&token).is_ok()), [true, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn many_networks_of_one_customer_are_counted_together_too() {
        let failed = FailedAttempts::per_minute(2, 0);
        let from = |number: u32| source(&format!("2001:db8:1:{number:x}::1"));
        let refused =
            (0..100).find_map(|number| failed.failed(&from(number), None).err().filter(|e| e.by == "network"));
        assert_eq!(refused.map(|refused| refused.by), Some("network"));
        assert!(failed.is_suspect(&from(1_000)));
        assert!(!failed.is_suspect(&source("2001:db8:2::1")) || !failed.is_suspect(&source("2001:db8:3::1")));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nobody_is_told_and_lanes_are_chosen_all_the_same() {
        let failed = FailedAttempts::per_minute(0, 0);
        let mallory = source("192.0.2.9");
        for _ in 0..60 {
            assert_eq!(failed.failed(&mallory, Some(&TokenId::of(b"a.b.c"))), Ok(()));
        }
        assert!(!failed.is_suspect(&mallory));
        assert_eq!(failed.failed(&mallory, None), Ok(()));
        assert!(failed.is_suspect(&mallory));
    }
}
