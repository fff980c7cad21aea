//! The one way in which the harness answers HTTP itself: a router on a thread of its own, stopped when dropped.
//!
//! Three services are made of it: the protected service behind Envoy (`upstream`), a control plane that follows a
//! script (`scripted`), and the endpoint behind `ext_authz` that Curfew is measured against (`measure::Authorization`).
//! Each is a router with its own state; starting, the address and the end are the same for all.

use std::net::SocketAddr;
use std::thread;

use anyhow::{Context as _, Result};
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// A running server.
#[derive(Debug)]
pub struct LocalServer {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl LocalServer {
    /// Starts to serve on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(address: SocketAddr, router: Router) -> Result<Self> {
        let listener = std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        listener.set_nonblocking(true)?;
        // A crowd may connect at once, and the standard library lets the kernel keep only 128 until they are accepted.
        socket2::SockRef::from(&listener).listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            runtime.block_on(async move {
                let serve = async { axum::serve(TcpListener::from_std(listener)?, router).await };
                tokio::select! {
                    result = serve => result,
                    _ = stopped => Ok(()),
                }
            })
        });
        Ok(Self { address, _stop: stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
