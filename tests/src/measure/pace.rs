//! Latency at a fixed rate of requests.
//!
//! A client that waits for an answer before it sends the next request slows down with the server, and so hides how slow
//! the server was. Here each request has its planned time, and its latency counts from that time, whenever it could be
//! sent.

use std::io::{BufReader, Write as _};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::http::{connect, read_answer};

/// Connections, each on a thread of its own, and so the largest number of requests under way.
const CONNECTIONS: u32 = 8;

/// Sends `requests` in turn, `rate` of them a second, for the given time; returns all latencies, sorted.
///
/// # Errors
/// When a connection ends or an answer has another status than `status`.
pub fn pace(address: SocketAddr, requests: &[Vec<u8>], status: u16, rate: u32, length: Duration) -> Result<Vec<f64>> {
    ensure!(!requests.is_empty() && rate > 0, "there is nothing to send");
    let start = Instant::now() + Duration::from_millis(10);
    let client = |number: u32| {
        let mut latencies = Vec::new();
        let mut connection = BufReader::new(connect(address)?);
        let turns = (number..).step_by(CONNECTIONS as usize);
        for (turn, request) in turns.zip(requests.iter().cycle().skip(number as usize)) {
            let due = Duration::from_secs(1) * turn / rate;
            if due >= length {
                break;
            }
            thread::sleep((start + due).saturating_duration_since(Instant::now()));
            connection.get_mut().write_all(request)?;
            let answer = read_answer(&mut connection, "GET")?;
            ensure!(answer.status == status, "not {status}: {} {}", answer.status, answer.text());
            latencies.push((start + due).elapsed().as_secs_f64() * 1e6);
        }
        Ok(latencies)
    };
    let mut all = thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|number| scope.spawn(move || client(number))).collect();
        let results = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?);
        results.collect::<Result<Vec<_>>>()
    })?
    .concat();
    all.sort_by(f64::total_cmp);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::get;
    use crate::ports::loopback;
    use crate::upstream::Upstream;

    #[test]
    fn every_request_has_its_time() {
        let upstream = Upstream::start(loopback(0)).unwrap();
        let requests = [get("/a", &[]), get("/b", &[])];
        let start = Instant::now();
        let latencies = pace(upstream.address(), &requests, 200, 100, Duration::from_millis(200)).unwrap();
        assert_eq!((latencies.len(), upstream.requests_seen()), (20, 20));
        assert!(start.elapsed() >= Duration::from_millis(190));
        assert!(latencies.iter().all(|latency| *latency > 0.0) && latencies.is_sorted());
        assert!(pace(upstream.address(), &requests, 401, 100, Duration::from_millis(200)).is_err());
    }
}
