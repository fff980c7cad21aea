//! Database servers that die, do not answer, or have no connection left.

use std::time::Duration;

use anyhow::Result;

use super::crowd::Crowd;
use crate::faults::mesh::Mesh;
use crate::faults::run::Stage;

/// Kills the database server; it comes back after that time.
pub(crate) fn kill_sql(mesh: &mut Mesh, stage: &Stage<'_>, away: Duration) -> Result<()> {
    mesh.sql()?.kill()?;
    stage.wait(away);
    mesh.sql()?.restart()
}

/// Kills the database server and Redis; both come back.
pub(crate) fn kill_sql_and_redis(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    mesh.sql()?.kill()?;
    mesh.redis()?.server().kill()?;
    stage.wait(stage.times.fault);
    mesh.redis()?.server().restart()?;
    mesh.sql()?.restart()
}

/// The database server does not answer for that time, with all connections open.
pub(crate) fn freeze_sql(mesh: &mut Mesh, stage: &Stage<'_>, time: Duration) -> Result<()> {
    mesh.sql()?.freeze();
    stage.wait(time);
    mesh.sql()?.thaw();
    Ok(())
}

/// Other clients take all connections of PostgreSQL, and end those of the control planes.
pub(crate) fn crowd_out(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    let crowd = Crowd::gather(&mesh.postgres()?.url())?;
    stage.wait(stage.times.fault);
    crowd.disperse()
}
