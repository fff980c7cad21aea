//! Real parts under faults: the one fault injector of the harness, the clients that watch, and the one ledger.
//!
//! A [`Mesh`] runs Envoys, control planes and their stores, with links between them that can fail. [`play`] runs
//! clients against it, then a fault ([`inject`]), and waits until the mesh works again. Every client enters its
//! requests and logouts in a [`ledger::Ledger`]. All clients are threads of one process and read one clock, so whether
//! a request *started* after its token's logout had returned 200 is never a question of two clocks.
//!
//! Two lists of faults are played with it, and each judges the same ledger by its own rules:
//!
//! | | `failures::stories` | [`scenes`] |
//! |---|---|---|
//! | question | What does a client see when a part fails, and is a logout ever lost? | Does the promise hold under faults? |
//! | mesh | one Envoy, one or two control planes, any database; a new mesh for each story | two Envoys, two control planes, PostgreSQL and Redis; one mesh for many scenes |
//! | mode of the filter | `bounded` with one second | `strict` |
//! | links that can fail | to Redis | between all parts |
//! | clients | new tokens that are used once and logged out through Envoy; tokens that stay; dead tokens; questions to the control planes | a population of tokens in use; logouts at the control planes, repeated until they succeed, with a look at each Envoy after each 200; one that adds keys of a second issuer and takes others away, in the same way |
//! | allowed | the answers that the story claims, and the times | 401 for dead tokens only, 503 only in a declared outage |
//! | afterwards | every logout that returned 200 is looked up in the database | |
//!
//! Two things are out of reach: streams that stay open, and machines whose clocks stand still together.

mod audit;
mod clients;
mod connection;
mod dice;
pub(crate) mod inject;
mod keyring;
pub mod ledger;
mod mesh;
mod outside;
pub mod pace;
mod population;
mod run;
pub mod scenes;

pub use audit::Audit;
pub use clients::{Leaving, Load};
pub use mesh::{LEASE, Mesh, Network, Promise, RedisMemory, Setup, Sql, Wiring};
pub use run::{Fault, Played, Stage, Times, play, play_and_audit};
