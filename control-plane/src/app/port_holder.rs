//! Which process listens on an address that is in use, as far as this machine tells: Linux shows it for processes of the same
//! user, and for all processes to root. It is only for a message.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The state of a socket that listens, in the kernel's tables.
const LISTENS: &str = "0A";

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    id: u32,
    name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id == std::process::id() {
            true => formatter.write_str("this very process listens there for its other listener"),
            false => write!(formatter, "process {} ({}) listens there", self.id, self.name),
        }
    }
}

/// The process that listens on the address, or on all addresses with its port.
pub(super) fn holder(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<_> = tables.iter().flat_map(|table| listening(table, address)).collect();
    let links: Vec<_> = sockets.iter().map(|socket| format!("socket:[{socket}]")).collect();
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        has_open(&entry.path(), &links).then(|| Holder { id, name: name(&entry.path()) })
    })
}

/// The kernel's numbers of the sockets in a table that stand in the way of the address.
fn listening(table: &str, wanted: SocketAddr) -> Vec<&str> {
    let in_the_way = |line: &&str| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1).and_then(local_address);
        let listens = fields.nth(1) == Some(LISTENS);
        let conflicts = |local: SocketAddr| {
            let (ours, theirs) = (wanted.ip().to_canonical(), local.ip().to_canonical());
            local.port() == wanted.port() && (ours == theirs || ours.is_unspecified() || theirs.is_unspecified())
        };
        listens && local.is_some_and(conflicts)
    };
    table.lines().filter(in_the_way).filter_map(|line| line.split_ascii_whitespace().nth(9)).collect()
}

/// An address such as `0100007F:1F90`. Each group of eight digits is a number in the machine's own order of bytes.
fn local_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let groups = address.as_bytes().chunks(8).map(|group| {
        let number = u32::from_str_radix(std::str::from_utf8(group).ok()?, 16).ok()?;
        Some(number.to_ne_bytes())
    });
    let bytes: Vec<u8> = groups.collect::<Option<Vec<_>>>()?.concat();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// True if one of the process' descriptors is one of these.
fn has_open(process: &Path, links: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        let target = fs::read_link(descriptor.path()).unwrap_or_default();
        links.iter().any(|link| target.as_os_str() == link.as_str())
    })
}

/// The process' name. A process may give itself any name.
fn name(process: &Path) -> String {
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    name.trim_end().chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_tables_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0\n\
            \x20  1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0\n\
            \x20  2: 0100007F:1F90 0100007F:CAFE 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0 20 4\n\
            \x20  3: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 444 1\n";
        for (address, sockets) in [
            ("127.0.0.1:8080", vec!["111"]),
            ("127.0.0.2:8080", vec![]),
            ("0.0.0.0:8080", vec!["111", "444"]),
            ("127.0.0.1:8081", vec!["222"]),
            ("[::1]:8080", vec!["444"]),
            ("127.0.0.1:8082", vec![]),
        ] {
            assert_eq!(listening(table, address.parse().unwrap()), sockets, "{address}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_listens_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = holder(address).unwrap();
        assert_eq!((found.id, found.name.is_empty()), (std::process::id(), false));
        assert_eq!(found.to_string(), "this very process listens there for its other listener");
        let other = Holder { id: 1, name: "init".to_owned() };
        assert_eq!(other.to_string(), "process 1 (init) listens there");
        drop(listener);
        assert_eq!(holder(address), None);
    }
}
