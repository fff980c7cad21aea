//! Where a request comes from, as far as that can be trusted.
//!
//! It is used to count failures and to choose lanes, and for nothing else: many callers share an address, and it proves nothing
//! about any of them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

/// The origin of requests: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

/// A wider network that a [`Source`] is part of: the 48 bits that a customer with many networks gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(Ipv6Addr);

impl Source {
    /// The source of a request that came over a connection from `peer`, through `proxies` proxies of our own.
    ///
    /// Each proxy appends the address of its peer to `X-Forwarded-For`, so the entry of the outermost one is the `proxies`-th
    /// from the end; the entries before it are the client's own claims. With fewer entries than proxies, or with an entry that
    /// is no address, the source is the connection's peer: a request that did not come the expected way must not choose where
    /// it is counted.
    pub fn of(peer: IpAddr, headers: &HeaderMap, proxies: usize) -> Self {
        let forwarded = proxies.checked_sub(1).and_then(|inner| entries_from_the_end(headers).nth(inner));
        Self(network(forwarded.and_then(address).unwrap_or(peer)))
    }

    /// The source of a connection, where nothing is forwarded.
    pub fn of_peer(peer: IpAddr) -> Self {
        Self(network(peer))
    }

    /// The wider network of an IPv6 source. IPv4 has none: an address does not show which other addresses its owner
    /// has.
    pub fn network(&self) -> Option<Network> {
        match self.0 {
            IpAddr::V6(address) => Some(Network(leading(address, 48))),
            IpAddr::V4(_) => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(formatter),
            IpAddr::V6(network) => write!(formatter, "{network}/64"),
        }
    }
}

/// The entries of all headers of that name, which are one list (RFC 9110 section 5.3).
fn entries_from_the_end(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    lines.into_iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
}

/// An address, alone or with a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    entry.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(leading(address, 64)),
        address => address,
    }
}

fn leading(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    let others = u128::MAX.checked_shr(bits).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & !others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str, forwarded: &[&str], proxies: usize) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        Source::of(peer.parse().unwrap(), &headers, proxies).0.to_string()
    }

    #[test]
    fn without_proxies_the_source_is_the_peer_whatever_the_client_claims() {
        assert_eq!(source("192.0.2.1", &[], 0), "192.0.2.1");
        assert_eq!(source("192.0.2.1", &["198.51.100.7"], 0), "192.0.2.1");
    }

    #[test]
    fn behind_proxies_the_source_is_the_address_that_the_outermost_saw() {
        let spoofed = ["203.0.113.1, 203.0.113.2", "198.51.100.7,10.0.0.1"];
        assert_eq!(source("10.0.0.2", &spoofed, 1), "10.0.0.1");
        assert_eq!(source("10.0.0.2", &spoofed, 2), "198.51.100.7");
        assert_eq!(source("10.0.0.2", &["198.51.100.7:4711"], 1), "198.51.100.7");
        assert_eq!(source("10.0.0.2", &[" [2001:db8::1]:4711 "], 1), "2001:db8::");
    }

    #[test]
    fn a_request_that_did_not_come_through_the_proxies_counts_for_its_peer() {
        for forwarded in [&[][..], &["198.51.100.7"], &["unknown, 10.0.0.1"], &[", 10.0.0.1"], &[""]] {
            assert_eq!(source("10.0.0.2", forwarded, 2), "10.0.0.2", "{forwarded:?}");
        }
    }

    #[test]
    fn a_customers_network_is_one_source_and_a_mapped_address_is_an_ipv4_source() {
        assert_eq!(source("2001:db8:1:2:3:4:5:6", &[], 0), "2001:db8:1:2::");
        assert_eq!(source("2001:db8:1:2:ffff::", &[], 0), "2001:db8:1:2::");
        assert_eq!(source("::ffff:192.0.2.1", &[], 0), "192.0.2.1");
    }

    #[test]
    fn networks_of_one_customer_are_part_of_one_that_is_wider() {
        let network = |address: &str| Source::of(address.parse().unwrap(), &HeaderMap::new(), 0).network();
        assert_eq!(network("2001:db8:1:2::3"), Some(Network("2001:db8:1::".parse().unwrap())));
        assert_eq!(network("2001:db8:1:ffff::"), network("2001:db8:1::"));
        assert_ne!(network("2001:db8:2::"), network("2001:db8:1::"));
        assert_eq!(network("192.0.2.1"), None);
        assert_eq!(network("::ffff:192.0.2.1"), None);
    }
}
