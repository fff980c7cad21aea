//! Control planes that die, stop, and come back.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::FINE;
use crate::failures::{Claims, Conditions, Fill, Setup, Sql, Story, Wiring, World, chance};

/// A round of killing begins after a time of up to so many milliseconds.
const MOST_WAIT: u64 = 400;

const ONE: Setup = Setup { sql: Sql::Postgres, redis: Fill::Roomy, planes: 1, wiring: Wiring::Shared };
const TWO: Setup = Setup { planes: 2, ..ONE };

/// A logout that the dying one had carried out is repeated at the other, and told that it has happened.
const OR_ALREADY: &[&str] = &["200", "401 token_revoked"];

pub(super) const STORIES: &[Story] = &[
    Story {
        name: "plane-killed",
        fails: "the only control plane is killed (`kill -9`) and started again, at random moments",
        seen: "until it is back, logouts and tokens without a fresh answer get 503",
        setup: ONE,
        play: killed_at_random,
        claims: Claims {
            // A logout that was carried out and not answered is told so when Envoy repeats it.
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
        play: |_, conditions| {
            thread::sleep(conditions.fault);
            Ok(())
        },
        claims: unnoticed(FINE),
    },
    Story {
        name: "plane-killed-of-two",
        fails: "one of two control planes is killed (`kill -9`), then the other, at random moments",
        seen: "nothing, but that a logout under way may be answered 401 `token_revoked`: it has happened",
        setup: TWO,
        play: killed_in_turn,
        claims: unnoticed(OR_ALREADY),
    },
    Story {
        name: "plane-restarted-of-two",
        fails: "one of two control planes is restarted (`SIGTERM`), then the other",
        seen: "nothing",
        setup: TWO,
        play: restarted_in_turn,
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

fn some_time() {
    thread::sleep(Duration::from_millis(chance::below(MOST_WAIT)));
}

fn killed_at_random(world: &mut World, conditions: Conditions) -> Result<()> {
    for _ in 0..conditions.rounds {
        some_time();
        world.plane(0)?.kill()?;
        world.plane(0)?.restart()?;
    }
    Ok(())
}

fn killed_in_turn(world: &mut World, conditions: Conditions) -> Result<()> {
    for round in 0..conditions.rounds.div_ceil(2) {
        some_time();
        let plane = world.plane(usize::from(round % 2 == 1))?;
        plane.kill()?;
        some_time();
        plane.restart()?;
    }
    Ok(())
}

fn restarted_in_turn(world: &mut World, conditions: Conditions) -> Result<()> {
    for round in 0..conditions.rounds.div_ceil(4) {
        some_time();
        let plane = world.plane(usize::from(round % 2 == 1))?;
        plane.stop()?;
        some_time();
        plane.restart()?;
    }
    Ok(())
}
