//! The running process: `curfew serve` from its start to its end, its log and its metrics.

mod announce;
pub mod clock_doubt;
pub mod clock_rate;
pub mod descriptors;
mod dumps;
mod failure;
mod file_lock;
mod http2_warnings;
pub mod metrics;
mod port_holder;
mod serve;
mod signals;
mod start;
mod telemetry;

use std::error::Error;

use crate::config::Config;

pub use failure::ServeFailure;
pub use serve::serve;

/// Runs `curfew serve` to its end, in a runtime and with a log of its own.
///
/// # Errors
///
/// See [`ServeFailure`]; or the runtime cannot be made.
pub fn run(config: Config) -> Result<(), Box<dyn Error>> {
    telemetry::init(&config.log);
    dumps::forbid();
    Ok(tokio::runtime::Runtime::new()?.block_on(serve(config))?)
}
