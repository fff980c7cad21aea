//! The rows by which control planes see each other, as values. The table is called `replicas`.

use std::fmt;

use super::LogPosition;

/// Names a running control plane: 128 random bits, new at each start. So what was known about an earlier process is
/// never taken as true of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ControlPlaneId([u8; 16]);

impl ControlPlaneId {
    /// Takes random bytes, or those of a row.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes as they are stored in a row.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ControlPlaneId {
    /// The first 32 bits, in hexadecimal digits: enough to tell a few control planes apart in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// One control plane's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ControlPlaneRow {
    /// The control plane whose row this is.
    pub id: ControlPlaneId,
    /// Raised with every write.
    pub beat: u64,
    /// The position that the control plane has confirmed.
    pub confirmed: Option<LogPosition>,
}

/// All rows, from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlanes {
    /// The log's head in that snapshot.
    pub head: LogPosition,
    /// The rows, in no order.
    pub rows: Vec<ControlPlaneRow>,
}

/// A write of a control plane's own row: insert it, or raise `beat` and set `confirmed` where the stored beat is lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Beat {
    /// The row's number.
    pub beat: u64,
    /// The position that is confirmed at this moment.
    pub confirmed: Option<LogPosition>,
}
