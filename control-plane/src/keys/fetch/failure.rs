//! Why keys could not be fetched: a code for a metric, and a sentence for an operator.
//!
//! Sentences name the host and never the query, which may hold a key of the provider's. A provider's own words are shown
//! only if they are short and plain.

use std::fmt;
use std::time::Duration;

use crate::keys::source::{KeyUrl, Refused};

/// A fetch that failed: at which document, where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchFailure {
    document: Document,
    place: String,
    cause: Cause,
    /// What failed before, where a second document was asked because the first was not there.
    before: Option<Box<FetchFailure>>,
}

/// The documents that a fetch reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// The JWK Set.
    Keys,
    /// The provider's own description, by OpenID Connect Discovery 1.0.
    OpenidConfiguration,
    /// The provider's own description, by RFC 8414.
    AuthorizationServer,
}

impl fmt::Display for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Keys => "the keys",
            Self::OpenidConfiguration => "the OpenID configuration",
            Self::AuthorizationServer => "the authorization server's metadata",
        })
    }
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFollowed {
    /// It has no `Location`.
    #[error("says no place")]
    Nowhere,
    /// The place is no URL that keys could be fetched from.
    #[error("leads to a place that {0}")]
    Unusable(&'static str),
    /// From https to http, or back.
    #[error("leads from https to http or back, at {0}")]
    OtherScheme(String),
    /// There were too many.
    #[error("is one too many: at most {0} are followed")]
    TooMany(usize),
}

/// Why a fetch failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The name of the host has no address.
    #[error("the name cannot be resolved: {0}")]
    Dns(String),
    /// The URL or its address must not be asked.
    #[error("not asked, because {0}")]
    Refused(#[from] Refused),
    /// No connection.
    #[error("cannot be connected to: {0}")]
    Connect(String),
    /// No encrypted connection.
    #[error("the certificate or the encryption is not accepted: {0}")]
    Tls(String),
    /// No authority to trust.
    #[error("no certificate can be trusted: {0}")]
    Authority(String),
    /// The answer is no HTTP, or ends too early.
    #[error("the answer cannot be read: {0}")]
    Http(String),
    /// Nothing in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// A status other than 200.
    #[error("answers with status {status}")]
    Status {
        /// The status.
        status: u16,
        /// For how long the provider wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// More bytes than are read.
    #[error("is longer than {0} bytes")]
    TooLarge(usize),
    /// A compressed answer, which was not asked for.
    #[error("is compressed, though asked not to be")]
    Compressed,
    /// No JSON.
    #[error("{0}")]
    NotJson(String),
    /// JSON, and no JWK Set.
    #[error("is no JWK Set: it has no list \"keys\"")]
    NotJwks,
    /// A set in which no key can be used: the reader of the keys says so.
    #[error("holds no key that can be used")]
    NoUsableKey,
    /// A document of another issuer.
    #[error("names another issuer: {0}")]
    WrongIssuer(String),
    /// A document for all tenants of a provider.
    #[error("names a template as its issuer, so it is for any tenant: set the tenant's own URL as issuer, or jwks_url")]
    TemplateIssuer,
    /// A document that does not say where the keys are.
    #[error("has no jwks_uri that can be used: it {0}")]
    NoKeysUrl(&'static str),
    /// A redirect that is not followed.
    #[error("the redirect {0}")]
    Redirect(#[from] NotFollowed),
    /// A file that cannot be read.
    #[error("cannot be read: {0}")]
    File(String),
}

impl Cause {
    /// A short word for a metric's label. It never changes for a cause.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Dns(_) => "dns",
            Self::Refused(Refused::Unencrypted) => "unencrypted",
            Self::Refused(_) => "refused_address",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Authority(_) => "authority",
            Self::Http(_) => "http",
            Self::Timeout(_) => "timeout",
            Self::Status { .. } => "status",
            Self::TooLarge(_) => "too_large",
            Self::Compressed => "compressed",
            Self::NotJson(_) => "not_json",
            Self::NotJwks => "not_jwks",
            Self::NoUsableKey => "no_usable_key",
            Self::WrongIssuer(_) | Self::TemplateIssuer => "wrong_issuer",
            Self::NoKeysUrl(_) => "no_jwks_uri",
            Self::Redirect(_) => "redirect",
            Self::File(_) => "file",
        }
    }

    /// True if the document seems not to be there, so that it may be at the other place.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::Status { status, .. } => (400..500).contains(status) && *status != 429,
            // Applications answer with their page at every path.
            Self::NotJson(_) => true,
            _ => false,
        }
    }
}

impl FetchFailure {
    /// A failure at a document of this URL.
    pub fn new(document: Document, url: &KeyUrl, cause: Cause) -> Self {
        Self { document, place: url.host(), cause, before: None }
    }

    /// A failure at a file of keys.
    pub fn of_file(path: &std::path::Path, cause: Cause) -> Self {
        Self { document: Document::Keys, place: path.display().to_string(), cause, before: None }
    }

    /// The same after another failure.
    pub(super) fn after(mut self, before: Self) -> Self {
        self.before = Some(Box::new(before));
        self
    }

    /// Which document failed.
    pub fn document(&self) -> Document {
        self.document
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// A short word for a metric's label. See [`Cause::code`].
    pub fn code(&self) -> &'static str {
        self.cause.code()
    }

    /// For how long the provider wants to be left alone, if it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.cause {
            Cause::Status { retry_after, .. } => retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for FetchFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(before) = &self.before {
            write!(formatter, "{before}; then ")?;
        }
        write!(formatter, "{} at {}: {}", self.document, self.place, self.cause)
    }
}

impl std::error::Error for FetchFailure {}

/// Words from elsewhere, if they may stand in a line of the log.
pub(super) fn shown(words: impl fmt::Display) -> String {
    let words = words.to_string();
    let is_plain = words.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if is_plain && (1..=200).contains(&words.len()) { words } else { "something unusual".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_which_document_at_which_host_and_why() {
        let url = KeyUrl::parse("https://login.example.com:8443/a?key=hunter2").unwrap();
        let absent = |status| Cause::Status { status, retry_after: None };
        let first = FetchFailure::new(Document::OpenidConfiguration, &url, absent(404));
        let second = FetchFailure::new(Document::AuthorizationServer, &url, absent(500)).after(first);
        let expected = "the OpenID configuration at login.example.com:8443: answers with status 404; then the \
                        authorization server's metadata at login.example.com:8443: answers with status 500";
        assert_eq!((second.to_string().as_str(), second.code()), (expected, "status"));
    }

    #[test]
    fn words_that_could_break_a_line_are_not_shown() {
        assert_eq!(shown("https://other.example.com/"), "https://other.example.com/");
        for words in ["", "a\nb", "\u{202e}", &"x".repeat(201)] {
            assert_eq!(shown(words), "something unusual");
        }
    }
}
