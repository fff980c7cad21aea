//! Variants that get requests in bursts in turn, and the cost of each request for the worker.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::client::Client;
use super::clock::WorkerClock;
use super::statistics::{Spread, spread};
use super::supply::Supply;
use crate::http::read_answer;

/// Requests under way at the same time: enough that the worker need not wait for the client. [`Cost::busy`] shows if it
/// waits for another service, as with `ext_authz`.
const CONNECTIONS: usize = 16;

/// The answer that a variant must always give; another one makes its figure worthless.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The status of every answer.
    pub status: u16,
    /// A part of the body of one answer, checked before the bursts: a 401 alone does not show that the request was
    /// refused for the reason that the variant is about.
    pub says: &'static str,
}

/// One listener with one kind of request.
#[derive(Debug)]
pub struct Variant {
    /// The kind of request, by its name in the table.
    pub name: String,
    /// The listener, by its name in the table.
    pub guard: String,
    expected: Expected,
    supply: Supply,
    client: Client,
    /// Microseconds per request, round by round.
    bursts: Vec<f64>,
    requests: u64,
    /// The worker's processor time and the wall-clock time, in all bursts that count.
    spent: Duration,
    lasted: Duration,
}

/// The cost of a variant's request for the worker, in microseconds, and beside the bare listener.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The worker's processor time.
    pub microseconds: Spread,
    /// The difference to the bare listener.
    pub added: Spread,
    /// The ratio to the bare listener.
    pub ratio: Spread,
    /// How many were measured.
    pub requests: u64,
    /// The share of the time in which the worker was busy. A worker that waits is woken for single events, which makes
    /// each request dearer.
    pub busy: f64,
}

impl Variant {
    /// A variant whose requests go to `address`.
    ///
    /// # Errors
    /// When nothing listens there, or there is nothing to send.
    pub fn new(name: &str, guard: &str, address: SocketAddr, mut supply: Supply, expected: Expected) -> Result<Self> {
        ensure!(!supply.is_empty(), "{name}: there is nothing to send");
        let (name, guard) = (name.to_owned(), guard.to_owned());
        look(address, &mut supply, expected).with_context(|| format!("{name} at {guard}"))?;
        let client = Client::connect(address, CONNECTIONS)?;
        Ok(Self {
            name,
            guard,
            expected,
            supply,
            client,
            bursts: Vec::new(),
            requests: 0,
            spent: Duration::ZERO,
            lasted: Duration::ZERO,
        })
    }

    fn burst(&mut self, clock: &WorkerClock, limit: Duration) -> Result<(Duration, u64)> {
        let before = clock.read()?;
        let statuses = self.client.run(&mut self.supply.burst(), limit)?;
        let spent = clock.read()?.saturating_sub(before);
        let requests = statuses.values().sum();
        if requests == 0 || statuses.keys().any(|status| *status != self.expected.status) {
            bail!("{} at {}: not all {}: {statuses:?}", self.name, self.guard, self.expected.status);
        }
        Ok((spent, requests))
    }
}

/// Sends one request and checks the whole answer.
fn look(address: SocketAddr, supply: &mut Supply, expected: Expected) -> Result<()> {
    let mut burst = supply.burst();
    let request = burst.take().context("there is nothing to send")?;
    let mut stream = crate::http::connect(address)?;
    std::io::Write::write_all(&mut stream, request)?;
    let answer = read_answer(&mut std::io::BufReader::new(stream), "GET")?;
    let says = answer.text();
    if answer.status != expected.status || !says.contains(expected.says) {
        bail!("not {} {:?}: {} {says}", expected.status, expected.says, answer.status);
    }
    Ok(())
}

/// All variants, the bare listener first.
#[derive(Debug)]
pub struct Bench {
    clock: WorkerClock,
    variants: Vec<Variant>,
    rounds: usize,
}

impl Bench {
    /// Variants to be measured by one worker's clock. The others are compared with the first.
    ///
    /// # Errors
    /// When there is nothing to compare with.
    pub fn new(clock: WorkerClock, variants: Vec<Variant>) -> Result<Self> {
        ensure!(variants.len() > 1, "there is nothing to compare");
        Ok(Self { clock, variants, rounds: 0 })
    }

    /// One burst for each variant, which is not counted: it compiles code, and fills connections and caches.
    ///
    /// # Errors
    /// As [`Bench::round`].
    pub fn warm_up(&mut self, burst: Duration) -> Result<()> {
        for variant in &mut self.variants {
            variant.burst(&self.clock, burst)?;
        }
        Ok(())
    }

    /// One burst for each variant, of at most this length. Each round begins with another variant, so that none always
    /// follows the same one.
    ///
    /// # Errors
    /// When an answer is not what the variant expects.
    pub fn round(&mut self, burst: Duration) -> Result<()> {
        let (count, first) = (self.variants.len(), self.rounds);
        for place in (0..count).map(|place| (first + place) % count) {
            let variant = self.variants.get_mut(place).context("a place among the variants")?;
            let start = Instant::now();
            let (spent, requests) = variant.burst(&self.clock, burst)?;
            variant.lasted += start.elapsed();
            variant.spent += spent;
            variant.bursts.push(spent.as_secs_f64() * 1e6 / requests as f64);
            variant.requests += requests;
        }
        self.rounds += 1;
        Ok(())
    }

    /// The clock, for other measurements.
    pub fn clock(&self) -> &WorkerClock {
        &self.clock
    }

    /// The ratio of a request of `one` to a request of `other`, round by round; `None` if one of them was not measured.
    pub fn times(&self, one: &str, other: &str) -> Option<Spread> {
        let bursts = |name: &str| self.variants.iter().find(|variant| variant.name == name).map(|own| &own.bursts);
        let (one, other) = (bursts(one)?, bursts(other)?);
        Some(spread(one.iter().zip(other).map(|(one, other)| one / other)))
    }

    /// Each variant with its cost, in the order given.
    pub fn costs(&self) -> Vec<(&Variant, Cost)> {
        let bare: &[f64] = self.variants.first().map_or(&[], |variant| &variant.bursts);
        let cost = |variant: &Variant| {
            let pairs = || variant.bursts.iter().zip(bare);
            Cost {
                microseconds: spread(variant.bursts.iter().copied()),
                added: spread(pairs().map(|(own, bare)| own - bare)),
                ratio: spread(pairs().map(|(own, bare)| own / bare)),
                requests: variant.requests,
                busy: variant.spent.as_secs_f64() / variant.lasted.as_secs_f64().max(f64::EPSILON),
            }
        };
        self.variants.iter().map(|variant| (variant, cost(variant))).collect()
    }
}
