//! The layers around all handlers.

mod bounds;
mod counts;
mod panics;
mod secret;

pub(super) use bounds::{Bounds, bound};
pub(super) use counts::{count_requests, no_store};
pub(super) use panics::AnswerPanic;
pub(super) use secret::{InternalSecret, hide_methods, require_internal_secret};
