//! The models that are checked, each about one part of the protocol.

use std::time::Duration;

use curfew_control_plane::leases::protocol::LeaseTimes;

use crate::reached::Reached::*;
use crate::scene::Readings::{Fresh, Shared, Slow};
use crate::scene::Scene;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One worker, one control plane, true clocks, one logout; nothing fails.
pub(crate) fn quiet() -> Scene {
    Scene {
        terms: LeaseTimes { lease: seconds(3), hold: seconds(1), drift_ppm: 0 },
        horizon: 5,
        worker_rates: vec![1000],
        plane_rates: vec![1000],
        logouts: vec![vec![0]],
        page: 10,
        requests: 0,
        timeouts: 0,
        worker_restarts: 0,
        plane_restarts: 0,
        restores: 0,
        readings: Fresh,
        slow_commits: false,
        slow_rows: false,
        ties: false,
        keys: false,
        idle_at: None,
        expires: None,
        mutant: None,
        reached: vec![ByAcknowledgement, AdmittedByReplica, AdmittedByReplicaAfterALogout],
    }
}

/// Clocks as far apart as the drift allows, readings that take time, polls that are given up.
pub(crate) fn clocks() -> Scene {
    Scene {
        terms: LeaseTimes { lease: seconds(3), hold: seconds(1), drift_ppm: 200_000 },
        horizon: 7,
        worker_rates: vec![800],
        plane_rates: vec![1200],
        readings: Slow,
        ..quiet()
    }
}

/// The same with leases so short that every order of events is checked.
pub(crate) fn short_leases() -> Scene {
    Scene {
        terms: LeaseTimes { lease: seconds(2), ..clocks().terms },
        horizon: 4,
        reached: vec![ByAcknowledgement, ByTime, AdmittedByReplica, AdmittedByReplicaAfterALogout],
        ..clocks()
    }
}

/// Polls that a worker gives up and that arrive all the same.
pub(crate) fn lost_polls() -> Scene {
    Scene {
        terms: LeaseTimes { lease: seconds(1), ..quiet().terms },
        horizon: 3,
        timeouts: 1,
        slow_commits: true,
        ..quiet()
    }
}

/// Two workers, which may start again, and commits that are visible before they return.
pub(crate) fn workers() -> Scene {
    Scene {
        terms: LeaseTimes { lease: seconds(1), ..quiet().terms },
        worker_rates: vec![1000, 1000],
        horizon: 2,
        slow_commits: true,
        ..quiet()
    }
}

/// Revocations that get a new seq, and pages of one revocation.
pub(crate) fn pages() -> Scene {
    Scene { logouts: vec![vec![0, 1, 0]], page: 1, horizon: 2, readings: Slow, worker_restarts: 1, ..quiet() }
}

/// Two control planes, and one worker that polls both in turn.
pub(crate) fn planes() -> Scene {
    Scene {
        terms: LeaseTimes { lease: seconds(1), ..quiet().terms },
        plane_rates: vec![1000, 1000],
        logouts: vec![vec![0], vec![]],
        horizon: 2,
        readings: Slow,
        ..quiet()
    }
}

/// Two control planes whose rows take time to be written.
pub(crate) fn rows() -> Scene {
    Scene { slow_rows: true, readings: Fresh, horizon: 1, ..planes() }
}

/// A control plane that writes its row late, so that the other one replaces it: that one has seen the row when it waited for
/// an earlier logout.
pub(crate) fn replaced_rows() -> Scene {
    Scene { logouts: vec![vec![1, 0], vec![]], ..rows() }
}

/// A control plane ends, and starts again under another id.
pub(crate) fn dead_planes() -> Scene {
    Scene {
        readings: Fresh,
        plane_restarts: 1,
        horizon: 3,
        reached: vec![ByAcknowledgement, ByTime, AdmittedByReplica, DeadOneIgnored],
        ..planes()
    }
}

/// The database is restored under another epoch.
pub(crate) fn epochs() -> Scene {
    Scene {
        terms: LeaseTimes { lease: seconds(1), hold: seconds(1), drift_ppm: 0 },
        logouts: vec![vec![0, 0, 1]],
        horizon: 2,
        restores: 1,
        readings: Slow,
        ..quiet()
    }
}

/// One reading serves many polls, some of them long after it.
pub(crate) fn shared() -> Scene {
    Scene { terms: LeaseTimes { lease: seconds(2), ..quiet().terms }, horizon: 4, readings: Shared, ..quiet() }
}

/// Workers that start again, and control planes that read at any time.
pub(crate) fn names() -> Scene {
    Scene { readings: Shared, horizon: 0, worker_restarts: 1, ..planes() }
}

pub(crate) fn answers() -> Scene {
    Scene { requests: 2, horizon: 2, reached: vec![ByAcknowledgement, AdmittedByReplica, AdmittedByAnswer], ..quiet() }
}

pub(crate) fn ties() -> Scene {
    Scene { ties: true, ..answers() }
}

/// Keys that are removed, while requests arrive and keys are fetched.
pub(crate) fn keys() -> Scene {
    Scene {
        keys: true,
        requests: 1,
        horizon: 2,
        reached: vec![ByAcknowledgement, AdmittedByReplica, AdmittedByAnswer],
        ..quiet()
    }
}

/// Keys that are removed one after the other, under readings that take time.
pub(crate) fn two_removals() -> Scene {
    Scene { keys: true, logouts: vec![vec![0, 1]], horizon: 1, readings: Slow, ..quiet() }
}

/// The same in a database that is restored under another epoch.
pub(crate) fn keys_of_epochs() -> Scene {
    Scene { keys: true, logouts: vec![vec![0]], ..epochs() }
}

pub(crate) fn expiry() -> Scene {
    Scene { expires: Some(2), horizon: 4, worker_restarts: 1, ..quiet() }
}

/// A tick is five seconds here, and a lease ten: after two ticks without requests the worker leaves.
pub(crate) fn leaving() -> Scene {
    Scene {
        terms: LeaseTimes { lease: seconds(10), hold: seconds(3), drift_ppm: 0 },
        worker_rates: vec![5000],
        plane_rates: vec![5000],
        horizon: 5,
        idle_at: Some(1),
        ..quiet()
    }
}

/// Two control planes that commit at the same time.
pub(crate) fn two_writers() -> Scene {
    Scene { logouts: vec![vec![0], vec![1]], readings: Fresh, horizon: 1, ..planes() }
}
