//! What kind of network an address belongs to.
//!
//! Whoever controls a provider's name, or an answer of the provider, could make the control plane send requests into the
//! network that it stands in. So every address is looked at before it is connected to. The ranges are those of the
//! IANA registries of special-purpose addresses (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of network that an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// The internet.
    Public,
    /// Somebody's own network: an operator may allow it.
    Private,
    /// This machine.
    Loopback,
    /// No provider has such an address: link-local ones, with the metadata services of clouds among them, and multicast.
    /// Nobody can allow it.
    Never,
}

/// Metadata services of clouds that have no link-local address. They hand out credentials without asking for any.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// The network of an address. An IPv6 address that stands for an IPv4 address belongs to the network of that one.
pub(crate) fn network(address: IpAddr) -> Network {
    let address = match address {
        IpAddr::V6(six) => embedded(six).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    if METADATA.contains(&address) {
        return Network::Never;
    }
    match address {
        IpAddr::V4(four) => of_v4(four),
        IpAddr::V6(six) => of_v6(six),
    }
}

fn of_v4(address: Ipv4Addr) -> Network {
    match address.octets() {
        [127, ..] => Network::Loopback,
        [0, ..] | [169, 254, ..] | [224..=239, ..] | [255, 255, 255, 255] => Network::Never,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Network::Private,
        // Protocol assignments, documentation, relays of 6to4, benchmarks; the reserved rest. Some networks use them inside.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Network::Private
        }
        [240..=255, ..] => Network::Private,
        _ => Network::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Network {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Network::Loopback,
        // Unique local ones (RFC 4193), and NAT64 with a prefix of one's own (RFC 8215).
        [0xfc00..=0xfdff, ..] | [0x64, 0xff9b, 1, ..] => Network::Private,
        // Protocol assignments with Teredo among them, and documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Network::Private,
        [0x2000..=0x3fff, ..] => Network::Public,
        _ => Network::Never,
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped (RFC 4291), NAT64 (RFC 6052) and 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b] = match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] | [0x2002, a, b, ..] => [a, b],
        _ => return None,
    };
    let ([a, b], [c, d]) = (a.to_be_bytes(), b.to_be_bytes());
    Some(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_belongs_to_its_network() {
        let table = [
            (
                Network::Public,
                "93.184.216.34 8.8.8.8 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 192.0.3.1 198.20.0.1",
            ),
            (
                Network::Public,
                "2606:4700::1111 2a00:1450::1 2001:4860::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1",
            ),
            (Network::Private, "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255 198.18.0.1"),
            (Network::Private, "192.0.0.8 192.0.2.1 198.51.100.1 203.0.113.1 240.0.0.1 192.88.99.1"),
            (Network::Private, "fc00::1 fd12::1 2001:db8::1 2001::1 3fff::1 64:ff9b:1::a00:1"),
            (Network::Private, "::ffff:10.0.0.1 64:ff9b::10.0.0.1 2002:a00:1::1 2002:c0a8:101::1"),
            (Network::Loopback, "127.0.0.1 127.1.2.3 ::1 ::ffff:127.0.0.1 64:ff9b::127.0.0.1 2002:7f00:1::"),
            (Network::Never, "0.0.0.0 0.1.2.3 169.254.169.254 224.0.0.1 239.1.1.1 255.255.255.255"),
            (Network::Never, ":: fe80::1 fec0::1 ff02::1 ::10.0.0.1 ::ffff:169.254.169.254 64:ff9b::169.254.169.254"),
            (Network::Never, "168.63.129.16 100.100.100.200 fd00:ec2::254 ::ffff:168.63.129.16 4000::1 100::1"),
        ];
        for (expected, addresses) in table {
            for address in addresses.split(' ') {
                assert_eq!(network(address.parse().unwrap()), expected, "{address}");
            }
        }
    }
}
