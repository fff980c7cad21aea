//! Redis in every state but a good one. Clients notice none of them.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::FINE;
use crate::failures::{Claims, Conditions, Fill, Setup, Sql, Story, Wiring, World};
use crate::servers::Direction;

const ROOMY: Setup = Setup { sql: Sql::Postgres, redis: Fill::Roomy, planes: 1, wiring: Wiring::Shared };

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

const fn story(name: &'static str, fails: &'static str, play: crate::failures::Play) -> Story {
    Story { name, fails, seen: "nothing", setup: ROOMY, play, claims: UNNOTICED }
}

pub(super) const STORIES: &[Story] = &[
    story("redis-killed", "Redis is killed, and comes back empty after a while", killed),
    story("redis-replaced", "Redis is replaced by an empty one", replaced),
    story("redis-flushed", "Redis is flushed (`FLUSHALL`), again and again", flushed),
    Story {
        setup: Setup { redis: Fill::Evicting, ..ROOMY },
        ..story("redis-evicting", "Redis has 1 MB, and evicts", evicting)
    },
    story("redis-late", "Redis answers 2 s late", late),
];

fn killed(world: &mut World, conditions: Conditions) -> Result<()> {
    world.redis()?.server().kill()?;
    thread::sleep(conditions.fault);
    world.redis()?.server().restart()
}

fn replaced(world: &mut World, conditions: Conditions) -> Result<()> {
    world.redis()?.server().restart()?;
    thread::sleep(conditions.fault);
    Ok(())
}

fn flushed(world: &mut World, conditions: Conditions) -> Result<()> {
    const TIMES: u32 = 10;
    let mut forgotten = 0;
    for _ in 0..TIMES {
        forgotten += number(world, &["DBSIZE"])?;
        world.redis()?.wipe()?;
        thread::sleep(conditions.fault / TIMES);
    }
    ensure!(forgotten > 0, "there was nothing to flush");
    Ok(())
}

/// What others keep there fills it twice over, so that entries of revocations have to go, however few there are.
fn evicting(world: &mut World, conditions: Conditions) -> Result<()> {
    let ballast = "x".repeat(10_000);
    for number in 0..200 {
        // A full Redis may refuse it, which is as good.
        let _ = world.redis()?.command(&["SET", &format!("ballast:{number}"), &ballast]);
    }
    thread::sleep(conditions.fault);
    let info = world.redis()?.command(&["INFO", "stats"])?;
    let info: String = ::redis::from_redis_value(info)?;
    let evicted = info.lines().find_map(|line| line.strip_prefix("evicted_keys:")?.trim().parse::<u64>().ok());
    ensure!(evicted.context("no evicted_keys")? > 0, "nothing was evicted");
    Ok(())
}

fn late(world: &mut World, conditions: Conditions) -> Result<()> {
    world.way_to_redis()?.delay(Direction::Answers, LATE);
    thread::sleep(conditions.fault);
    world.way_to_redis()?.mend();
    Ok(())
}

fn number(world: &mut World, words: &[&str]) -> Result<u64> {
    Ok(::redis::from_redis_value(world.redis()?.command(words)?)?)
}
