//! Statements on any of the three databases: connections, values, rows, placeholders.
//!
//! `sqlx::Any` is not used. It connects by a URL alone, without typed options for a file's mode or a session, and it
//! reads fewer column types than the three databases have in common.

mod checkout;
mod connection;
mod link;
mod literals;
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
