//! Loopback addresses for servers under test.
//!
//! A server listens on port 0 and reports the port that it got, so two servers never want the same one. Only the demo
//! prefers fixed ports, so that the commands in docs/getting-started.md work unchanged.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// `127.0.0.1:port`; port 0 lets the system choose when the server binds.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// This port if nothing listens on it now, else 0, which means any free one.
pub fn preferred(port: u16) -> u16 {
    match TcpListener::bind(loopback(port)) {
        Ok(_) => port,
        Err(_) => 0,
    }
}

/// An address that nothing listens on now, for a server that must be absent.
///
/// # Errors
/// If the system has no free port.
pub fn vacant() -> std::io::Result<SocketAddr> {
    TcpListener::bind(loopback(0))?.local_addr()
}

/// A free port that the system gives to no outgoing connection. It is for servers that cannot report their port, or that
/// must come back on it after a kill.
///
/// # Errors
/// If no port was free in many tries.
pub fn lasting() -> std::io::Result<u16> {
    let mut free = (0..100).map(|_| 20_000 + random() % 10_000).filter(|port| preferred(*port) == *port);
    free.next().ok_or_else(|| std::io::Error::other("no free port between 20000 and 30000"))
}

/// The standard library's only source of random numbers: the keys of its hash maps.
fn random() -> u16 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let [first, second, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
    u16::from_le_bytes([first, second])
}
