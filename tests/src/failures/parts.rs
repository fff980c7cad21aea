//! The parts of a world, and how they are put together.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Conditions;
use super::setup::{Fill, Sql, Wiring};
use crate::bootstrap::Bootstrap;
use crate::control_plane::{self, ControlPlane};
use crate::ports::loopback;
use crate::servers::{Fault, Mariadb, Postgres, Redis};
use crate::settings::Settings;
use crate::upstream::Upstream;

/// Connections that the server of a story takes: few, so that a crowd can take them all.
const POSTGRES_CONNECTIONS: &str = "max_connections=40";

#[derive(Debug)]
pub(super) enum Database {
    Postgres(Postgres),
    Mariadb(Mariadb),
    Sqlite,
}

impl Database {
    pub(super) fn start(sql: Sql) -> Result<Self> {
        Ok(match sql {
            Sql::Postgres => Self::Postgres(Postgres::start_with(&[POSTGRES_CONNECTIONS], None)?),
            Sql::Mariadb => Self::Mariadb(Mariadb::start()?),
            Sql::Sqlite => Self::Sqlite,
        })
    }

    pub(super) fn url(&self) -> Result<Option<String>> {
        Ok(match self {
            Self::Postgres(postgres) => Some(postgres.fresh_database("curfew")?),
            Self::Mariadb(mariadb) => Some(mariadb.fresh_database("curfew")?),
            Self::Sqlite => None,
        })
    }
}

/// A Redis, and the way to it.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) redis: Redis,
    pub(super) way: Fault,
}

impl Beside {
    pub(super) fn start(fill: Fill) -> Result<Option<Self>> {
        let redis = match fill {
            Fill::Absent => return Ok(None),
            Fill::Roomy => Redis::start()?,
            Fill::Evicting => Redis::start_with(&["maxmemory 1mb", "maxmemory-policy allkeys-lru"], None)?,
        };
        let way = Fault::to(loopback(redis.port()))?;
        Ok(Some(Self { redis, way }))
    }
}

pub(super) fn start_planes(count: usize, settings: &Settings, directory: &Path) -> Result<Vec<ControlPlane>> {
    let program = under_file_limits(directory)?;
    let start = |number: usize| {
        let directory = directory.join(format!("plane-{number}"));
        std::fs::create_dir_all(&directory)?;
        ControlPlane::start_program(&program, settings, &directory, [loopback(0), loopback(0)])
    };
    (0..count).map(start).collect()
}

/// The control plane behind a script that ignores SIGXFSZ: at a limit for files its writes then fail, as on a full disk,
/// instead of ending it.
fn under_file_limits(directory: &Path) -> Result<PathBuf> {
    let script = directory.join("curfew");
    let program = control_plane::build()?;
    std::fs::write(&script, format!("#!/bin/sh\ntrap '' XFSZ\nexec '{}' \"$@\"\n", program.display()))?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// The shipped configuration, with the promise and the patience of this run.
pub(super) fn configured(conditions: Conditions) -> Result<Bootstrap> {
    let mut bootstrap = Bootstrap::shipped()?;
    let mut filter = bootstrap.filter()?;
    let fields = filter.as_object_mut().context("the filter's configuration is no object")?;
    fields.insert("consistency".into(), json!(conditions.promise.consistency));
    fields.remove("max_staleness");
    if let Some(staleness) = conditions.promise.max_staleness {
        fields.insert("max_staleness".into(), json!(staleness));
    }
    let asked = fields.get_mut("control_plane").and_then(|asked| asked.as_object_mut()).context("control_plane")?;
    if let Some(patience) = conditions.patience {
        asked.insert("timeout".into(), json!(patience));
    }
    bootstrap.set_filter(&filter)?;
    Ok(bootstrap)
}

pub(super) fn wire(
    bootstrap: &mut Bootstrap,
    wiring: Wiring,
    planes: &[ControlPlane],
    upstream: &Upstream,
) -> Result<()> {
    let (first, last) = (planes.first().context("no control plane")?, planes.last().context("no control plane")?);
    let (public, internal) = match wiring {
        Wiring::Shared => (planes, planes),
        Wiring::Crossed => (std::slice::from_ref(first), std::slice::from_ref(last)),
    };
    let public: Vec<_> = public.iter().map(ControlPlane::public).collect();
    let internal: Vec<_> = internal.iter().map(ControlPlane::internal).collect();
    bootstrap.listen_on(loopback(0))?;
    bootstrap.admin_on(loopback(0))?;
    bootstrap.spread_cluster("curfew_public", &public)?;
    bootstrap.spread_cluster("curfew", &internal)?;
    bootstrap.point_cluster("upstream", upstream.address())
}
