//! The log of revocations as it is read from a place onwards.

use curfew_core::{Kind, RevocationKey};

use super::{FeedHead, ReadFailure, Store};
use crate::barrier::ReplicaId;

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

/// A page of the log, and what else one snapshot showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The head.
    pub head: FeedHead,
    /// The number in the asker's own row of `replicas`, if it has one.
    pub own_beat: Option<u64>,
    /// What follows the place that was asked for, in its order.
    pub entries: Vec<Logged>,
    /// Whether the snapshot held more than these.
    pub more: bool,
}

impl Store {
    /// What follows `after` in the log, `limit` revocations at most, for the control plane with this row.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn log_page(&self, asker: ReplicaId, after: i64, limit: usize) -> Result<LogPage, ReadFailure> {
        self.read(self.reads.log_page(asker, after, limit)).await
    }
}
