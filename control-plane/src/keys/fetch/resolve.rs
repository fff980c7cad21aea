//! From a URL's host to the addresses that may be connected to.
//!
//! A name is resolved once, its addresses are checked, and one of these very addresses is connected to. A second look at
//! the name could show another address than the one that was checked (DNS rebinding).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::failure::{Cause, shown};
use crate::keys::source::{KeyUrl, Reach};

/// How names become addresses: the name without brackets, and the port.
pub type Resolve = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// A name may have any number of addresses, and there is not time for all.
const MOST_ADDRESSES: usize = 8;

/// The resolver of the system.
pub(super) fn system() -> Arc<Resolve> {
    Arc::new(|name, port| Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) }))
}

/// The addresses of the URL's host that may be connected to, at least one.
pub(super) async fn addresses(resolve: &Resolve, url: &KeyUrl, reach: Reach) -> Result<Vec<SocketAddr>, Cause> {
    // Before the name is resolved: the resolver's servers learn the name.
    reach.check_url(url)?;
    let found = match url.address() {
        Some(address) => vec![SocketAddr::new(address, url.port())],
        None => resolve(url.name(), url.port()).await.map_err(|error| Cause::Dns(shown(error)))?,
    };
    let mut refused = None;
    let mut allowed = Vec::new();
    for address in found {
        match reach.check_address(url, address.ip()) {
            Ok(()) => allowed.push(address),
            Err(why) => refused = Some(why),
        }
    }
    allowed.truncate(MOST_ADDRESSES);
    match refused {
        Some(why) if allowed.is_empty() => Err(why.into()),
        None if allowed.is_empty() => Err(Cause::Dns("it has no address".to_owned())),
        _ => Ok(allowed),
    }
}
