//! A transaction of this process that was committed.

use std::time::Duration;

use super::LogPosition;

/// A committed transaction. The times are those of [`crate::clock::since_boot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The log's head before it. Other control planes made the commits between this process's previous commit and this
    /// position.
    pub before: LogPosition,
    /// The log's head after it.
    pub head: LogPosition,
    /// When it began, before its first statement.
    pub began: Duration,
    /// When the commit had returned.
    pub returned: Duration,
}
