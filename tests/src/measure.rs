//! The cost of a request for Envoy's worker: the parts that all such measurements share.
//!
//! All variants are listeners of one Envoy with one worker thread, each with a direct response behind its filters, and
//! get requests in short bursts in turn. The figures are the processor time of the worker thread, which other load on
//! the machine disturbs far less than wall-clock time, and its ratio to that of the bare listener in the same round.
//! The cost in the client and in the control plane is not included.

mod authorization;
mod barrier;
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
pub use barrier::Waits;
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
