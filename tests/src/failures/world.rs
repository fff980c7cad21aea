//! A world for one story: a database, perhaps a Redis behind a network that can fail, one control plane or two, an
//! upstream, and one Envoy with the shipped configuration.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::Conditions;
use super::front::Front;
use super::parts::{Beside, Database, configured, start_planes, wire};
use super::setup::Setup;
use crate::control_plane::ControlPlane;
use crate::envoy::Envoy;
use crate::ports::loopback;
use crate::servers::{Fault, Postgres, Redis, Server};
use crate::settings::Settings;
use crate::upstream::Upstream;
use crate::{stack, wasm};

/// Everything that runs. Fields drop in this order: Envoy first, so nothing is asked that is already gone.
#[derive(Debug)]
pub struct World {
    envoy: Envoy,
    planes: Vec<ControlPlane>,
    redis: Option<Beside>,
    database: Database,
    front: Arc<Front>,
    _upstream: Upstream,
    _directory: TempDir,
}

impl World {
    /// Starts everything, in the order of dependence.
    ///
    /// # Errors
    /// When a part cannot be built, found or started.
    pub fn start(setup: Setup, conditions: Conditions) -> Result<Self> {
        let module = wasm::build()?;
        let directory = tempfile::Builder::new().prefix("failure-").tempdir_in(stack::runs()?)?;
        let database = Database::start(setup.sql)?;
        let redis = Beside::start(setup.redis)?;
        let mut settings = Settings::demo()?;
        if let Some(url) = database.url()? {
            settings.set("DATABASE_URL", url);
        }
        if let Some(beside) = &redis {
            settings.set("REDIS_URL", format!("redis://{}/0", beside.way.address()));
        }
        let planes = start_planes(setup.planes, &settings, directory.path())?;
        let upstream = Upstream::start(loopback(0))?;
        let mut bootstrap = configured(conditions)?;
        bootstrap.load_filter_from(&module)?;
        wire(&mut bootstrap, setup.wiring, &planes, &upstream)?;
        let envoy = Envoy::start(&bootstrap, directory.path(), 2)?;
        let internal = planes.iter().map(ControlPlane::internal).collect();
        let front = Front::new(envoy.address(), internal, &settings, &bootstrap.filter()?, conditions.promise)?;
        Ok(Self { envoy, planes, redis, database, front: Arc::new(front), _upstream: upstream, _directory: directory })
    }

    pub(super) fn front(&self) -> Arc<Front> {
        self.front.clone()
    }

    /// A control plane by its number.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn plane(&mut self, number: usize) -> Result<&mut ControlPlane> {
        self.planes.get_mut(number).with_context(|| format!("no control plane {number}"))
    }

    /// The server with the database.
    ///
    /// # Errors
    /// When the database is a file.
    pub fn sql(&mut self) -> Result<&mut Server> {
        match &mut self.database {
            Database::Postgres(postgres) => Ok(postgres.server()),
            Database::Mariadb(mariadb) => Ok(mariadb.server()),
            Database::Sqlite => bail!("SQLite has no server"),
        }
    }

    /// The PostgreSQL.
    ///
    /// # Errors
    /// When the database is another one.
    pub fn postgres(&self) -> Result<&Postgres> {
        match &self.database {
            Database::Postgres(postgres) => Ok(postgres),
            _ => bail!("the story has no PostgreSQL"),
        }
    }

    /// The Redis.
    ///
    /// # Errors
    /// When there is none.
    pub fn redis(&mut self) -> Result<&mut Redis> {
        Ok(&mut self.redis.as_mut().context("the story has no Redis")?.redis)
    }

    /// The way to Redis.
    ///
    /// # Errors
    /// When there is none.
    pub fn way_to_redis(&self) -> Result<&Fault> {
        Ok(&self.redis.as_ref().context("the story has no Redis")?.way)
    }

    /// Empties Redis, so that what is found afterwards is in the database.
    pub(super) fn forget_copies(&self) -> Result<()> {
        self.redis.as_ref().map_or(Ok(()), |beside| beside.redis.wipe())
    }

    /// The end of what the parts printed, for what went wrong.
    pub(super) fn output(&self) -> String {
        let mut outputs: Vec<String> = self.planes.iter().map(ControlPlane::output).collect();
        outputs.push(self.envoy.output());
        let lines = |output: &String| output.lines().rev().take(30).map(str::to_owned).collect::<Vec<_>>();
        let ends = outputs.iter().map(|output| lines(output).into_iter().rev().collect::<Vec<_>>().join("\n"));
        ends.collect::<Vec<_>>().join("\n---\n")
    }
}
