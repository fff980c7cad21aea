//! The real parts, and the links between them that can fail.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bootstrap::Bootstrap;
use crate::control_plane::ControlPlane;
use crate::envoy::Envoy;
use crate::ports::{lasting, loopback};
use crate::servers::{Fault, Postgres, Redis};
use crate::settings::Settings;
use crate::upstream::Upstream;
use crate::{control_plane, wasm, workspace};

/// The length of a lease: what faults are measured in.
pub const LEASE: Duration = Duration::from_secs(2);

const LISTENER_TYPE: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// How the mesh is set up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Setup {
    /// Takes the filter that traps where a request tells it to.
    pub trapping: bool,
    /// `consistency: bounded`, which promises less: to show that the checker would find what it looks for.
    pub bounded: bool,
    /// One control plane on SQLite instead of two on PostgreSQL and Redis.
    pub single: bool,
    /// Control planes as they ship, and not as tests build them.
    pub release: bool,
}

/// A control plane and its links to what it stores in.
#[derive(Debug)]
pub struct Plane {
    /// The process.
    pub process: ControlPlane,
    /// What is between it and its stores, if it has any of its own.
    pub links: Option<StoreLinks>,
}

/// A control plane's links to what it shares with others.
#[derive(Debug)]
pub struct StoreLinks {
    /// To PostgreSQL.
    pub sql: Fault,
    /// To Redis.
    pub redis: Fault,
}

/// What the control planes have in common.
#[derive(Debug)]
pub struct Stores {
    /// The truth.
    pub postgres: Postgres,
    /// What makes it quick.
    pub redis: Redis,
}

/// An Envoy and its links to the control planes.
#[derive(Debug)]
pub struct Proxy {
    /// The process.
    pub process: Envoy,
    /// Between it and each control plane's internal listener, in the order of [`Mesh::planes`].
    pub links: Vec<Fault>,
    bootstrap: Bootstrap,
    listener: Listener,
    directory: PathBuf,
}

/// The file that Envoy takes its listener from.
#[derive(Debug)]
struct Listener {
    file: PathBuf,
    content: Value,
    version: u64,
}

impl Listener {
    /// Another version, in place at once.
    fn update(&mut self) -> Result<()> {
        self.version += 1;
        let version = self.version.to_string();
        let mut resource = self.content.clone();
        let all = resource.as_object_mut().context("the listener is no object")?;
        all.insert("@type".into(), json!(LISTENER_TYPE));
        let prefix = "/filter_chains/0/filters/0/typed_config/stat_prefix";
        *resource.pointer_mut(prefix).context("no stat_prefix")? = json!(format!("ingress_{version}"));
        let text = json!({"version_info": version, "resources": [resource]}).to_string();
        let next = self.file.with_extension("next");
        std::fs::write(&next, text)?;
        Ok(std::fs::rename(next, &self.file)?)
    }
}

/// Everything, running. Fields drop in this order: the Envoys first.
#[derive(Debug)]
pub struct Mesh {
    /// Two, of two workers each.
    pub proxies: Vec<Proxy>,
    /// Two, or one on SQLite.
    pub planes: Vec<Plane>,
    stores: Option<Stores>,
    upstream: Upstream,
    settings: Settings,
    _directory: TempDir,
}

impl Mesh {
    /// Starts everything.
    ///
    /// # Errors
    /// When a part cannot be built, found or started.
    pub fn start(setup: Setup) -> Result<Self> {
        let module = if setup.trapping { wasm::build_trapping()? } else { wasm::build()? };
        let directory = tempfile::Builder::new().prefix("mesh-").tempdir_in(workspace::generated("runs")?)?;
        let shared = || Ok::<_, anyhow::Error>(Stores { postgres: Postgres::start()?, redis: Redis::start()? });
        let stores = if setup.single { None } else { Some(shared()?) };
        let upstream = Upstream::start(loopback(0))?;
        let settings = Settings::demo()?;
        let program = if setup.release { control_plane::build_release()? } else { control_plane::build()? };
        let planes = (0..if setup.single { 1 } else { 2 })
            .map(|number| plane(&program, &settings, stores.as_ref(), &subdirectory(&directory, "plane", number)?));
        let planes = planes.collect::<Result<Vec<_>>>()?;
        let proxies = (0..2).map(|number| {
            let directory = subdirectory(&directory, "envoy", number)?;
            proxy(setup, &module, &planes, upstream.address(), directory)
        });
        let proxies = proxies.collect::<Result<Vec<_>>>()?;
        Ok(Self { proxies, planes, stores, upstream, settings, _directory: directory })
    }

    /// What tokens are signed with.
    ///
    /// # Errors
    /// When the demo's settings do not have it.
    pub fn secret(&self) -> Result<&str> {
        self.settings.required("JWT_SECRET")
    }

    /// Where requests go to.
    pub fn entrances(&self) -> Vec<SocketAddr> {
        self.proxies.iter().map(|proxy| proxy.process.address()).collect()
    }

    /// Where logouts go to.
    pub fn exits(&self) -> Vec<SocketAddr> {
        self.planes.iter().map(|plane| plane.process.public()).collect()
    }

    /// What the control planes have in common.
    ///
    /// # Errors
    /// When there is but one, on SQLite.
    pub fn stores(&mut self) -> Result<&mut Stores> {
        self.stores.as_mut().context("the control plane has a store of its own")
    }

    /// How many requests have reached the protected service.
    pub fn reached(&self) -> u64 {
        self.upstream.requests_seen()
    }

    /// What a counter of both Envoys has come to; one that was never raised counts nothing.
    ///
    /// # Errors
    /// When an Envoy does not answer.
    pub fn counted(&self, name: &str) -> Result<u64> {
        self.proxies.iter().map(|proxy| Ok(proxy.process.metric(name)?.unwrap_or(0))).sum()
    }

    /// All links between Envoys and control planes.
    pub fn links(&self) -> impl Iterator<Item = &Fault> {
        self.proxies.iter().flat_map(|proxy| &proxy.links)
    }
}

impl Proxy {
    /// SIGKILL, and a start on the same ports.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn restart(&mut self) -> Result<()> {
        // The old one must be gone before the new one can have its ports.
        self.process.kill()?;
        self.process = Envoy::start(&self.bootstrap, &self.directory, 2)?;
        Ok(())
    }

    /// Another version of the listener, which starts new VMs of the filter.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn update_listener(&mut self) -> Result<()> {
        self.listener.update()
    }
}

fn subdirectory(directory: &TempDir, name: &str, number: usize) -> Result<PathBuf> {
    let path = directory.path().join(format!("{name}-{number}"));
    std::fs::create_dir(&path)?;
    Ok(path)
}

fn plane(program: &Path, settings: &Settings, stores: Option<&Stores>, directory: &Path) -> Result<Plane> {
    let mut settings = settings.clone();
    let links = stores.map(|stores| linked(&mut settings, stores)).transpose()?;
    let process = ControlPlane::start_program(program, &settings, directory, [loopback(0), loopback(0)])?;
    Ok(Plane { process, links })
}

fn linked(settings: &mut Settings, Stores { postgres, redis }: &Stores) -> Result<StoreLinks> {
    let links = StoreLinks { sql: Fault::to(loopback(postgres.port()))?, redis: Fault::to(loopback(redis.port()))? };
    let through =
        |url: String, from: u16, to: &Fault| url.replace(&format!("127.0.0.1:{from}"), &to.address().to_string());
    settings.set("DATABASE_URL", through(postgres.url(), postgres.port(), &links.sql));
    settings.set("REDIS_URL", through(redis.url(), redis.port(), &links.redis));
    Ok(links)
}

fn proxy(setup: Setup, module: &Path, planes: &[Plane], upstream: SocketAddr, directory: PathBuf) -> Result<Proxy> {
    let mut bootstrap = Bootstrap::shipped()?;
    bootstrap.set_filter(&configured(setup, bootstrap.filter()?)?)?;
    bootstrap.load_filter_from(module)?;
    // It comes back on the same port after a kill.
    bootstrap.listen_on(loopback(lasting()?))?;
    bootstrap.admin_on(loopback(0))?;
    let links = planes.iter().map(|plane| Fault::to(plane.process.internal())).collect::<Result<Vec<_>>>()?;
    bootstrap.spread_cluster("curfew", &links.iter().map(Fault::address).collect::<Vec<_>>())?;
    bootstrap
        .spread_cluster("curfew_public", &planes.iter().map(|plane| plane.process.public()).collect::<Vec<_>>())?;
    bootstrap.point_cluster("upstream", upstream)?;
    let file = directory.join("listener.json");
    let mut listener = Listener { content: bootstrap.take_listener(&file)?, file, version: 0 };
    listener.update()?;
    let process = Envoy::start(&bootstrap, &directory, 2)?;
    Ok(Proxy { process, links, bootstrap, listener, directory })
}

fn configured(setup: Setup, mut filter: Value) -> Result<Value> {
    let settings = filter.as_object_mut().context("the filter's configuration is no object")?;
    settings.insert("consistency".into(), json!(if setup.bounded { "bounded" } else { "strict" }));
    settings.remove("max_staleness");
    if setup.bounded {
        settings.insert("max_staleness".into(), json!("2s"));
    }
    Ok(filter)
}
