//! Control planes that die, stop, and come back.

use std::time::Duration;

use super::FINE;
use crate::failures::{Claims, Story};
use crate::faults::{Setup, Wiring, inject};

const ONE: Setup = Setup::SMALL;
const TWO: Setup = Setup { planes: 2, ..ONE };

/// Envoy repeats a logout at the other control plane. Where the dying one had committed it, the answer says that the
/// token is logged out already.
const OR_ALREADY: &[&str] = &["200", "401 token_revoked"];

pub(super) const STORIES: &[Story] = &[
    Story {
        name: "plane-killed",
        fails: "the only control plane is killed (`kill -9`) and started again, at random moments",
        seen: "until it is back, logouts and tokens without a fresh answer get 503",
        setup: ONE,
        fault: inject::kill_at_random,
        claims: Claims {
            // Envoy repeats a logout that got no answer; if it was committed, the token is revoked already.
            logouts: &["200", "401 token_revoked", "503", "503 unavailable"],
            requests: &["200", "503 unavailable"],
            slowest_logout: Duration::from_secs(8),
            refused_after: Duration::from_secs(3),
            felt: false,
        },
    },
    Story {
        name: "plane-crossed",
        fails: "nothing: two control planes, one takes the logouts and the other is asked",
        seen: "nothing",
        setup: Setup { wiring: Wiring::Crossed, ..TWO },
        fault: |_, stage| {
            stage.wait(stage.times.fault);
            Ok(())
        },
        claims: unnoticed(FINE),
    },
    Story {
        name: "plane-killed-of-two",
        fails: "one of two control planes is killed (`kill -9`), then the other, at random moments",
        seen: "nothing, but that a logout under way may be answered 401 `token_revoked`: it has happened",
        setup: TWO,
        fault: inject::kill_in_turn,
        claims: unnoticed(OR_ALREADY),
    },
    Story {
        name: "plane-restarted-of-two",
        fails: "one of two control planes is restarted (`SIGTERM`), then the other",
        seen: "nothing",
        setup: TWO,
        fault: inject::restart_in_turn,
        claims: unnoticed(FINE),
    },
];

const fn unnoticed(logouts: &'static [&'static str]) -> Claims {
    Claims {
        logouts,
        requests: FINE,
        slowest_logout: Duration::from_secs(5),
        refused_after: Duration::ZERO,
        felt: false,
    }
}
