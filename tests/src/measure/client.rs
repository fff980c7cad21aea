//! A client that keeps Envoy busy from one thread: connections that stay open, one request under way on each.

use std::collections::BTreeMap;
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::supply::Burst;
use crate::http::{connect, read_answer};

/// How many answers there were of each status.
pub type Statuses = BTreeMap<u16, u64>;

/// Some connections to one listener.
#[derive(Debug)]
pub struct Client {
    connections: Vec<BufReader<TcpStream>>,
}

impl Client {
    /// Connects this many times.
    ///
    /// # Errors
    /// When nothing listens there.
    pub fn connect(address: SocketAddr, connections: usize) -> Result<Self> {
        let connections = (0..connections).map(|_| Ok(BufReader::new(connect(address)?)));
        Ok(Self { connections: connections.collect::<Result<_>>()? })
    }

    /// Sends requests until the burst has no more or `limit` is over, and reads every answer.
    ///
    /// # Errors
    /// When a connection ends or an answer is not HTTP/1.1.
    pub fn run(&mut self, burst: &mut Burst<'_>, limit: Duration) -> Result<Statuses> {
        let start = Instant::now();
        let mut statuses = Statuses::new();
        let mut under_way = vec![false; self.connections.len()];
        loop {
            for (connection, under_way) in self.connections.iter_mut().zip(&mut under_way) {
                if *under_way {
                    *statuses.entry(read_answer(connection, "GET")?.status).or_default() += 1;
                }
                let request = if start.elapsed() < limit { burst.take() } else { None };
                *under_way = request.is_some();
                if let Some(request) = request {
                    connection.get_mut().write_all(request)?;
                }
            }
            if !under_way.contains(&true) {
                return Ok(statuses);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Supply, get};
    use crate::ports::loopback;
    use crate::upstream::Upstream;

    #[test]
    fn every_request_of_a_burst_is_sent_and_answered() {
        let upstream = Upstream::start(loopback(0)).unwrap();
        let mut client = Client::connect(upstream.address(), 4).unwrap();
        let requests = (0..10).map(|number| get("/", &[("x-number", &number.to_string())])).collect();
        let mut supply = Supply::once(requests, 1);
        let statuses = client.run(&mut supply.burst(), Duration::from_secs(60)).unwrap();
        assert_eq!((statuses, upstream.requests_seen()), (Statuses::from([(200, 10)]), 10));
        assert_eq!(client.run(&mut supply.burst(), Duration::from_secs(60)).unwrap(), Statuses::new());
    }
}
