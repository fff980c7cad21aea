//! What clients reach through Envoy.

mod logout;
mod scope;
mod status;

pub(super) use logout::{logout, logout_all_device};
pub(super) use scope::Scope;
pub(super) use status::status;
