//! Host calls that fail: what a host that is out of order does to the filter.

use std::collections::BTreeMap;

/// Host calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostCall {
    /// All pairs of a header map.
    HeaderPairs,
    /// One value of a header map.
    HeaderValue,
    /// Replacing or removing a request's header.
    HeaderChange,
    /// The bytes of a buffer.
    Buffer,
    /// Dispatching a callout.
    Dispatch,
    /// Making a stream's context effective. The root's never fails: the SDK itself cannot do without.
    Select,
    /// Letting a request go on.
    Resume,
    /// Answering a request.
    Reply,
    /// Counting.
    Metric,
    /// Asking for ticks.
    Tick,
    /// A foreign function.
    Foreign,
}

impl HostCall {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::HeaderPairs,
        Self::HeaderValue,
        Self::HeaderChange,
        Self::Buffer,
        Self::Dispatch,
        Self::Select,
        Self::Resume,
        Self::Reply,
        Self::Metric,
        Self::Tick,
        Self::Foreign,
    ];

    /// Whether a failure of this call can keep the filter from settling a request: the host does not do what it is told.
    pub fn settles(self) -> bool {
        matches!(self, Self::Select | Self::Resume | Self::Reply | Self::Tick)
    }
}

/// How a host call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing and says so.
    Error,
    /// It says that all is well, and hands over nothing.
    Empty,
    /// It says that all is well, and hands over bytes that mean nothing.
    Garbage,
}

impl Fault {
    /// What is handed over instead of the truth, or nothing but a status.
    pub(super) fn bytes(self) -> Option<&'static [u8]> {
        match self {
            Self::Error => None,
            Self::Empty => Some(b""),
            Self::Garbage => Some(&[0xff; 24]),
        }
    }
}

/// The calls that fail now.
pub(super) type Faults = BTreeMap<HostCall, Fault>;
