//! Loopback addresses for servers under test.
//!
//! Servers are asked to listen on port 0 and to say what they got, which cannot race. Only the demo prefers fixed
//! ports, so that the lines in the README work as they stand.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// `127.0.0.1:port`; port 0 lets the system choose when the server binds.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// This port if nobody listens on it now, else 0, which means "any free one".
pub fn preferred(port: u16) -> u16 {
    match TcpListener::bind(loopback(port)) {
        Ok(_) => port,
        Err(_) => 0,
    }
}

/// An address that nothing listens on at the moment of asking: for a server that must be absent.
///
/// # Errors
/// When the system has no free port.
pub fn vacant() -> std::io::Result<SocketAddr> {
    TcpListener::bind(loopback(0))?.local_addr()
}
