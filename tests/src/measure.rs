//! What a request costs Envoy's worker: the parts that every such measurement is made of.
//!
//! All variants are listeners of one Envoy with one worker thread, each with a direct response behind its filters, and
//! are asked in short bursts in turn. What counts is the processor time of the worker thread, which other load on the
//! machine disturbs far less than the time on the clock, and its ratio to the bare listener's of the same round. How
//! much a variant costs in the client or the control plane is not in it.

mod authorization;
mod bench;
mod client;
mod clock;
mod histogram;
mod listener;
mod machine;
mod pace;
mod page;
mod statistics;
mod supply;

pub use authorization::Authorization;
pub use bench::{Bench, Cost, Expected, Variant};
pub use client::{Client, Statuses};
pub use clock::WorkerClock;
pub use histogram::Histogram;
pub use listener::{Behind, Guard, listener};
pub use machine::{Cores, description, resident_bytes};
pub use pace::pace;
pub use page::{PAGE, date, write_to_page};
pub use statistics::{Spread, spread};
pub use supply::{Burst, Supply, get};
