//! Fetches an issuer's JWK Set from where its source says.
//!
//! It knows HTTP, TLS, addresses and discovery. It keeps nothing between two fetches, decides nothing about when to fetch
//! (`schedule` does), and does not read the keys in the set. HTTP proxies are not supported: a proxy would resolve the
//! names, and nothing could be said about the addresses.

mod caching;
mod client;
mod discovery;
mod exchange;
mod failure;
mod resolve;
mod trust;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::files::read_file;
use super::source::{FetchTerms, KeySource, KeyUrl, Reach, Source};
use client::{Answer, Client};
pub use failure::{Cause, Document, FetchFailure, NotFollowed};
pub use resolve::Resolve;
use trust::Trust;

/// The most bytes of a document that are read. A set of 256 KiB is the largest that comes into force; what is beside its
/// keys may be as long again.
pub(super) const MAX_BODY_BYTES: usize = 512 * 1024;

/// Fetches sets. One serves all issuers.
pub struct Fetcher {
    resolve: Arc<Resolve>,
    trust: Trust,
}

/// A set that was fetched.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// The JWK Set: an object with a list `keys`, in which no member is named twice.
    pub jwks: Value,
    /// To be given to the next fetch from the same source, at most 217 bytes. It holds the provider's `ETag` and stands for
    /// the URL that it came from.
    pub etag: Option<String>,
    /// For how long the provider says that the set is fresh.
    pub fresh_for: Option<Duration>,
}

/// How a fetch that did not fail ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A set, which may be the one that is known.
    Fetched(Fetched),
    /// The set is the one that the given `etag` came with.
    NotModified {
        /// For how long the provider says that the set is fresh.
        fresh_for: Option<Duration>,
    },
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::resolving_by(resolve::system())
    }
}

impl Fetcher {
    /// One that asks `resolve` instead of the system for the addresses of names. What it answers is checked like every
    /// other address.
    pub fn resolving_by(resolve: Arc<Resolve>) -> Self {
        Self { resolve, trust: Trust::default() }
    }

    /// Fetches the set once, within the time that the terms allow. `etag` is that of the last [`Fetched`] from this source,
    /// if its set is still at hand.
    ///
    /// # Errors
    /// At which step it failed, and why.
    pub async fn fetch(&self, from: &KeySource, etag: Option<&str>) -> Result<Outcome, FetchFailure> {
        let terms = &from.terms;
        match &from.source {
            Source::File(path) => of_file(path).await,
            Source::Url(url) => keys(&self.client(url, terms), url, etag).await,
            Source::Discovery(discovery) => {
                let client = self.client(&discovery.at, terms);
                let url = discovery::find(&client, discovery).await?;
                keys(&client, &url, etag).await
            }
        }
    }

    fn client<'f>(&'f self, own: &KeyUrl, terms: &'f FetchTerms) -> Client<'f> {
        let now = Instant::now();
        Client {
            resolve: self.resolve.as_ref(),
            trust: &self.trust,
            ca_file: terms.ca_file.as_deref(),
            reach: Reach::new(own, terms),
            timeout: terms.timeout,
            deadline: now.checked_add(terms.timeout).unwrap_or(now),
        }
    }
}

async fn keys(client: &Client<'_>, url: &KeyUrl, etag: Option<&str>) -> Result<Outcome, FetchFailure> {
    match client.get(Document::Keys, url, etag).await? {
        Answer::NotModified { fresh_for } => Ok(Outcome::NotModified { fresh_for }),
        Answer::Body { bytes, etag, fresh_for } => {
            let jwks = read_set(&bytes).map_err(|cause| FetchFailure::new(Document::Keys, url, cause))?;
            Ok(Outcome::Fetched(Fetched { jwks, etag, fresh_for }))
        }
    }
}

async fn of_file(path: &Path) -> Result<Outcome, FetchFailure> {
    let own = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_file(&own)).await;
    let read = read.unwrap_or_else(|error| Err(Cause::File(error.to_string())));
    let jwks = read.and_then(|bytes| read_set(&bytes)).map_err(|cause| FetchFailure::of_file(path, cause))?;
    Ok(Outcome::Fetched(Fetched { jwks, etag: None, fresh_for: None }))
}

/// Reads a document as a JWK Set, as far as to the list of keys.
pub(super) fn read_set(text: &[u8]) -> Result<Value, Cause> {
    let jwks = curfew_core::read_document(text).map_err(Cause::NotJson)?;
    if jwks.get("keys").is_some_and(Value::is_array) { Ok(jwks) } else { Err(Cause::NotJwks) }
}
