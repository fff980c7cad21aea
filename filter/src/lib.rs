//! Curfew's filter: refuses logged-out tokens inside Envoy.
//!
//! The decision is in the modules that know no proxy: [`gate`] leads through them. [`host`] is the only one that speaks
//! to the host, and [`glue`] turns the host's callbacks into facts and the gate's steps into host calls; neither
//! decides anything.

mod cache;
pub mod checks;
pub mod config;
pub mod feed;
pub mod gate;
pub mod header_map;
pub mod host_signature;
pub mod identity;
mod knowledge;
pub mod metrics;
mod names;
pub mod outage;
pub mod permit;
pub mod proofs;
pub mod questions;
pub mod replica;
pub mod request;
pub mod rules;
pub mod sources;
pub mod strict;

mod glue;
mod host;
#[cfg(feature = "trap")]
mod trap;
