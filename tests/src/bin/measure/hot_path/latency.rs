//! Latency of each variant at a fixed rate of requests. On a machine that does other work too, it shows mostly that
//! work.

use std::time::Duration;

use anyhow::Result;
use curfew_testbed::measure::pace;
use curfew_testbed::stack::Stack;
use serde_json::{Value, json};

use super::variants::Row;

/// How long requests are sent to each variant.
const LENGTH: Duration = Duration::from_secs(3);

/// Measures the variants whose requests can be sent again, one after the other.
pub(super) fn measure(rows: &[Row], stack: &Stack, rate: u32) -> Result<Vec<Value>> {
    println!("\n{:<34}{:>10}{:>10}   at {rate} requests a second", "latency, us", "p50", "p99");
    let row = |row: &Row| {
        let address = stack.envoy.listener(row.listener)?;
        let latencies = pace(address, &row.requests, row.expected.status, rate, LENGTH)?;
        let [median, p99] = [50, 99].map(|percent| at(&latencies, percent));
        println!("{:<34}{median:>10.0}{p99:>10.0}", row.name);
        Ok(json!({
            "variant": row.name, "rate": rate, "p50_us": median.round(), "p99_us": p99.round(), "requests": latencies.len(),
        }))
    };
    rows.iter().filter(|row| row.repeats()).map(row).collect()
}

/// The number below which this many percent of the sorted numbers lie.
fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}
