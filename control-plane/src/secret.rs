//! Secrets: compared in constant time, never printed.
//!
//! Secrets are compared by their SHA-256 digests, so the time of a comparison shows neither the bytes of a secret nor its
//! length. `config` says where secrets come from. A password in a URL is the business of the URL's reader, but for one
//! mistake that is the same in all of them.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// A text that must not be seen in a log, an error or an answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret from configuration.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Each caller is a place where the secret could leak.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True if `offered` is this secret.
    pub fn matches(&self, offered: &[u8]) -> bool {
        self.compare(offered).into()
    }

    /// The same as [`Self::matches`], as a value that can be combined with another comparison without a branch.
    pub fn compare(&self, offered: &[u8]) -> Choice {
        let (ours, theirs) = (Sha256::digest(&self.0), Sha256::digest(offered));
        ours.as_slice().ct_eq(theirs.as_slice())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// The application that may call `lgt-all`: APP_ID and APP_KEY.
#[derive(Debug, Clone)]
pub struct AppCredentials {
    /// APP_ID. It need not be secret, but it is compared like a secret, because it is half of the credentials.
    pub id: Secret,
    /// APP_KEY.
    pub key: Secret,
}

impl AppCredentials {
    /// True if both halves are right. Both are always compared, so the time does not show which one was wrong.
    pub fn match_both(&self, id: &[u8], key: &[u8]) -> bool {
        (self.id.compare(id) & self.key.compare(key)).into()
    }
}

/// What is wrong with a URL whose user or password holds a character that ends it.
pub(crate) const NOT_ENCODED: &str = "has a /, ? or # in its user or password: percent-encode it (/ is %2F, ? is %3F, # is \
                                      %23, @ is %40, % is %25)";

/// True if the URL has an `@` after the place where its host ends. Then a part of the password stands where the address or
/// the database stands, and both are shown. A parser takes some of these URLs without a word.
pub(crate) fn is_not_encoded(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let Some((authority, after)) = rest.find(['/', '?', '#']).and_then(|end| rest.split_at_checked(end)) else {
        return false;
    };
    let (path, query) = after.split_at_checked(after.find(['?', '#']).unwrap_or(after.len())).unwrap_or((after, ""));
    // A parameter may hold an `@`, if the user and the host are complete without it.
    let is_complete = !path.is_empty() && (authority.is_empty() || authority.contains('@'));
    path.contains('@') || (query.contains('@') && !is_complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_ends_the_urls_host_is_noticed() {
        for wrong in [
            "a://u:p/w@h/d",
            "a://u:p?w@h/d",
            "a://u:p#w@h/d",
            "a://u:1/@h",
            "a://:/@h",
            "a://u:p@/w@h/d",
            "a://u:1/p?w@h/d",
        ] {
            assert!(is_not_encoded(wrong), "{wrong}");
        }
        for right in [
            "a://u:p%2Fw@h/d",
            "a://u:p@w@h/d",
            "a://h/d?x=/y",
            "a:///s",
            "u@h/d",
            "a:///d?user=me@t",
            "a://u:p@h/d?c=/x@y",
            "",
        ] {
            assert!(!is_not_encoded(right), "{right}");
        }
    }

    #[test]
    fn only_the_secret_itself_matches() {
        let secret = Secret::new("correct horse");
        assert!(secret.matches(b"correct horse"));
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!secret.matches(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn both_halves_of_the_credentials_must_be_right() {
        let app = AppCredentials { id: Secret::new("app"), key: Secret::new("key") };
        assert!(app.match_both(b"app", b"key"));
        for (id, key) in [("app", "app"), ("key", "key"), ("app", ""), ("", "key")] {
            assert!(!app.match_both(id.as_bytes(), key.as_bytes()), "{id} {key}");
        }
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        assert_eq!(format!("{:?}", Secret::new("correct horse")), "Secret(..)");
    }
}
