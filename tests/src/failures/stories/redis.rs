//! Redis in every state but a good one. Clients notice none of them.

use std::time::Duration;

use super::FINE;
use crate::failures::{Claims, Story};
use crate::faults::inject::{self, delay_redis, flush, kill_redis};
use crate::faults::{Fault, RedisMemory, Setup};

const FLUSHES: u32 = 10;

const LATE: Duration = Duration::from_secs(2);

/// Checks ask the database, and logouts do not wait for a copy for longer than half a second.
const UNNOTICED: Claims = Claims {
    logouts: FINE,
    requests: FINE,
    // A logout that waited for an answer that is two seconds late would be slower.
    slowest_logout: LATE,
    refused_after: Duration::ZERO,
    felt: false,
};

const fn story(name: &'static str, fails: &'static str, fault: Fault) -> Story {
    Story { name, fails, seen: "nothing", setup: Setup::SMALL, fault, claims: UNNOTICED }
}

pub(super) const STORIES: &[Story] = &[
    story("redis-killed", "Redis is killed, and comes back empty after a while", |mesh, stage| {
        kill_redis(mesh, stage, stage.times.fault)
    }),
    story("redis-replaced", "Redis is replaced by an empty one", inject::replace_redis),
    story("redis-flushed", "Redis is flushed (`FLUSHALL`), again and again", |mesh, stage| {
        flush(mesh, stage, FLUSHES, stage.times.fault / FLUSHES)
    }),
    Story {
        setup: Setup { redis: RedisMemory::Evicting, ..Setup::SMALL },
        ..story("redis-evicting", "Redis has 1 MB, and evicts", inject::evict)
    },
    story("redis-late", "Redis answers 2 s late", |mesh, stage| delay_redis(mesh, stage, LATE)),
];
