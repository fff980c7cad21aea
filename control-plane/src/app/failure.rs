//! Why `curfew serve` ends with an error.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::port_holder::Holder;
use crate::redis::Misconfigured;
use crate::store::OpenFailure;

/// Why the server did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeFailure {
    /// The database cannot be used.
    #[error("DATABASE_URL: {0}")]
    Database(#[from] OpenFailure),
    /// Another server uses the same embedded database.
    #[error(
        "DATABASE_URL: another `curfew serve` uses {}: {holder}. A SQLite file has one control plane: stop the other one, \
         or use PostgreSQL, MySQL or MariaDB for several",
        .file.display()
    )]
    FileInUse {
        /// The database's file.
        file: PathBuf,
        /// The other server's process and addresses.
        holder: String,
    },
    /// The file cannot be locked.
    #[error("DATABASE_URL: {} cannot be locked, which keeps a second server away: {source}", .path.display())]
    FileLock {
        /// The file beside the database.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Logouts of all devices, or of sessions, would no longer cover any token.
    #[error(
        "logouts of all devices or of sessions are in force that the present settings do not reach: they were made for \
         {0}. Restore these settings (CURFEW_ISSUER or CURFEW_ISSUERS_FILE, CURFEW_USER_CLAIM, CURFEW_ISSUED_AT_CLAIM, \
         CURFEW_SESSION_CLAIM), or start once with --accept-new-keyspace and log those users out again"
    )]
    Keyspace(String),
    /// Redis shows that a setting is wrong.
    #[error(transparent)]
    Redis(#[from] Misconfigured),
    /// An address cannot be listened on.
    #[error("{setting}: cannot listen on {address}: {source}{}", remedy(setting, source, holder.as_ref()))]
    Listen {
        /// The setting with the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
        /// The process that listens there, if that is the reason and it can be told.
        holder: Option<Holder>,
    },
    /// Signals cannot be received, or the addresses cannot be printed.
    #[error("the process cannot be set up: {0}")]
    Process(#[from] std::io::Error),
    /// A task ended, although no task ends by itself.
    #[error("{0} stopped by itself")]
    Stopped(&'static str),
}

/// What to do about an address, if the reason tells.
fn remedy(setting: &str, source: &std::io::Error, holder: Option<&Holder>) -> String {
    let flag = if setting == "CURFEW_PUBLIC_LISTEN" { "--public-listen" } else { "--internal-listen" };
    let another = format!("set {setting} or {flag} to another");
    match source.kind() {
        ErrorKind::AddrInUse => {
            let holder = holder.map_or_else(
                || "another process listens there, perhaps another `curfew serve`".to_owned(),
                ToString::to_string,
            );
            format!(": {holder}. Stop it, or {another} port")
        }
        ErrorKind::AddrNotAvailable => format!(": this machine has no such address, {another} address"),
        ErrorKind::PermissionDenied => format!(": ports below 1024 need a right of their own, {another} port"),
        _ => String::new(),
    }
}
