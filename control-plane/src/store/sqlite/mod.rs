//! Everything that is said in SQLite's words: how a connection is made, and every statement.
//!
//! Another database gets a module beside this one with the same functions; nothing outside knows a table's name.

mod batch;
mod connect;
mod migrate;
mod read;
mod rows;

pub(crate) use batch::{Batch, PURGE_ROWS};
pub(crate) use connect::{create, open_reads, open_writer};
pub(crate) use migrate::migrate;
pub use migrate::{Applied, MigrateFailure};
pub(crate) use read::{evidence, head, sessions};
