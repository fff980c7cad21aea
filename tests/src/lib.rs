//! Curfew's testbed: everything that starts real parts and asks them questions.
//!
//! The tests and the measurements share this harness. The parts that the demo needs too are in `demo/`, and the build of
//! the filter is in `xtask/`; their modules have a second name here. Nothing here ships with the product, and nothing here
//! decides anything about tokens: the expectations are in the stories and in `tests/`.

pub mod attacks;
#[cfg(feature = "servers")]
pub mod clients;
pub mod dependencies;
#[cfg(feature = "servers")]
pub mod failures;
#[cfg(feature = "servers")]
pub mod faults;
pub mod fuel;
pub mod fuzz;
pub mod gunicorn;
pub mod http2;
pub mod key_server;
pub mod measure;
pub mod node;
pub mod preloaded;
pub mod provider;
pub mod rooms;
pub mod scripted;
#[cfg(feature = "servers")]
pub mod servers;
pub mod tokens;
pub mod wasm_host;

pub use curfew_demo::{
    bootstrap, control_plane, envoy, http, link, local_server, ports, process, settings, stack, story, upstream, wheel,
};
pub use xtask::{wasm, workspace};
