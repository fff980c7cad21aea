//! Host calls that fail, as in a broken host.

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
    /// Making a stream's context effective. For the root context it never fails, because the SDK itself depends on
    /// that.
    Select,
    /// Resuming a request.
    Resume,
    /// Answering a request.
    Reply,
    /// Metrics.
    Metric,
    /// Setting the tick period.
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

    /// True if a failure of this call can keep the filter from settling a request, because the host does not carry it
    /// out.
    pub fn settles(self) -> bool {
        matches!(self, Self::Select | Self::Resume | Self::Reply | Self::Tick)
    }
}

/// How a host call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing and reports an error.
    Error,
    /// It reports success and returns nothing.
    Empty,
    /// It reports success and returns meaningless bytes.
    Garbage,
}

impl Fault {
    /// The bytes that are returned instead of the real ones, or only a status.
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
