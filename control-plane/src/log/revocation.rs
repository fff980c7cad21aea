//! Entries of the log, and pages of them.

use curfew_core::{Kind, RevocationKey};

use super::LogPosition;

/// A revocation with its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// Its place; later ones are higher.
    pub seq: u64,
    /// What the key names.
    pub kind: Kind,
    /// What is revoked.
    pub key: RevocationKey,
    /// A subject entry covers tokens issued up to this second of Unix time.
    pub cutoff: i64,
    /// When it may be forgotten, in seconds of Unix time.
    pub expires_at: i64,
}

/// A page of the log, and what else the same snapshot showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The log's head.
    pub head: LogPosition,
    /// The newest change of keys; 0 for none.
    pub keys_seq: u64,
    /// The beat in the row of the control plane that reads, if it has a row.
    pub own_beat: Option<u64>,
    /// The entries after the requested place, in the log's order.
    pub entries: Vec<Logged>,
    /// True if the snapshot held more entries than these.
    pub more: bool,
}
