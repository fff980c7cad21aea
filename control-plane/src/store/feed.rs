//! The log of revocations as it is read from a place onwards.

use curfew_core::{Kind, RevocationKey};

/// A stored revocation with its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// Its place; later ones are higher.
    pub seq: i64,
    /// What the key names.
    pub kind: Kind,
    /// What is revoked.
    pub key: RevocationKey,
    /// A subject entry covers tokens issued up to this second of Unix time.
    pub cutoff: i64,
    /// When it may be forgotten, seconds of Unix time.
    pub expires_at: i64,
}
