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

/// The first eight hexadecimal digits, which are enough to tell the control planes of a log apart.
impl fmt::Display for ControlPlaneId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", u128::from_be_bytes(self.0) >> 96)
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

impl ControlPlaneRow {
    /// The beat of a row that belongs to no control plane. It stands for control planes that can grant no lease any more,
    /// and whose leases may not be over yet. The beats of control planes begin at 1.
    pub const NOBODY: u64 = 0;

    /// The row that belongs to no control plane, under this random id.
    pub const fn nobody(id: ControlPlaneId) -> Self {
        Self { id, beat: Self::NOBODY, confirmed: None }
    }

    /// True if the row belongs to no control plane.
    pub const fn is_nobody(self) -> bool {
        self.beat == Self::NOBODY
    }
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
