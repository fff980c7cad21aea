//! The two addresses.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use curfew_core::Mistakes;

/// Where to listen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Listeners")]
pub struct ListenArgs {
    /// Where clients reach the logout endpoints, through Envoy; port 0 takes a free one
    #[arg(
        long,
        env = "CURFEW_PUBLIC_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:8080",
        hide_env_values = true
    )]
    pub(super) public_listen: String,
    /// Where the filter, services and operators reach everything else; keep it inside
    #[arg(
        long,
        env = "CURFEW_INTERNAL_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:8081",
        hide_env_values = true
    )]
    pub(super) internal_listen: String,
}

/// The resolved addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// For clients.
    pub public: SocketAddr,
    /// For the filter, services and operators.
    pub internal: SocketAddr,
}

impl ListenArgs {
    pub(super) fn resolve(&self, mistakes: &mut Mistakes) -> Option<Listen> {
        let public = address("CURFEW_PUBLIC_LISTEN", &self.public_listen, mistakes);
        let internal = address("CURFEW_INTERNAL_LISTEN", &self.internal_listen, mistakes);
        let listen = Listen { public: public?, internal: internal? };
        if listen.public == listen.internal && listen.public.port() != 0 {
            mistakes.add("CURFEW_INTERNAL_LISTEN", "is the same address as CURFEW_PUBLIC_LISTEN");
        }
        Some(listen)
    }
}

impl Listen {
    /// The first setting whose address other machines can reach.
    pub(super) fn beyond_loopback(self) -> Option<&'static str> {
        let named = [("CURFEW_PUBLIC_LISTEN", self.public), ("CURFEW_INTERNAL_LISTEN", self.internal)];
        named.into_iter().find(|(_, address)| !is_loopback(address.ip())).map(|(name, _)| name)
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn address(name: &str, text: &str, mistakes: &mut Mistakes) -> Option<SocketAddr> {
    text.parse()
        .map_err(|_| mistakes.add(name, r#"must be an IP address and a port, such as "0.0.0.0:8080" or "[::]:8080""#))
        .ok()
}
