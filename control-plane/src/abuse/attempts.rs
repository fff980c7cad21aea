//! Failed logouts, limited by where they come from and by the token they show.
//!
//! A real logout is never refused here: only a failed attempt is counted, and only a failed attempt can be answered 429
//! instead of its reason. So neither a crowd behind one address nor an attacker that shows another user's token with
//! wrong signatures can take a logout away from that user.
//!
//! Before an attempt has failed, the limit by source only chooses the lane in which a signature is checked: see
//! [`crate::abuse::lanes`]. The token has no part in that, because any client can put another user's token into a
//! request.

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::limit::FailureLimit;
use super::source::Source;

/// The failures in a minute that make a source suspect where no limit is configured.
const LANE_LIMIT: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);

/// The limit of a wider network, as a multiple of a source's limit. One customer can have many sources in a network.
const NETWORK: NonZeroU32 = NonZeroU32::MIN.saturating_add(15);

/// One attempt at a logout.
#[derive(Debug)]
pub struct Attempt {
    /// Where it comes from.
    pub source: Source,
    /// The token that it shows, if it shows one.
    token: OnceLock<TokenId>,
    begun: AtomicBool,
    succeeded: AtomicBool,
}

impl Attempt {
    /// A new attempt. It has cost nothing yet.
    pub const fn from(source: Source) -> Self {
        Self { source, token: OnceLock::new(), begun: AtomicBool::new(false), succeeded: AtomicBool::new(false) }
    }

    /// Notes the token that it shows.
    pub fn shows(&self, token: TokenId) {
        // An attempt shows one token at most.
        let _ = self.token.set(token);
    }

    /// The token that it shows.
    pub fn token(&self) -> Option<&TokenId> {
        self.token.get()
    }

    /// Notes that the check of its signature begins.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Notes that its command has been carried out.
    pub fn succeed(&self) {
        self.succeeded.store(true, Ordering::Relaxed);
    }

    /// True if it counts as failed when its caller goes away without an answer: it has cost a check of a signature, and has
    /// not succeeded.
    pub fn counts_unanswered(&self) -> bool {
        self.begun.load(Ordering::Relaxed) && !self.succeeded.load(Ordering::Relaxed)
    }
}

/// A token without its signature, so that all attempts with one signing input count together. It is the client's claim until
/// the signature is verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 32]);

impl TokenId {
    /// The id of a token's text.
    pub fn of(text: &[u8]) -> Self {
        let signing_input = text.iter().rposition(|byte| *byte == b'.').and_then(|end| text.get(..end));
        Self(Sha256::digest(signing_input.unwrap_or(text)).into())
    }
}

/// Too many attempts have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// What was counted, for the metrics: `source`, `network` or `token`.
    pub by: &'static str,
    /// The time until one more failure is within the limit.
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
    /// Whether a failure over the limit by source is answered 429. Failures are counted in any case, for the lanes.
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

    /// Whether attempts from this source, or from its wider network, have lately failed too often.
    pub fn is_suspect(&self, source: &Source) -> bool {
        self.by_source.is_suspect(source)
            || source.network().is_some_and(|network| self.by_network.is_suspect(&network))
    }

    /// Counts a failed attempt. `token` is the token that it showed, and is given only if the signature was refused, or
    /// was good and the token is revoked. Other texts may never have been signed, and would only fill the cells of real
    /// tokens.
    ///
    /// # Errors
    ///
    /// Too many attempts have failed. An attempt over one limit is not counted against the following ones, which others
    /// share.
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
    async fn failures_with_one_token_do_not_make_their_sources_suspect() {
        let failed = FailedAttempts::per_minute(4, 2);
        let token = TokenId::of(b"a.b.c");
        let from = |last| source(&format!("192.0.2.{last}"));
        assert_eq!(failed.failed(&from(1), Some(&token)), Ok(()));
        assert_eq!(failed.failed(&from(2), Some(&token)), Ok(()));
        assert_eq!(failed.failed(&from(3), Some(&token)), too_many("token", 30));
        assert!((1..5).all(|last| !failed.is_suspect(&from(last))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_over_its_limit_does_not_use_up_a_tokens_limit() {
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
    async fn without_a_limit_no_caller_is_refused_and_lanes_are_still_chosen() {
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
