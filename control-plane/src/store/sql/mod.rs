//! Everything that is said in SQL: how a connection is made and prepared, and every statement.
//!
//! Statements are the same for all databases where that is possible, and it mostly is; where it is not, the texts stand
//! side by side. Nothing outside knows a table's name.

mod adoption;
mod batch;
mod borrowed;
mod connect;
mod connection;
mod control_planes;
mod failure;
mod history;
mod keyspaces;
mod migrate;
mod migrations;
mod old_table;
mod per_driver;
mod placeholders;
mod prolong;
mod read;
mod reads;
mod register;
mod row;
mod rows;
mod server;
mod tables;
mod take_over;
mod trusted;
mod value;

pub(crate) use adoption::{begin, names_are_free};
pub(crate) use batch::{Batch, PURGE_ROWS, surely_past};
pub(crate) use connect::{Opened, create, look};
pub(crate) use connection::Link;
pub(crate) use failure::{explained, is_locked, is_of_the_statement, is_read_only, may_pass};
pub(crate) use history::HistoryProbe;
pub use migrate::{Applied, MigrateFailure};
pub(crate) use migrate::{apply, is_done_by_another, migrate};
pub(crate) use old_table::{Mark, OldRow, OldTable, is_blank, unusable};
pub(crate) use per_driver::PerDriver;
pub(crate) use prolong::{Kept, kept};
pub(crate) use read::CHECK;
pub(crate) use reads::Reads;
pub(crate) use server::server_warnings;
pub(crate) use tables::{Layout, Tables, layout};
pub(crate) use take_over::{Found, State, states};
pub(crate) use value::Value;
