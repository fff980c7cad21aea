//! A control plane of a mesh.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::setup::{Network, Setup};
use super::stores::{Location, Stores};
use crate::control_plane::{self, ControlPlane};
use crate::link::Link;
use crate::ports::loopback;
use crate::settings::Settings;

/// A control plane and its links to its stores.
#[derive(Debug)]
pub struct Plane {
    /// The process.
    pub process: ControlPlane,
    /// Between it and the database server, if there is a link that can fail.
    pub sql: Option<Link>,
    /// Between it and Redis, if there is a link that can fail.
    pub redis: Option<Link>,
}

impl Plane {
    pub(super) fn start(
        program: &Path,
        setup: Setup,
        settings: &Settings,
        stores: &Stores,
        directory: &Path,
    ) -> Result<Self> {
        let mut settings = settings.clone();
        let everywhere = setup.network == Network::Everywhere;
        let sql = point(&mut settings, "DATABASE_URL", stores.sql_at.as_ref(), everywhere)?;
        let redis = point(&mut settings, "REDIS_URL", stores.redis_at.as_ref(), true)?;
        let process = ControlPlane::start(program, &settings, directory, [loopback(0), loopback(0)])?;
        Ok(Self { process, sql, redis })
    }
}

/// Sets a URL, if there is a server, and puts a link before the server where it is `linked`.
fn point(settings: &mut Settings, name: &str, server: Option<&Location>, linked: bool) -> Result<Option<Link>> {
    let Some(server) = server else { return Ok(None) };
    if !linked {
        settings.set(name, server.url());
        return Ok(None);
    }
    let (link, url) = server.through_link()?;
    settings.set(name, url);
    Ok(Some(link))
}

/// The program behind a script that ignores SIGXFSZ: at a limit for files its writes then fail, as on a full disk,
/// instead of ending the process.
pub(super) fn program(setup: Setup, directory: &Path) -> Result<PathBuf> {
    let program = control_plane::build(setup.profile)?;
    let script = directory.join("curfew");
    std::fs::write(&script, format!("#!/bin/sh\ntrap '' XFSZ\nexec '{}' \"$@\"\n", program.display()))?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(script)
}
