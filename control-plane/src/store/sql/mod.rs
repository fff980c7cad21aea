//! Everything in SQL: how a connection is made and prepared, and every statement.
//!
//! Most statements are the same for all databases. Where that is not possible, the texts stand side by side. No other
//! room knows the names of Curfew's tables.
//!
//! Each file uses only files before it in this list:
//!
//! 1. `driver`: statements on any of the three databases. `failure`: what an error means. `mysql_server`.
//! 2. `schema`: which tables exist. `log_rows`: rows of the log as values. `history`: the head and where it is kept.
//!    `trusted`: statements whose answer says whether it may be believed. `clocks`. `kept` and `keyspaces`: what is
//!    stored of settings.
//! 3. `connect`: connections that are opened for one purpose. `server`: what a start asks of a server. `check`: the
//!    evidence about a token.
//! 4. Reading: `reader`, the pool; then `queries`.
//! 5. Writing: `batch`, the transaction; then what is done in one: `clock_mark`, `revoke`, `logout`, `purge`, `register`,
//!    `take_over`, `adoption`, `prolong`, `orphaned`, `rights`.
//! 6. `control_planes` and `key_sets`: the rows of control planes, and the keys of issuers, read and written. `migrate`: the schema.

mod adoption;
mod batch;
mod check;
mod clock_mark;
mod clocks;
mod connect;
mod control_planes;
mod driver;
mod explain;
mod failure;
mod history;
mod kept;
mod key_sets;
mod keyspaces;
mod log_rows;
mod logout;
mod migrate;
mod migrations;
mod mysql_server;
mod orphaned;
mod prolong;
mod purge;
mod queries;
mod reader;
mod register;
mod revoke;
mod rights;
mod schema;
mod server;
mod take_over;
mod trusted;

pub(crate) use adoption::{Mark, TextHash, accepted, find_adoption, has_finished, marks, unfinished_adoptions};
pub(crate) use batch::Batch;
pub(crate) use check::CHECK;
pub(crate) use clocks::surely_past;
pub(crate) use connect::{Opened, create, foreign, look};
pub(crate) use driver::{Connection, Link, Row, Value, list, values};
pub(crate) use failure::{
    explained, is_distrusted, is_locked, is_no_answer, is_of_the_statement, is_read_only, may_pass,
};
pub(crate) use history::HistoryProbe;
pub(crate) use kept::{Kept, kept};
pub use migrate::{Applied, MigrateFailure};
pub(crate) use migrate::{is_done_by_another, migrate};
pub(crate) use purge::PURGE_ROWS;
pub(crate) use reader::Reader;
pub(crate) use register::TOKENS;
pub(crate) use schema::{are_of_curfew, columns, has_foreign_tokens, has_table};
pub(crate) use server::server_warnings;
pub(crate) use take_over::{Found, State, Taken, states};
