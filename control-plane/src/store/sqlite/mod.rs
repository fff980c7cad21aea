//! Everything that is said in SQLite's words: how a connection is made, and every statement.
//!
//! Another database gets a module beside this one with the same functions; nothing outside knows a table's name.

mod batch;
mod connect;
mod migrate;
mod prolong;
mod read;
mod rows;

pub(crate) use batch::{Batch, PURGE_ROWS};
pub(crate) use connect::{create, is_locked, open_reads, open_writer};
pub use migrate::{Applied, MigrateFailure};
pub(crate) use migrate::{is_done_by_another, migrate};
pub(crate) use prolong::prolong_subjects;
pub(crate) use read::{evidence, head, revocations_after, sessions};
