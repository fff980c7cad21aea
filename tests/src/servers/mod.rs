//! Real servers for tests: PostgreSQL, MariaDB and Redis (single, Sentinel, Cluster), and a network that can fail.
//!
//! Each runs on a free loopback port with its data in a directory of its own, waits until it answers, shows its output
//! when it does not, and is gone when it is dropped or this process ends. No test uses a server that was there before.
//! All of them are killed, frozen and started again through [`Server`]; nothing is made faster by giving up what makes
//! a commit durable.

mod authority;
mod cluster;
mod fault;
mod install;
mod mariadb;
mod place;
mod postgres;
mod redis;
mod sentinel;
mod server;
mod sql;

pub use authority::Authority;
pub use cluster::Cluster;
pub use fault::{Direction, Fault};
pub use mariadb::Mariadb;
pub use postgres::Postgres;
pub use redis::Redis;
pub use sentinel::Sentinel;
pub use server::Server;

/// Finds or installs every program that the tests of servers need, with a line of progress for what takes long.
///
/// # Errors
/// When one cannot be had; the message says what to do.
pub fn find() -> anyhow::Result<()> {
    postgres::find()?;
    mariadb::find()?;
    redis::find()?;
    authority::find()
}
