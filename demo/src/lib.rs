//! Curfew on one machine: real parts on free ports, and the demo that plays a story on them.
//!
//! The tests start the same parts in other arrangements, so there is one way to find Envoy, to start a control plane and
//! to stop both. A newcomer builds this crate first: it depends on no wasm host, no model checker and no database client.

pub mod bootstrap;
pub mod control_plane;
pub mod envoy;
mod family;
pub mod http;
pub mod link;
pub mod local_server;
pub mod ports;
pub mod prepare;
pub mod process;
pub mod settings;
pub mod stack;
pub mod story;
pub mod token;
pub mod upstream;
pub mod wheel;
