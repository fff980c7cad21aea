//! The workers that have polled of late, as operators see them. Nothing is decided by this.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use curfew_core::wire::FeedRequest;
use curfew_core::{Epoch, WorkerId};
use serde::{Deserialize, Serialize};

use super::Leases;
use crate::clock::since_boot;
use crate::log::LogPosition;

/// How long a worker is listed after its last poll.
const LISTED_FOR: Duration = Duration::from_secs(30);

/// Workers that are listed at most.
const MOST_LISTED: usize = 65_536;

/// Who polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The address that the connection comes from.
    pub address: IpAddr,
    /// The filter's version, as it says.
    pub version: Option<String>,
}

/// The answer of `GET /internal/v1/gateways`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayList {
    /// How far the log reaches, as far as this control plane knows; absent before anybody has asked.
    pub seq: Option<u64>,
    /// The workers, those first that polled longest ago.
    pub workers: Vec<Gateway>,
}

/// One worker. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// The name that it has given itself.
    pub worker: WorkerId,
    /// The address that its polls come from: the proxy's, or that of a proxy before this control plane.
    pub address: IpAddr,
    /// The filter's version, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Up to where it holds the log.
    pub applied: u64,
    /// How many places of the log it does not hold; absent where it holds another history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// How long its lease from this control plane runs at most from now on; 0 if it has none.
    pub lease_ms: u64,
    /// How long ago it polled here.
    pub polled_ms: u64,
}

#[derive(Default)]
pub(super) struct Gateways(BTreeMap<WorkerId, Seen>);

struct Seen {
    caller: Caller,
    epoch: Option<Epoch>,
    applied: u64,
    polled: Duration,
    lease_until: Duration,
    left: bool,
}

impl Gateways {
    /// A worker has polled at `now`.
    pub(super) fn polled(&mut self, request: &FeedRequest, caller: Caller, now: Duration) {
        if self.0.len() >= MOST_LISTED && !self.0.contains_key(&request.worker) {
            // Nobody may have asked for the list for long.
            self.sweep(now);
            if self.0.len() >= MOST_LISTED {
                return;
            }
        }
        let lease_until = self.0.get(&request.worker).map_or(Duration::ZERO, |seen| seen.lease_until);
        let (epoch, applied, left) = (request.epoch, request.applied, request.leaving);
        self.0.insert(request.worker, Seen { caller, epoch, applied, polled: now, lease_until, left });
    }

    /// It was given a lease.
    pub(super) fn granted(&mut self, worker: WorkerId, until: Duration) {
        if let Some(seen) = self.0.get_mut(&worker) {
            seen.lease_until = seen.lease_until.max(until);
        }
    }

    /// Forgets who has left, and who has not polled for long.
    fn sweep(&mut self, now: Duration) {
        self.0.retain(|_, seen| !seen.left && now.saturating_sub(seen.polled) < LISTED_FOR);
    }

    /// How many have a lease, and the longest time since one of them has polled.
    fn live(&mut self, now: Duration) -> (usize, Duration) {
        self.sweep(now);
        let live = self.0.values().filter(|seen| seen.lease_until > now);
        live.fold((0, Duration::ZERO), |(count, longest), seen| {
            (count + 1, longest.max(now.saturating_sub(seen.polled)))
        })
    }
}

impl Leases {
    pub(super) fn gateways(&self) -> MutexGuard<'_, Gateways> {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The workers that have polled here of late.
    pub fn list(&self) -> GatewayList {
        let now = since_boot();
        let known = self.known.borrow().map(|known| known.head);
        let mut gateways = self.gateways();
        gateways.sweep(now);
        let mut workers: Vec<_> = gateways.0.iter().map(|(worker, seen)| shown(*worker, seen, known, now)).collect();
        workers.sort_by_key(|gateway| std::cmp::Reverse(gateway.polled_ms));
        GatewayList { seq: known.map(|known| known.seq), workers }
    }

    /// Sets the gauges that only time moves.
    pub fn measure(&self) {
        let (live, longest) = self.gateways().live(since_boot());
        self.counters.workers.set(i64::try_from(live).unwrap_or(i64::MAX));
        self.counters.slowest.set(i64::try_from(longest.as_millis()).unwrap_or(i64::MAX));
    }
}

fn shown(worker: WorkerId, seen: &Seen, known: Option<LogPosition>, now: Duration) -> Gateway {
    let same = known.filter(|known| Some(known.epoch) == seen.epoch);
    Gateway {
        worker,
        address: seen.caller.address,
        version: seen.caller.version.clone(),
        applied: seen.applied,
        lag: same.map(|known| known.seq.saturating_sub(seen.applied)),
        lease_ms: milliseconds(seen.lease_until.saturating_sub(now)),
        polled_ms: milliseconds(now.saturating_sub(seen.polled)),
    }
}

fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
