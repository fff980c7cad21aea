//! Where a fetch may go: the rule for every URL and every address on its way, redirects and discovered URLs included.

use std::net::IpAddr;

use super::address::{Network, network};
use super::{FetchTerms, KeyUrl};

/// Why a URL or an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Plain HTTP, over which anybody on the way could put their own keys in.
    #[error("it is not https, and allow_http is not set")]
    Unencrypted,
    /// An address of this machine or of a private network.
    #[error("its address {0} is in a private network, and allow_private_network is not set")]
    Private(IpAddr),
    /// An address that nobody can allow.
    #[error("its address {0} is link-local, multicast or a cloud's metadata service, which is never allowed")]
    Never(IpAddr),
}

/// What an operator has allowed one fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    private: bool,
    http: bool,
    /// The operator's own URL names this machine. That is as clear as a setting: then it may be connected to, without
    /// encryption too, but only where this machine is named again.
    loopback: bool,
}

impl Reach {
    /// What these terms allow to a fetch that begins at the operator's `own` URL.
    pub(crate) fn new(own: &KeyUrl, terms: &FetchTerms) -> Self {
        Self { private: terms.allow_private_network, http: terms.allow_http, loopback: own.names_loopback() }
    }

    /// Succeeds if the URL may be asked, as far as it shows before its name is resolved.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn check_url(self, url: &KeyUrl) -> Result<(), Refused> {
        if !url.is_https() && !self.http && !self.is_own_machine(url) {
            return Err(Refused::Unencrypted);
        }
        url.address().map_or(Ok(()), |address| self.check_address(url, address))
    }

    /// Succeeds if this address of the URL's host may be connected to.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn check_address(self, url: &KeyUrl, address: IpAddr) -> Result<(), Refused> {
        match network(address) {
            Network::Public => Ok(()),
            Network::Loopback if self.private || self.is_own_machine(url) => Ok(()),
            Network::Private if self.private => Ok(()),
            Network::Private | Network::Loopback => Err(Refused::Private(address)),
            Network::Never => Err(Refused::Never(address)),
        }
    }

    fn is_own_machine(self, url: &KeyUrl) -> bool {
        self.loopback && url.names_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> KeyUrl {
        KeyUrl::parse(text).unwrap()
    }

    fn reach(own: &str, allow_private_network: bool, allow_http: bool) -> Reach {
        Reach::new(&url(own), &FetchTerms { allow_private_network, allow_http, ..FetchTerms::default() })
    }

    #[test]
    fn plain_http_needs_to_be_allowed_unless_the_operator_names_this_machine() {
        let (public, local) = (url("http://login.example.com"), url("http://localhost:8080/keys"));
        assert_eq!(reach("http://login.example.com", false, false).check_url(&public), Err(Refused::Unencrypted));
        assert_eq!(reach("http://login.example.com", false, true).check_url(&public), Ok(()));
        assert_eq!(reach("http://localhost", false, false).check_url(&local), Ok(()));
        assert_eq!(reach("http://localhost", false, false).check_url(&public), Err(Refused::Unencrypted));
        assert_eq!(reach("https://login.example.com", false, false).check_url(&local), Err(Refused::Unencrypted));
    }

    #[test]
    fn an_address_is_judged_by_its_network() {
        let name = url("https://login.example.com");
        let [public, private, own, metadata] =
            ["8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254"].map(|text| text.parse::<IpAddr>().unwrap());
        let strict = reach("https://login.example.com", false, false);
        assert_eq!(strict.check_address(&name, public), Ok(()));
        assert_eq!(strict.check_address(&name, private), Err(Refused::Private(private)));
        assert_eq!(strict.check_address(&name, own), Err(Refused::Private(own)));
        let private_allowed = reach("https://login.example.com", true, false);
        assert_eq!(private_allowed.check_address(&name, private), Ok(()));
        assert_eq!(private_allowed.check_address(&name, own), Ok(()));
        for reach in [strict, private_allowed] {
            assert_eq!(reach.check_address(&name, metadata), Err(Refused::Never(metadata)));
        }
    }

    #[test]
    fn an_operator_that_names_this_machine_allows_nothing_but_this_machine() {
        let local = reach("http://127.0.0.1:8080", false, false);
        assert_eq!(local.check_url(&url("http://[::1]:9090/keys")), Ok(()));
        let resolved = "127.0.0.1".parse().unwrap();
        assert_eq!(local.check_address(&url("https://a.example.com"), resolved), Err(Refused::Private(resolved)));
        let other: IpAddr = "192.168.0.1".parse().unwrap();
        assert_eq!(local.check_url(&url("https://192.168.0.1/")), Err(Refused::Private(other)));
        assert_eq!(local.check_address(&url("http://localhost"), other), Err(Refused::Private(other)));
    }
}
