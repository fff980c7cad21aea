//! Redis in every state but a good one.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::faults::mesh::Mesh;
use crate::faults::run::Stage;

/// Kills Redis; it comes back empty after that time.
pub(crate) fn kill_redis(mesh: &mut Mesh, stage: &Stage<'_>, away: Duration) -> Result<()> {
    mesh.redis()?.server().kill()?;
    stage.wait(away);
    mesh.redis()?.server().restart()
}

/// An empty Redis takes the place of the one that was there.
pub(crate) fn replace_redis(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    mesh.redis()?.server().restart()?;
    stage.wait(stage.times.fault);
    Ok(())
}

/// Flushes Redis again and again.
pub(crate) fn flush(mesh: &mut Mesh, stage: &Stage<'_>, times: u32, pause: Duration) -> Result<()> {
    let mut forgotten = 0;
    for _ in 0..times {
        let redis = mesh.redis()?;
        forgotten += ::redis::from_redis_value::<u64>(redis.command(&["DBSIZE"])?)?;
        redis.wipe()?;
        stage.wait(pause);
    }
    ensure!(forgotten > 0, "there was nothing to flush");
    Ok(())
}

/// Fills an evicting Redis with twice what it holds, so that it evicts entries of revocations, however few there are.
pub(crate) fn evict(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    let ballast = "x".repeat(10_000);
    for number in 0..200 {
        // A full Redis may refuse the command, which does no harm here.
        let _ = mesh.redis()?.command(&["SET", &format!("ballast:{number}"), &ballast]);
    }
    stage.wait(stage.times.fault);
    let info: String = ::redis::from_redis_value(mesh.redis()?.command(&["INFO", "stats"])?)?;
    let evicted = info.lines().find_map(|line| line.strip_prefix("evicted_keys:")?.trim().parse::<u64>().ok());
    ensure!(evicted.context("no evicted_keys")? > 0, "nothing was evicted");
    Ok(())
}
