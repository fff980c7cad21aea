//! The answers of the same Redis to `redis-benchmark`, which only reads keys.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::place::Place;

/// How many reads: enough for some seconds.
const REQUESTS: &str = "100000";

/// GETs, for each of these numbers of clients; nothing if there is no Redis.
pub(super) fn gets(place: &Place, clients: &[usize]) -> Result<Vec<Value>> {
    let Some(redis) = place.redis() else { return Ok(Vec::new()) };
    clients.iter().map(|clients| get(redis.port(), *clients)).collect()
}

fn get(port: u16, clients: usize) -> Result<Value> {
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", "get", "-n", REQUESTS, "--csv"]);
    command.args(["-c", &clients.to_string()]);
    let output = command.output().context("redis-benchmark does not run: it comes with Debian's redis-tools")?;
    ensure!(output.status.success(), "redis-benchmark: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let [rate, p50, p99, most] = figures(&text).with_context(|| format!("redis-benchmark says: {text}"))?;
    println!("{:<44}{rate:>12.0}{p50:>10.2}{p99:>10.2}{most:>10.2}", format!("redis-benchmark GET, {clients} clients"));
    Ok(json!({"clients": clients, "per_second": rate, "p50_ms": p50, "p99_ms": p99, "max_ms": most}))
}

/// Rate, median, 99th percentile and maximum of a line such as
/// `"GET","71428.57","0.055","0.024","0.047","0.119","0.183","0.391"`.
fn figures(text: &str) -> Option<[f64; 4]> {
    let line = text.lines().find(|line| line.starts_with("\"GET\""))?;
    let fields: Vec<f64> = line.split(',').skip(1).filter_map(|field| field.trim_matches('"').parse().ok()).collect();
    match *fields.as_slice() {
        [rate, _average, _least, p50, _p95, p99, most] => Some([rate, p50, p99, most]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::figures;

    #[test]
    fn the_line_of_gets_is_read() {
        let text =
            "\"test\",\"rps\"\n\"GET\",\"71428.57\",\"0.055\",\"0.024\",\"0.047\",\"0.119\",\"0.183\",\"0.391\"\n";
        assert_eq!(figures(text), Some([71428.57, 0.047, 0.183, 0.391]));
        assert_eq!(figures("\"SET\",\"1\""), None);
    }
}
