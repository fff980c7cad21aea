//! The workers that have polled recently, as operators see them. No decision depends on this list.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_core::wire::FeedRequest;
use curfew_core::{Epoch, WorkerId};
use serde::{Deserialize, Serialize};

use crate::log::LogPosition;

/// How long a worker is listed after its last poll.
const LISTED_FOR: Duration = Duration::from_secs(30);

/// A worker without a lease that has not polled for so long is gone. The longest pause between two polls of a worker that
/// runs is 2 s, after failures.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// A worker that polls, and that has taken nothing over for so long although there is something, needs an operator. A page
/// takes a fraction of a second.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// The most workers that are listed.
const MOST_LISTED: usize = 65_536;

/// The sender of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The address that the connection comes from.
    pub address: IpAddr,
    /// The filter's version, as the filter reports it.
    pub version: Option<String>,
}

/// The answer of `GET /internal/v1/gateways`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayList {
    /// The newest seq that this control plane knows; absent until it has read or written the log.
    pub seq: Option<u64>,
    /// The workers; the one that polled longest ago comes first.
    pub workers: Vec<Gateway>,
}

/// How far a worker is. Only [`Self::Stuck`] needs an operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayState {
    /// It holds everything that this control plane knows.
    UpToDate,
    /// It has begun, and holds nothing yet.
    Starting,
    /// It takes over what it lacks, or a history that began anew.
    CatchingUp,
    /// It polls, and takes nothing over although it lacks something.
    Stuck,
    /// It has no lease and polls no more: its Envoy has ended, or cannot reach this control plane.
    Gone,
    /// Unknown, because this control plane has not read the log since its start.
    #[default]
    Unknown,
}

/// One worker. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// The id that the worker has given itself.
    pub worker: WorkerId,
    /// The address that its polls come from: that of its Envoy, or of a proxy in front of this control plane.
    pub address: IpAddr,
    /// The filter's version, if the filter reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How far it is. An older control plane does not say it.
    #[serde(default)]
    pub state: GatewayState,
    /// The seq up to which it holds the log.
    pub applied: u64,
    /// How many revocations of the log it does not hold yet; absent if it holds another history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// How much longer its lease from this control plane may run; 0 if it has none.
    pub lease_ms: u64,
    /// How long ago it polled here.
    pub polled_ms: u64,
}

/// The workers, by id.
#[derive(Default)]
pub(super) struct Gateways(Mutex<BTreeMap<WorkerId, Seen>>);

struct Seen {
    caller: Caller,
    epoch: Option<Epoch>,
    applied: u64,
    polled: Duration,
    /// When it was last up to date, or took something over.
    moved: Duration,
    lease_until: Duration,
    left: bool,
}

impl Gateways {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a worker has polled at `now`, with the log at `head`.
    pub(super) fn polled(&self, request: &FeedRequest, caller: Caller, head: Option<LogPosition>, now: Duration) {
        let mut workers = self.seen();
        if workers.len() >= MOST_LISTED && !workers.contains_key(&request.worker) {
            // The list may not have been read, and so not swept, for a long time.
            sweep(&mut workers, now);
            if workers.len() >= MOST_LISTED {
                return;
            }
        }
        let before = workers.get(&request.worker);
        let lease_until = before.map_or(Duration::ZERO, |seen| seen.lease_until);
        let (epoch, applied, left) = (request.epoch, request.applied, request.leaving);
        let lacks_something = head.is_some_and(|head| !is_up_to_date(epoch, applied, head));
        let still = before.filter(|seen| lacks_something && (seen.epoch, seen.applied) == (epoch, applied));
        let moved = still.map_or(now, |seen| seen.moved);
        workers.insert(request.worker, Seen { caller, epoch, applied, polled: now, moved, lease_until, left });
    }

    /// Records that a worker was given a lease.
    pub(super) fn granted(&self, worker: WorkerId, until: Duration) {
        if let Some(seen) = self.seen().get_mut(&worker) {
            seen.lease_until = seen.lease_until.max(until);
        }
    }

    /// The list at `now`, with the log at `head`.
    pub(super) fn list(&self, head: Option<LogPosition>, now: Duration) -> GatewayList {
        let mut seen = self.seen();
        sweep(&mut seen, now);
        let mut workers: Vec<_> = seen.iter().map(|(worker, seen)| gateway(*worker, seen, head, now)).collect();
        workers.sort_by_key(|gateway| std::cmp::Reverse(gateway.polled_ms));
        GatewayList { seq: head.map(|head| head.seq), workers }
    }

    /// How many workers have a lease, and the longest time since one of them has polled.
    pub(super) fn live(&self, now: Duration) -> (usize, Duration) {
        let mut seen = self.seen();
        sweep(&mut seen, now);
        let live = seen.values().filter(|seen| seen.lease_until > now);
        live.fold((0, Duration::ZERO), |(count, longest), seen| {
            (count + 1, longest.max(now.saturating_sub(seen.polled)))
        })
    }
}

/// Forgets the workers that have left, and those that have not polled for long.
fn sweep(workers: &mut BTreeMap<WorkerId, Seen>, now: Duration) {
    workers.retain(|_, seen| !seen.left && now.saturating_sub(seen.polled) < LISTED_FOR);
}

fn is_up_to_date(epoch: Option<Epoch>, applied: u64, head: LogPosition) -> bool {
    epoch == Some(head.epoch) && applied >= head.seq
}

fn state(seen: &Seen, head: Option<LogPosition>, now: Duration) -> GatewayState {
    if seen.lease_until <= now && now.saturating_sub(seen.polled) >= GONE_AFTER {
        return GatewayState::Gone;
    }
    match head {
        None => GatewayState::Unknown,
        Some(head) if is_up_to_date(seen.epoch, seen.applied, head) => GatewayState::UpToDate,
        // What it lacks may be newer than its last poll, so its time runs until that.
        Some(_) if seen.polled.saturating_sub(seen.moved) >= STUCK_AFTER => GatewayState::Stuck,
        Some(_) if seen.epoch.is_none() => GatewayState::Starting,
        Some(_) => GatewayState::CatchingUp,
    }
}

fn gateway(worker: WorkerId, seen: &Seen, head: Option<LogPosition>, now: Duration) -> Gateway {
    let state = state(seen, head, now);
    let head = head.filter(|head| Some(head.epoch) == seen.epoch);
    Gateway {
        worker,
        address: seen.caller.address,
        version: seen.caller.version.clone(),
        state,
        applied: seen.applied,
        lag: head.map(|head| head.seq.saturating_sub(seen.applied)),
        lease_ms: milliseconds(seen.lease_until.saturating_sub(now)),
        polled_ms: milliseconds(now.saturating_sub(seen.polled)),
    }
}

fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
