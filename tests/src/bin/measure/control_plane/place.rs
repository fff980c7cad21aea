//! The stores of the measured control plane: SQLite alone, or PostgreSQL with Redis.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use curfew_testbed::control_plane::{self, ControlPlane, Profile};
use curfew_testbed::ports::loopback;
use curfew_testbed::servers::{Postgres, Redis};
use curfew_testbed::settings::Settings;
use tempfile::TempDir;

/// The program that is measured.
pub(super) struct Program {
    path: PathBuf,
    profile: Profile,
}

impl Program {
    pub(super) fn build(profile: Profile) -> Result<Self> {
        let path = control_plane::build(profile)?;
        Ok(Self { path, profile })
    }

    pub(super) fn profile(&self) -> &'static str {
        self.profile.name()
    }
}

/// A kind of database, with a directory for the control plane's files. It is on the disk of the target directory,
/// because the cost of a commit is that of its disk.
pub(super) struct Place {
    servers: Option<(Postgres, Redis)>,
    directory: TempDir,
}

impl Place {
    pub(super) fn sqlite() -> Result<Self> {
        let directory = TempDir::new_in(curfew_testbed::workspace::generated("measure")?)?;
        Ok(Self { servers: None, directory })
    }

    pub(super) fn postgres() -> Result<Self> {
        let servers = (Postgres::start_with(&["max_connections=300"], None)?, Redis::start()?);
        Ok(Self { servers: Some(servers), ..Self::sqlite()? })
    }

    pub(super) fn name(&self) -> &'static str {
        if self.servers.is_some() { "PostgreSQL and Redis" } else { "SQLite" }
    }

    pub(super) fn is_postgres(&self) -> bool {
        self.servers.is_some()
    }

    pub(super) fn redis(&self) -> Option<&Redis> {
        self.servers.as_ref().map(|(_, redis)| redis)
    }

    /// The URL of an empty database with the schema in it.
    pub(super) fn database(&self, program: &Program, name: &str) -> Result<String> {
        let url = match &self.servers {
            Some((postgres, _)) => postgres.fresh_database(name)?,
            None => {
                let directory = TempDir::new_in(self.directory.path())?.keep();
                format!("sqlite://{}/{name}.db", directory.display())
            }
        };
        let mut migrate = Command::new(&program.path);
        migrate.arg("migrate").env("DATABASE_URL", &url).current_dir(self.directory.path());
        let output = migrate.output()?;
        ensure!(output.status.success(), "migrate: {}", String::from_utf8_lossy(&output.stderr));
        Ok(url)
    }

    /// A control plane on that database, with the demo's settings and the given ones.
    pub(super) fn start(&self, program: &Program, database: &str, more: &[(&str, &str)]) -> Result<ControlPlane> {
        let mut settings = Settings::demo()?;
        settings.set("DATABASE_URL", database);
        settings.set("CURFEW_TRUSTED_PROXIES", "0");
        settings.set("CURFEW_LOG", "warn");
        if let Some(redis) = self.redis() {
            settings.set("REDIS_URL", redis.url());
        }
        more.iter().for_each(|(name, value)| settings.set(name, *value));
        let directory = TempDir::new_in(self.directory.path())?.keep();
        ControlPlane::start(&program.path, &settings, &directory, [loopback(0), loopback(0)])
    }
}
