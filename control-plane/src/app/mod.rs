//! The running process: `curfew serve` from its start to its end, its log and its metrics.

pub mod descriptors;
pub mod metrics;
pub mod serve;
pub mod telemetry;
