//! One document: asks for a URL and follows redirects, each of them by the same rules as the first URL.

use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ETAG, LOCATION};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout_at};

use super::caching::{fresh_for, retry_after};
use super::exchange::{Reply, ask, ask_encrypted, connect};
use super::failure::{Cause, Document, FetchFailure, NotFollowed};
use super::resolve::{Resolve, addresses};
use super::trust::Trust;
use crate::keys::source::{KeyUrl, Reach};

/// How many redirects are followed. A loop ends here too.
const MOST_REDIRECTS: usize = 5;

/// The longest `ETag` that is kept, in bytes.
const LONGEST_ETAG: usize = 200;

/// What one fetch is done with.
pub(super) struct Client<'f> {
    pub(super) resolve: &'f Resolve,
    pub(super) trust: &'f Trust,
    pub(super) ca_file: Option<&'f Path>,
    pub(super) reach: Reach,
    pub(super) timeout: Duration,
    /// When the time is over, for all documents together.
    pub(super) deadline: Instant,
}

/// A document, or the word that it is the one that is known.
pub(super) enum Answer {
    Body { bytes: Vec<u8>, etag: Option<String>, fresh_for: Option<Duration> },
    NotModified { fresh_for: Option<Duration> },
}

impl Client<'_> {
    /// Gets a document. `known` is the `etag` of an earlier [`Answer`].
    pub(super) async fn get(
        &self,
        document: Document,
        url: &KeyUrl,
        known: Option<&str>,
    ) -> Result<Answer, FetchFailure> {
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let failed = |cause| FetchFailure::new(document, &url, cause);
            let etag = known.and_then(|known| known.strip_prefix(&place_of(&url)));
            let reply = self.reply(&url, etag).await.map_err(failed)?;
            if !is_redirect(reply.status) {
                return answer(reply, &url, etag.is_some()).map_err(failed);
            }
            url = target(&reply, &url).map_err(|cause| failed(cause.into()))?;
        }
        Err(FetchFailure::new(document, &url, NotFollowed::TooMany(MOST_REDIRECTS).into()))
    }

    async fn reply(&self, url: &KeyUrl, etag: Option<&str>) -> Result<Reply, Cause> {
        let reply = timeout_at(self.deadline, self.unbounded_reply(url, etag)).await;
        reply.unwrap_or(Err(Cause::Timeout(self.timeout)))
    }

    async fn unbounded_reply(&self, url: &KeyUrl, etag: Option<&str>) -> Result<Reply, Cause> {
        let addresses = addresses(self.resolve, url, self.reach).await?;
        if !url.is_https() {
            return ask(connect(&addresses, self.deadline).await?, url, etag).await;
        }
        let settings = self.trust.settings(self.ca_file).await?;
        ask_encrypted(connect(&addresses, self.deadline).await?, settings, url, etag).await
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads, if it may be followed as far as its scheme says.
fn target(reply: &Reply, from: &KeyUrl) -> Result<KeyUrl, NotFollowed> {
    let location = reply.headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let to = from.join(location.ok_or(NotFollowed::Nowhere)?).map_err(NotFollowed::Unusable)?;
    if to.is_https() != from.is_https() {
        return Err(NotFollowed::OtherScheme(to.host()));
    }
    Ok(to)
}

fn answer(reply: Reply, url: &KeyUrl, was_conditional: bool) -> Result<Answer, Cause> {
    let fresh_for = fresh_for(&reply.headers);
    match reply.status {
        StatusCode::OK => Ok(Answer::Body { etag: etag(&reply, url), bytes: reply.body, fresh_for }),
        StatusCode::NOT_MODIFIED if was_conditional => Ok(Answer::NotModified { fresh_for }),
        status => {
            let may_say_when = matches!(status.as_u16(), 429 | 503);
            let retry_after = retry_after(&reply.headers).filter(|_| may_say_when);
            Err(Cause::Status { status: status.as_u16(), retry_after })
        }
    }
}

/// The answer's `ETag` with the place that it belongs to. It means something at its own URL only, and the URL of the
/// keys may change between two fetches.
fn etag(reply: &Reply, url: &KeyUrl) -> Option<String> {
    let etag = reply.headers.get(ETAG)?.to_str().ok()?.trim();
    (1..=LONGEST_ETAG).contains(&etag.len()).then(|| format!("{}{etag}", place_of(url)))
}

/// A short text that stands for a URL.
fn place_of(url: &KeyUrl) -> String {
    let digest = Sha256::digest(url.whole());
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{hex} ")
}
