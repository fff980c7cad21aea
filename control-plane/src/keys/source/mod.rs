//! Where an issuer's public keys come from, and on which terms they are fetched.
//!
//! Everything here is read once from the configuration and cannot be wrong afterwards. Keys that stand in the
//! configuration itself, and secrets, have no source.

mod address;
mod authority;
mod key_url;
mod reach;
mod read;
mod terms;

use std::path::PathBuf;

use sha2::{Digest, Sha256};

pub(crate) use authority::read_authority;
pub use key_url::KeyUrl;
pub(crate) use reach::Reach;
pub use reach::Refused;
pub use read::take_source;
pub use terms::FetchTerms;

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A JWK Set at a URL.
    Url(KeyUrl),
    /// The document that the provider publishes about itself names the URL.
    Discovery(Discovery),
    /// A JWK Set in a file, which is read again when it changes.
    File(PathBuf),
}

/// How an issuer's URL of keys is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The issuer's name. The document must have the same, to the letter.
    pub issuer: String,
    /// The URL that the documents' places are made from: the issuer's name, or another that the operator gives. If it
    /// has `/.well-known/` in its path, it is the document's own.
    pub at: KeyUrl,
}

/// A source with the terms of fetching from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// Where the keys come from.
    pub source: Source,
    /// How they are fetched.
    pub terms: FetchTerms,
}

/// The name of a source: for operators, and to tell it from the issuer's earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceName {
    /// Where the keys come from: no query of a URL is shown.
    pub shown: String,
    /// 32 bits of a hash over the whole source, with the query of its URL. They are stored: enough that two sources of an
    /// operator differ in them, and too few to find a key of the provider's by, which the query may hold.
    pub hash: u32,
}

impl SourceName {
    fn new(shown: String, whole: &str) -> Self {
        let digest = Sha256::new().chain_update("curfew: key source\n").chain_update(whole).finalize();
        let hash = digest.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        Self { shown, hash }
    }
}

/// A source of which nothing is hidden.
impl From<String> for SourceName {
    fn from(shown: String) -> Self {
        let whole = shown.clone();
        Self::new(shown, &whole)
    }
}

impl KeySource {
    /// A set in a file: nothing is fetched, so there are no terms.
    pub fn of_file(path: PathBuf) -> Self {
        Self { source: Source::File(path), terms: FetchTerms::default() }
    }

    /// Its name.
    pub fn name(&self) -> SourceName {
        let shown = self.shown();
        let whole = match &self.source {
            Source::Url(url) => format!("{shown}\n{}", url.whole()),
            Source::Discovery(discovery) => format!("{shown}\n{}", discovery.at.whole()),
            Source::File(_) => shown.clone(),
        };
        SourceName::new(shown, &whole)
    }

    /// Where the keys come from, for operators: no query of a URL is shown.
    pub fn shown(&self) -> String {
        match &self.source {
            Source::Url(url) => url.place(),
            Source::Discovery(discovery) => format!("discovery at {}", discovery.at.place()),
            Source::File(path) => format!("file {}", path.display()),
        }
    }
}

impl Source {
    /// The operator's own URL: what the fetch begins at. A file has none.
    pub(crate) fn own_url(&self) -> Option<&KeyUrl> {
        match self {
            Self::Url(url) => Some(url),
            Self::Discovery(discovery) => Some(&discovery.at),
            Self::File(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(url: &str) -> SourceName {
        let source = Source::Url(KeyUrl::parse(url).unwrap());
        KeySource { source, terms: FetchTerms::default() }.name()
    }

    #[test]
    fn a_query_tells_two_sources_apart_and_is_not_shown() {
        let [one, two] = ["hunter1", "hunter2"].map(|key| name(&format!("https://login.example.com/keys?key={key}")));
        assert_eq!((one.shown.as_str(), &two.shown), ("https://login.example.com/keys", &one.shown));
        assert_ne!(one.hash, two.hash);
        assert_eq!(name("https://login.example.com/keys?key=hunter1"), one);
    }
}
