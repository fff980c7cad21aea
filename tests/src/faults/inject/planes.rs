//! Control planes that die, stop, come back, or can write nothing.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::faults::dice::Dice;
use crate::faults::mesh::{LEASE, Mesh};
use crate::faults::run::Stage;

/// A round of killing begins after a time of up to this length.
const MOST_WAIT: Duration = Duration::from_millis(400);

/// The size beyond which no file grows on a full disk: less than one page of SQLite's, so that no commit finds room.
const FULL_BYTES: u64 = 1024;

/// A choice of the first Envoy, the first control plane, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The first Envoy.
    pub(crate) envoy: bool,
    /// The first control plane.
    pub(crate) plane: bool,
}

/// Kills these parts and starts them again, twice.
pub(crate) fn kill_and_start(mesh: &mut Mesh, stage: &Stage<'_>, parts: Parts) -> Result<()> {
    for _ in 0..2 {
        if parts.plane {
            mesh.plane(0)?.process.kill()?;
        }
        if parts.envoy {
            mesh.proxy(0)?.restart()?;
        }
        stage.wait(LEASE / 2);
        if parts.plane {
            mesh.plane(0)?.process.restart()?;
        }
        stage.wait(LEASE * 2);
    }
    Ok(())
}

/// Kills all control planes, and starts them again after two leases.
pub(crate) fn kill_all_planes(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    mesh.planes.iter_mut().try_for_each(|plane| plane.process.kill())?;
    stage.wait(LEASE * 2);
    mesh.planes.iter_mut().try_for_each(|plane| plane.process.restart())
}

/// Kills the first control plane at random moments, and starts it again at once.
pub(crate) fn kill_at_random(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    let mut dice = Dice::new();
    for _ in 0..stage.times.rounds {
        stage.wait(dice.time_below(MOST_WAIT));
        mesh.plane(0)?.process.kill()?;
        mesh.plane(0)?.process.restart()?;
    }
    Ok(())
}

/// Kills one of two control planes at a random moment and starts it again after a random time, then the other one.
pub(crate) fn kill_in_turn(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    in_turn(mesh, stage, stage.times.rounds.div_ceil(2), |plane| plane.process.kill())
}

/// As [`kill_in_turn`], with SIGTERM.
pub(crate) fn restart_in_turn(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    in_turn(mesh, stage, stage.times.rounds.div_ceil(4), |plane| plane.process.stop())
}

fn in_turn(
    mesh: &mut Mesh,
    stage: &Stage<'_>,
    rounds: u32,
    end: fn(&mut crate::faults::mesh::Plane) -> Result<()>,
) -> Result<()> {
    let mut dice = Dice::new();
    for round in 0..rounds {
        stage.wait(dice.time_below(MOST_WAIT));
        let plane = mesh.plane(usize::from(round % 2 == 1))?;
        end(plane)?;
        stage.wait(dice.time_below(MOST_WAIT));
        plane.process.restart()?;
    }
    Ok(())
}

/// The disk of the first control plane is full, for its database file and for its log.
///
/// A limit of the process for the size of files makes writes beyond it fail, which needs neither root nor a small file
/// system. The kernel's error is EFBIG and not ENOSPC; to a write that did not take place that makes no difference.
pub(crate) fn fill_disk(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    let process = &mut mesh.plane(0)?.process;
    process.limit_files(Some(FULL_BYTES))?;
    stage.wait(stage.times.fault);
    process.limit_files(None)?;
    ensure!(process.is_running(), "a full disk ended the control plane");
    Ok(())
}
