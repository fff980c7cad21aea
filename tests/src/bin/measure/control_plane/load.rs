//! Clients on threads of their own, each with one request after the other, for some time.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

/// The work that one client repeats; it returns how long the measured part took.
pub(super) type Client = Box<dyn FnMut() -> Result<Duration>>;

/// How often the work was done, and how long each repetition took.
pub(super) struct Load {
    sorted: Vec<Duration>,
    elapsed: Duration,
}

impl Load {
    pub(super) fn per_second(&self) -> f64 {
        self.sorted.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The percentile, in milliseconds.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let position = (self.sorted.len() * percent).div_ceil(100).saturating_sub(1);
        self.sorted.get(position).copied().unwrap_or_default().as_secs_f64() * 1e3
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "per_second": self.per_second(), "count": self.sorted.len(),
            "p50_ms": self.percentile(50), "p99_ms": self.percentile(99), "max_ms": self.percentile(100),
        })
    }
}

/// Lets `clients` work for `limit`. All are connected before the first one begins.
pub(super) fn run(clients: usize, limit: Duration, connect: impl Fn() -> Result<Client> + Sync) -> Result<Load> {
    let barrier = Barrier::new(clients);
    let work = || -> Result<(Vec<Duration>, Duration)> {
        let client = connect();
        barrier.wait();
        let (mut client, started) = (client?, Instant::now());
        let mut times = Vec::new();
        while started.elapsed() < limit {
            times.push(client()?);
        }
        Ok((times, started.elapsed()))
    };
    let ended: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let (mut sorted, mut elapsed) = (Vec::new(), Duration::ZERO);
    for client in ended {
        let Ok(client) = client else { bail!("a client panicked") };
        let (times, took) = client?;
        sorted.extend(times);
        elapsed = elapsed.max(took);
    }
    sorted.sort();
    Ok(Load { sorted, elapsed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_works_until_the_end_and_is_counted() {
        let client = || -> Result<Client> {
            Ok(Box::new(|| {
                thread::sleep(Duration::from_millis(5));
                Ok(Duration::from_millis(7))
            }))
        };
        let load = run(3, Duration::from_millis(40), client).unwrap();
        assert!(load.sorted.len() >= 3 && load.elapsed >= Duration::from_millis(40));
        assert!((load.percentile(50) - 7.0).abs() < 1e-9 && (load.percentile(100) - 7.0).abs() < 1e-9);
        assert!(run(2, Duration::from_millis(1), || bail!("nothing listens there")).is_err());
    }
}
