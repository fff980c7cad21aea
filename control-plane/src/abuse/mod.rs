//! What keeps failed logouts from costing others anything: limits, lanes, and one line in the log.

pub mod attempts;
mod cells;
mod counters;
pub mod lanes;
mod limit;
mod shares;
pub mod source;
pub mod summary;

pub use counters::{Counters, LaneLabels, LimitLabels, VerificationLabels};
