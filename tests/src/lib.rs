//! Curfew's testbed: everything that starts real parts and asks them questions.
//!
//! The demo, the tests and the measurements share this one harness, so there is one way to build the filter, to find
//! Envoy, to start servers and to mint tokens. Nothing here ships with the product, and nothing here decides anything
//! about tokens: the expectations are in the stories and in `tests/`.

pub mod attacks;
pub mod bootstrap;
pub mod control_plane;
pub mod dependencies;
pub mod envoy;
#[cfg(feature = "servers")]
pub mod failures;
mod family;
#[cfg(feature = "servers")]
pub mod faults;
pub mod fuel;
pub mod fuzz;
pub mod http;
pub mod http2;
pub mod link;
pub mod local_server;
pub mod measure;
pub mod ports;
pub mod process;
pub mod scripted;
#[cfg(feature = "servers")]
pub mod servers;
pub mod settings;
pub mod stack;
pub mod story;
pub mod tokens;
pub mod upstream;
pub mod wasm;
pub mod wasm_host;
mod wheel;
pub mod workspace;
