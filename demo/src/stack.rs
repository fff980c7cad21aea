//! The whole of Curfew on this machine: control plane, upstream, and Envoy with the filter, wired by `envoy.yaml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use xtask::{wasm, workspace};

use crate::bootstrap::Bootstrap;
use crate::control_plane::{self, ControlPlane, Profile};
use crate::envoy::{self, Envoy};
use crate::http::{Answer, Request};
use crate::link::Link;
use crate::ports::{lasting, loopback};
use crate::settings::Settings;
use crate::upstream::Upstream;

/// Age at which the directory of a run that was killed is removed.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// How long Envoy may take to read a file that has changed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The file that Envoy reads its listeners from, if they can be updated.
const LISTENERS: &str = "listeners.json";

/// The parts of the demo that a test may change.
#[derive(Debug)]
pub struct Plan {
    /// How the control plane is built; as for tests to begin with.
    pub profile: Profile,
    /// Settings of the control plane; `demo.env` to begin with.
    pub settings: Settings,
    /// The Envoy configuration; the shipped one to begin with. Its addresses are overwritten at the start.
    pub bootstrap: Bootstrap,
    /// Ports: public, internal, Envoy's listener, Envoy's admin interface, upstream. 0 takes a free one.
    pub ports: Ports,
    /// Envoy's worker threads; two to begin with.
    pub workers: u32,
    /// Variables in Envoy's environment.
    pub environment: Vec<(String, String)>,
    /// Puts a [`Link`] that can fail between the filter and the control plane.
    pub linked: bool,
    /// The address that the filter asks instead of the control plane.
    pub asks: Option<SocketAddr>,
    /// Lets [`Stack::update_filter`] change the filter's configuration while Envoy runs.
    pub updatable: bool,
    /// How long a listener that another one has replaced serves its open connections.
    pub drain: Duration,
    /// Runs the filter that traps if a request asks for it, instead of the shipped one.
    pub trapping: bool,
    issuers: Option<Value>,
}

/// Port numbers of everything that listens; 0 means any free one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// The control plane's listener for clients.
    pub public: u16,
    /// The control plane's internal listener.
    pub internal: u16,
    /// Envoy's listener.
    pub envoy: u16,
    /// Envoy's admin interface.
    pub admin: u16,
    /// The upstream.
    pub upstream: u16,
}

impl Plan {
    /// The shipped demo on free ports.
    ///
    /// # Errors
    /// If `envoy.yaml` or `demo.env` cannot be read.
    pub fn shipped() -> Result<Self> {
        Ok(Self {
            profile: Profile::Test,
            settings: Settings::demo()?,
            bootstrap: Bootstrap::shipped()?,
            ports: Ports::default(),
            workers: 2,
            environment: Vec::new(),
            linked: false,
            asks: None,
            updatable: false,
            drain: envoy::DRAIN,
            trapping: false,
            issuers: None,
        })
    }

    /// Changes the filter's configuration.
    ///
    /// # Errors
    /// If the shipped configuration is not where it should be.
    pub fn change_filter(mut self, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let mut filter = self.bootstrap.filter()?;
        change(&mut filter);
        self.bootstrap.set_filter(&filter)?;
        Ok(self)
    }

    /// Puts the filter into bounded mode.
    ///
    /// # Errors
    /// If the shipped configuration is not where it should be.
    pub fn bounded(self, max_staleness: &str) -> Result<Self> {
        self.change_filter(|filter| {
            filter["consistency"] = "bounded".into();
            filter["max_staleness"] = max_staleness.into();
        })
    }

    /// Gives the same issuers to the filter and to the control plane, instead of the demo's one.
    ///
    /// # Errors
    /// If the shipped configuration is not where it should be.
    pub fn with_issuers(mut self, issuers: Value) -> Result<Self> {
        self.settings.unset("JWT_SECRET");
        self.settings.unset("CURFEW_ISSUER");
        self.issuers = Some(issuers.clone());
        self.change_filter(|filter| filter["issuers"] = issuers)
    }

    /// Starts everything; a part starts after those that it needs.
    ///
    /// # Errors
    /// If a part cannot be built, found or started; what had been started is stopped.
    pub fn start(mut self) -> Result<Stack> {
        if self.updatable && self.ports.envoy == 0 {
            // A listener can replace another one only at the same address.
            self.ports.envoy = lasting()?;
        }
        let module = if self.trapping { wasm::build_trapping()? } else { wasm::build()? };
        let directory = tempfile::Builder::new().prefix("stack-").tempdir_in(runs()?)?;
        if let Some(issuers) = &self.issuers {
            let file = directory.path().join("issuers.json");
            std::fs::write(&file, issuers.to_string())?;
            self.settings.set("CURFEW_ISSUERS_FILE", file.to_string_lossy());
        }
        let upstream = Upstream::start(loopback(self.ports.upstream))?;
        let listeners = [loopback(self.ports.public), loopback(self.ports.internal)];
        let program = control_plane::build(self.profile)?;
        let control_plane = ControlPlane::start(&program, &self.settings, directory.path(), listeners)?;
        let link = if self.linked { Some(Link::to(control_plane.internal())?) } else { None };
        self.wire(&module, &control_plane, link.as_ref(), &upstream)?;
        let again = self.bootstrap.clone();
        if self.updatable {
            self.bootstrap.read_listeners_from(&directory.path().join(LISTENERS))?;
        }
        let envoy =
            Envoy::start_draining(&self.bootstrap, directory.path(), self.workers, &self.environment, self.drain)?;
        Ok(Stack { envoy, control_plane, link, upstream, settings: self.settings, again, directory })
    }

    fn wire(&mut self, module: &Path, curfew: &ControlPlane, link: Option<&Link>, upstream: &Upstream) -> Result<()> {
        self.bootstrap.load_filter_from(module)?;
        self.bootstrap.listen_on(loopback(self.ports.envoy))?;
        self.bootstrap.admin_on(loopback(self.ports.admin))?;
        self.bootstrap.point_cluster("curfew_public", curfew.public())?;
        let asked = self.asks.unwrap_or(link.map_or(curfew.internal(), Link::address));
        self.bootstrap.point_cluster("curfew", asked)?;
        self.bootstrap.point_cluster("upstream", upstream.address())
    }
}

/// The directory that holds one directory for each run. A run that is killed leaves its directory behind; a later run
/// removes it after a day.
pub fn runs() -> Result<PathBuf> {
    let runs = workspace::generated("runs")?;
    for entry in std::fs::read_dir(&runs)?.flatten() {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|modified| modified.elapsed());
        if age.is_ok_and(|age| age.is_ok_and(|age| age > STALE)) {
            // Another process may be removing it too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(runs)
}

/// All parts, running. Rust drops the fields in this order: Envoy first, because it asks the others.
#[derive(Debug)]
pub struct Stack {
    /// Envoy with the filter.
    pub envoy: Envoy,
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The link that the filter's questions pass through, where the plan asked for it.
    pub link: Option<Link>,
    /// The protected service.
    pub upstream: Upstream,
    /// The control plane's settings, which name the secrets.
    pub settings: Settings,
    /// The configuration without changes for updates, to start from at the next update.
    again: Bootstrap,
    directory: TempDir,
}

impl Stack {
    /// Sends a request through Envoy.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn send(&self, request: &Request) -> Result<Answer> {
        request.send(self.envoy.address())
    }

    /// Makes Envoy replace its listener by one whose filter has another configuration.
    ///
    /// # Errors
    /// If the plan did not ask for it, or Envoy does not take the listener.
    pub fn update_filter(&self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut bootstrap = self.again.clone();
        let mut filter = bootstrap.filter()?;
        change(&mut filter);
        bootstrap.set_filter(&filter)?;
        // Clients know this port.
        bootstrap.listen_on(self.envoy.address())?;
        let before = self.envoy.metric("envoy_listener_manager_lds_update_success")?;
        bootstrap.write_listeners(&self.directory.path().join(LISTENERS))?;
        let begun = Instant::now();
        while self.envoy.metric("envoy_listener_manager_lds_update_success")? == before {
            ensure!(begun.elapsed() < PATIENCE, "Envoy does not take the listener:\n{}", self.envoy.output());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.envoy.address()
    }

    /// The directory of this run: data, logs, the configuration that Envoy got.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}
