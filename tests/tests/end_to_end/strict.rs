//! `consistency: strict` in a real Envoy.

mod logouts;
mod scripted;

use anyhow::Result;
use curfew_testbed::stack::{Plan, Stack};

/// The shipped demo with a longer timeout, because on a busy machine a question may take longer than half a second.
fn plan() -> Result<Plan> {
    Plan::shipped()?.change_filter(|filter| filter["control_plane"]["timeout"] = "2s".into())
}

fn metric(stack: &Stack, name: &str) -> u64 {
    stack.envoy.metric(name).unwrap().unwrap_or(0)
}

/// How many requests the copies have decided. A worker reports this with each poll, and polls twice in this time.
fn decided(stack: &Stack) -> u64 {
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    metric(stack, "curfew_replica_decided")
}

/// Plays a scene again until no lease was lost meanwhile. A machine that stands still for two seconds loses leases, and
/// workers without a lease ask.
fn undisturbed(stack: &Stack, mut scene: impl FnMut() -> u64) -> u64 {
    for _ in 0..5 {
        let lost = metric(stack, "curfew_leases_lost");
        let seen = scene();
        if metric(stack, "curfew_leases_lost") == lost {
            return seen;
        }
    }
    panic!("this machine is too busy to hold a lease");
}
