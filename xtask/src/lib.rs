//! Builds what ships, with as few dependencies as possible: the filter's module, for Envoy, the images and the tests.
//!
//! The demo and the tests call this library, so there is one way to build the module. It also knows where the source tree
//! and the target directory are, and it shows how far a build is.

pub mod compile;
pub mod wasm;
pub mod workspace;
