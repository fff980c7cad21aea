//! Real servers for tests: PostgreSQL, MariaDB and Redis (single, Sentinel, Cluster).
//!
//! Each runs on a free loopback port with its data in a directory of its own. The start waits until the server answers,
//! and shows its output if it does not. A server ends when it is dropped or this process ends. No test uses a server
//! that was there before. All of them are killed, frozen and started again through [`Server`]. None gets a setting that
//! makes commits faster but less durable.

mod authority;
mod cluster;
pub(crate) mod install;
mod mariadb;
mod place;
mod postgres;
mod redis;
mod sentinel;
mod server;
mod sql;

pub use authority::Authority;
pub use cluster::Cluster;
pub use mariadb::Mariadb;
pub use postgres::Postgres;
pub use redis::Redis;
pub use sentinel::Sentinel;
pub use server::Server;

/// Finds or installs every program that the tests of servers need, and prints progress for slow steps.
///
/// # Errors
/// When a program cannot be had; the message says what to do.
pub fn find() -> anyhow::Result<()> {
    postgres::find()?;
    mariadb::find()?;
    redis::find()?;
    authority::find()
}
