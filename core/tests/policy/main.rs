//! Whole tokens, judged by whole policies.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

mod algorithms;
mod claims;
mod configuration;
mod headers;
mod issue_times;
mod key_sets;
mod support;
