//! The host's numbers for what it calls the filter back about.

/// The host's number for a request's stream.
pub type StreamId = u32;

/// The host's number for a callout.
pub type CallId = u32;
