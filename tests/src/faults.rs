//! The promise under faults: a mesh of real parts, faults in it, and a checker that knows what each request may be told.
//!
//! Two Envoys of two workers each, two control planes, one PostgreSQL, one Redis; between Envoys and control planes, and
//! between these and what they store in, a network that can fail. Clients use some thousands of tokens and log some of them
//! out all the time. One process sends everything and so has one clock: whether a request *started* after its token's
//! logout had returned 200 is never a question of two clocks. [`ledger`] judges, [`scenes`] are the faults.
//!
//! What it does not show: open streams, which are not cut, and machines whose clocks stand still together.

mod clients;
mod connection;
mod dice;
pub mod ledger;
mod mesh;
pub mod pace;
mod population;
mod run;
pub mod scenes;

pub use mesh::{LEASE, Mesh, Setup};
pub use run::{Load, Outcome, play};
