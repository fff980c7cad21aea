//! A URL that keys may be fetched from.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// Longer than any URL in use.
const MAX_URL_BYTES: usize = 2048;

/// The longest host that is shown, in bytes: the longest that the DNS knows.
const MAX_HOST_BYTES: usize = 253;

/// An absolute `https` or `http` URL without user, password and fragment.
///
/// Its query may hold a key of the provider's, so neither `Debug` nor [`KeyUrl::place`] shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyUrl(Url);

impl KeyUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, for a message that names where it comes from. The text itself is not quoted.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_URL_BYTES {
            return Err("must be a URL of at most 2048 bytes");
        }
        Self::checked(Url::parse(text).map_err(|_| "must be a URL such as https://login.example.com/keys")?)
    }

    /// The URL that `reference` means beside this one, as a redirect does.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn join(&self, reference: &str) -> Result<Self, &'static str> {
        if reference.len() > MAX_URL_BYTES {
            return Err("must be a URL of at most 2048 bytes");
        }
        let mut url = self.0.join(reference).map_err(|_| "must be a URL")?;
        // RFC 9110 section 10.2.2: it is for the program that shows the document.
        url.set_fragment(None);
        Self::checked(url)
    }

    fn checked(url: Url) -> Result<Self, &'static str> {
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
            return Err("must begin with https:// and a host");
        }
        if url.host_str().is_some_and(|host| host.len() > MAX_HOST_BYTES) {
            return Err("must have a host of at most 253 bytes");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must have no user and no password in it");
        }
        if url.fragment().is_some() {
            return Err("must have no # in it");
        }
        Ok(Self(url))
    }

    /// The same URL with another path and without a query.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        let mut url = self.0.clone();
        url.set_path(path);
        url.set_query(None);
        Self(url)
    }

    /// True for `https`.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// True if the host is written as this machine: `localhost`, or a loopback address.
    pub fn names_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// The address, if the host is one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }

    /// The host without brackets, as a resolver and a certificate have it.
    pub(crate) fn name(&self) -> String {
        let name = self.0.host_str().unwrap_or_default();
        name.trim_start_matches('[').trim_end_matches(']').to_owned()
    }

    /// The port, written or not.
    pub(crate) fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// The host, with the port where it is not the usual one: what the header `Host` holds and what messages show.
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The path, which begins with a slash.
    pub(crate) fn path(&self) -> &str {
        self.0.path()
    }

    /// Path and query, for the request line.
    pub(crate) fn target(&self) -> String {
        self.0.query().map_or_else(|| self.path().to_owned(), |query| format!("{}?{query}", self.path()))
    }

    /// The whole URL with its query. Not for messages.
    pub(crate) fn whole(&self) -> &str {
        self.0.as_str()
    }

    /// The URL without its query, for messages.
    pub fn place(&self) -> String {
        format!("{}://{}{}", self.0.scheme(), self.host(), self.path())
    }
}

impl fmt::Debug for KeyUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyUrl({})", self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_only_if_it_is_whole_and_holds_no_password() {
        for (text, expected) in [
            ("https://login.example.com/keys?k=1", Ok("https://login.example.com/keys")),
            ("https://login.example.com:8443", Ok("https://login.example.com:8443/")),
            ("http://[::1]:80/keys", Ok("http://[::1]/keys")),
            ("HTTPS://Login.Example.com/a/../b", Ok("https://login.example.com/b")),
            ("http://2130706433/", Ok("http://127.0.0.1/")),
            ("/keys", Err("must be a URL such as https://login.example.com/keys")),
            ("file:///etc/keys", Err("must begin with https:// and a host")),
            ("ftp://login.example.com/keys", Err("must begin with https:// and a host")),
            ("https://user@login.example.com/", Err("must have no user and no password in it")),
            ("https://:secret@login.example.com/", Err("must have no user and no password in it")),
            ("https://login.example.com/#keys", Err("must have no # in it")),
        ] {
            assert_eq!(KeyUrl::parse(text).map(|url| url.place()).as_deref(), expected.as_deref(), "{text}");
        }
        assert!(KeyUrl::parse(&format!("https://login.example.com/{}", "x".repeat(2048))).is_err());
        assert!(KeyUrl::parse(&format!("https://{}.example.com/", "x.".repeat(130))).is_err());
    }

    #[test]
    fn what_messages_show_has_no_query() {
        let url = KeyUrl::parse("https://login.example.com/keys?api_key=hunter2").unwrap();
        assert_eq!(format!("{url:?} {}", url.host()), "KeyUrl(https://login.example.com/keys) login.example.com");
        assert_eq!(url.target(), "/keys?api_key=hunter2");
    }

    #[test]
    fn this_machine_is_known_however_it_is_written() {
        for text in ["http://localhost:1", "http://127.0.0.1", "https://127.1", "http://[::1]", "http://0x7f.1"] {
            assert!(KeyUrl::parse(text).unwrap().names_loopback(), "{text}");
        }
        for text in ["http://localhost.example.com", "http://10.0.0.1", "http://[::ffff:127.0.0.1]", "http://0.0.0.0"] {
            assert!(!KeyUrl::parse(text).unwrap().names_loopback(), "{text}");
        }
    }
}
