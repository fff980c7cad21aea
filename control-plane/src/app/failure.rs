//! Why `curfew serve` ends with an error.

use std::net::SocketAddr;

use crate::redis::Misconfigured;
use crate::store::OpenFailure;

/// Why the server did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeFailure {
    /// The database cannot be used.
    #[error("DATABASE_URL: {0}")]
    Database(#[from] OpenFailure),
    /// Logouts of all devices would no longer cover any token.
    #[error(
        "logouts of all devices are in force that the present settings do not reach: they were made for {0}. Restore \
         these settings (CURFEW_ISSUER or CURFEW_ISSUERS_FILE, CURFEW_USER_CLAIM, CURFEW_ISSUED_AT_CLAIM), or start \
         once with --accept-new-keyspace and log those users out again"
    )]
    Keyspace(String),
    /// Redis shows that a setting is wrong.
    #[error(transparent)]
    Redis(#[from] Misconfigured),
    /// An address cannot be listened on.
    #[error("{setting}: cannot listen on {address}: {source}")]
    Listen {
        /// The setting with the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Signals cannot be received, or the addresses cannot be printed.
    #[error("the process cannot be set up: {0}")]
    Process(#[from] std::io::Error),
    /// A task ended, although no task ends by itself.
    #[error("{0} stopped by itself")]
    Stopped(&'static str),
}
