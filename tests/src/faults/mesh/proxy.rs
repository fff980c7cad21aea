//! An Envoy of a mesh.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::issuer;
use super::plane::Plane;
use super::setup::{Network, Setup, Wiring};
use crate::bootstrap::Bootstrap;
use crate::envoy::Envoy;
use crate::link::Link;
use crate::ports::{lasting, loopback};

const LISTENER_TYPE: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

const WORKERS: u32 = 2;

/// An Envoy and its links to the control planes.
#[derive(Debug)]
pub struct Proxy {
    /// The process.
    pub process: Envoy,
    /// Between it and the internal listener of each control plane that it asks, where links can fail.
    pub links: Vec<Link>,
    bootstrap: Bootstrap,
    listener: Listener,
    directory: PathBuf,
    /// What gives the process its clocks.
    variables: Vec<(&'static str, String)>,
}

impl Proxy {
    pub(super) fn start(
        setup: Setup,
        module: &Path,
        planes: &[Plane],
        upstream: SocketAddr,
        directory: PathBuf,
    ) -> Result<Self> {
        let mut bootstrap = configured(setup)?;
        bootstrap.load_filter_from(module)?;
        // An Envoy that is killed comes back on the same port.
        bootstrap.listen_on(loopback(lasting()?))?;
        bootstrap.admin_on(loopback(0))?;
        let links = connect(&mut bootstrap, setup, planes)?;
        bootstrap.point_cluster("upstream", upstream)?;
        let file = directory.join("listener.json");
        let mut listener = Listener { content: bootstrap.take_listener(&file)?, file, version: 0 };
        listener.update()?;
        let variables = setup.clocks.variables()?;
        let process = Envoy::start_with(&bootstrap, &directory, WORKERS, &variables)?;
        Ok(Self { process, links, bootstrap, listener, directory, variables })
    }

    /// SIGKILL, and a start on the same ports.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn restart(&mut self) -> Result<()> {
        // The old process must be gone before the new one can have its ports.
        self.process.kill()?;
        self.process = Envoy::start_with(&self.bootstrap, &self.directory, WORKERS, &self.variables)?;
        Ok(())
    }

    /// Writes another version of the listener, which starts new VMs of the filter.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn update_listener(&mut self) -> Result<()> {
        self.listener.update()
    }
}

/// The shipped configuration, in the mode and with the patience of this mesh.
pub(super) fn configured(setup: Setup) -> Result<Bootstrap> {
    let mut bootstrap = Bootstrap::shipped()?;
    let mut filter = bootstrap.filter()?;
    setup.promise.configure(&mut filter)?;
    if let Some(patience) = setup.patience {
        let asked = filter.pointer_mut("/control_plane").and_then(Value::as_object_mut).context("control_plane")?;
        asked.insert("timeout".into(), json!(patience));
    }
    if setup.keyed {
        issuer::configure(&mut filter)?;
    }
    bootstrap.set_filter(&filter)?;
    Ok(bootstrap)
}

/// Points both clusters at the control planes; returns the links that the internal one goes through.
fn connect(bootstrap: &mut Bootstrap, setup: Setup, planes: &[Plane]) -> Result<Vec<Link>> {
    let (public, internal) = match setup.wiring {
        Wiring::Shared => (planes, planes),
        Wiring::Crossed => (planes.get(..1).unwrap_or(planes), planes.get(planes.len() - 1..).unwrap_or(planes)),
    };
    let public: Vec<_> = public.iter().map(|plane| plane.process.public()).collect();
    let internal: Vec<_> = internal.iter().map(|plane| plane.process.internal()).collect();
    bootstrap.spread_cluster("curfew_public", &public)?;
    if setup.network == Network::ToRedis {
        bootstrap.spread_cluster("curfew", &internal)?;
        return Ok(Vec::new());
    }
    let links = internal.into_iter().map(Link::to).collect::<Result<Vec<_>>>()?;
    bootstrap.spread_cluster("curfew", &links.iter().map(Link::address).collect::<Vec<_>>())?;
    Ok(links)
}

/// The file that Envoy takes its listener from.
#[derive(Debug)]
struct Listener {
    file: PathBuf,
    content: Value,
    version: u64,
}

impl Listener {
    /// Writes another version and moves it into place, so that Envoy never reads half a file.
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
