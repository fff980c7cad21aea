//! What the filter, services and operators reach.

mod check;
mod disagreement;
mod explain;
mod feed;
mod keys;
mod lgt_all;
mod sessions;
mod tokens;

pub(super) use check::check;
pub(super) use explain::{EXPLAIN_PATH, explain};
pub(super) use feed::{feed, gateways};
pub(super) use keys::{
    DISTRUST_PATH, REFRESH_PATH, REMOVE_PATH, SETS_PATH, TRUST_PATH, distrust, keys, refresh, remove, sets, trust,
};
pub(super) use lgt_all::lgt_all;
pub(super) use sessions::list as sessions;
pub use tokens::MAX_TOKENS;
pub(super) use tokens::register;
