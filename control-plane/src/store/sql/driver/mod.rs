//! Statements on any of the three databases: connections, values, rows, placeholders.
//!
//! Not `sqlx::Any`: that connects by a URL alone, so that neither a file's mode nor a session could be prepared with
//! types, and it reads fewer column types than the three have in common.

mod checkout;
mod connection;
mod link;
mod placeholders;
mod pool;
mod row;
mod value;

pub(crate) use checkout::CheckedOut;
pub(crate) use connection::Connection;
pub(crate) use link::Link;
pub(super) use link::within;
pub(crate) use placeholders::{list, tuples};
pub(super) use pool::Pool;
pub(crate) use row::Row;
pub(crate) use value::{Value, values};
