//! The host's numbers for streams and callouts, which its callbacks name.

/// The host's number for a request's stream.
pub type StreamId = u32;

/// The host's number for a callout.
pub type CallId = u32;
