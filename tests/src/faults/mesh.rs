//! The real parts, and the links between them that can fail.

mod issuer;
mod plane;
mod promise;
mod proxy;
mod setup;
mod stores;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::outside::Outside;
use crate::key_server::KeyServer;
use crate::link::Link;
use crate::ports::loopback;
use crate::servers::{Postgres, Redis, Server};
use crate::settings::Settings;
use crate::upstream::Upstream;
use crate::{wasm, workspace};

pub(crate) use plane::Plane;
pub use promise::Promise;
pub(crate) use proxy::Proxy;
pub use setup::{Network, RedisMemory, Setup, Sql, Wiring};

use stores::Stores;

/// The length of a lease. Faults last multiples of it.
pub const LEASE: Duration = Duration::from_millis(1_700);

/// How much of each part's output goes into an error message, in lines.
const OUTPUT_LINES: usize = 30;

/// Everything, running. Fields drop in this order: the Envoys first, so that nothing is asked that is already gone.
#[derive(Debug)]
pub struct Mesh {
    /// The Envoys.
    pub proxies: Vec<Proxy>,
    /// The control planes.
    pub planes: Vec<Plane>,
    stores: Stores,
    setup: Setup,
    settings: Settings,
    /// The second issuer, if the mesh has one.
    issuer: Option<Arc<KeyServer>>,
    _upstream: Upstream,
    _directory: TempDir,
}

impl Mesh {
    /// Starts everything, in the order of dependence.
    ///
    /// # Errors
    /// When a part cannot be built, found or started.
    pub fn start(setup: Setup) -> Result<Self> {
        let module = if setup.trapping { wasm::build_trapping()? } else { wasm::build()? };
        let directory = tempfile::Builder::new().prefix("mesh-").tempdir_in(workspace::generated("runs")?)?;
        let stores = Stores::start(setup)?;
        let upstream = Upstream::start(loopback(0))?;
        let settings = Settings::demo()?;
        let issuer = if setup.keyed { Some(Arc::new(KeyServer::start()?)) } else { None };
        let of_planes = match &issuer {
            Some(issuer) => issuer::settings(&settings, issuer, directory.path())?,
            None => settings.clone(),
        };
        let program = plane::program(setup, directory.path())?;
        let planes = (0..setup.planes).map(|number| {
            let directory = subdirectory(&directory, "plane", number)?;
            Plane::start(&program, setup, &of_planes, &stores, &directory)
        });
        let planes = planes.collect::<Result<Vec<_>>>()?;
        let proxies = (0..setup.envoys).map(|number| {
            let directory = subdirectory(&directory, "envoy", number)?;
            Proxy::start(setup, &module, &planes, upstream.address(), directory)
        });
        let proxies = proxies.collect::<Result<Vec<_>>>()?;
        Ok(Self { proxies, planes, stores, setup, settings, issuer, _upstream: upstream, _directory: directory })
    }

    /// The mesh as clients and filters see it.
    pub(super) fn outside(&self) -> Result<Outside> {
        let entrances = self.proxies.iter().map(|proxy| proxy.process.address()).collect();
        let public = self.planes.iter().map(|plane| plane.process.public()).collect();
        let internal = self.planes.iter().map(|plane| plane.process.internal()).collect();
        let filter = proxy::configured(self.setup)?.filter()?;
        Outside::new(entrances, [public, internal], &self.settings, &filter, self.issuer.clone())
    }

    /// A control plane by its number.
    ///
    /// # Errors
    /// When the mesh has fewer.
    pub fn plane(&mut self, number: usize) -> Result<&mut Plane> {
        self.planes.get_mut(number).with_context(|| format!("no control plane {number}"))
    }

    /// An Envoy by its number.
    ///
    /// # Errors
    /// When the mesh has fewer.
    pub fn proxy(&mut self, number: usize) -> Result<&mut Proxy> {
        self.proxies.get_mut(number).with_context(|| format!("no Envoy {number}"))
    }

    /// The server with the database.
    ///
    /// # Errors
    /// When the database is a file.
    pub fn sql(&mut self) -> Result<&mut Server> {
        self.stores.sql()
    }

    /// The PostgreSQL.
    ///
    /// # Errors
    /// When the database is another one.
    pub fn postgres(&self) -> Result<&Postgres> {
        self.stores.postgres()
    }

    /// The Redis.
    ///
    /// # Errors
    /// When there is none.
    pub fn redis(&mut self) -> Result<&mut Redis> {
        self.stores.redis()
    }

    /// Empties Redis, if there is one, so that what is found afterwards is in the database.
    pub(crate) fn wipe_redis(&self) -> Result<()> {
        self.stores.wipe_redis()
    }

    /// The value of a counter, summed over all Envoys; one that was never raised counts nothing.
    ///
    /// # Errors
    /// When an Envoy does not answer.
    pub fn counted(&self, name: &str) -> Result<u64> {
        self.proxies.iter().map(|proxy| Ok(proxy.process.metric(name)?.unwrap_or(0))).sum()
    }

    /// All links between Envoys and control planes.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.proxies.iter().flat_map(|proxy| &proxy.links)
    }

    /// The end of the output of each part, for an error message.
    pub(crate) fn output(&self) -> String {
        let planes = self.planes.iter().map(|plane| plane.process.output());
        let envoys = self.proxies.iter().map(|proxy| proxy.process.output());
        planes.chain(envoys).map(|output| end_of(&output)).collect::<Vec<_>>().join("\n---\n")
    }
}

fn end_of(output: &str) -> String {
    let lines: Vec<_> = output.lines().collect();
    lines.get(lines.len().saturating_sub(OUTPUT_LINES)..).unwrap_or_default().join("\n")
}

fn subdirectory(directory: &TempDir, name: &str, number: usize) -> Result<PathBuf> {
    let path = directory.path().join(format!("{name}-{number}"));
    std::fs::create_dir(&path)?;
    Ok(path)
}
