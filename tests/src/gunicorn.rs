//! A real gunicorn with a small WSGI application, as a reader of headers that Envoy passes on.
//!
//! It comes in wheels from Python's package index, below the target directory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::Process;
use crate::{wheel, workspace};

/// gunicorn and what it needs.
const WHEELS: [&str; 2] = ["gunicorn==27.0.1", "packaging==26.3"];

/// How long the start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers with the path that it serves. It mounts itself below `X-Script-Name`, as the widely copied snippet for Flask
/// does.
const APPLICATION: &str = r#"
def application(environ, start_response):
    prefix = environ.get("HTTP_X_SCRIPT_NAME", "")
    path = environ["PATH_INFO"]
    if prefix and path.startswith(prefix):
        path = path[len(prefix):]
    start_response("200 OK", [("content-type", "text/plain")])
    return [path.encode()]
"#;

/// A gunicorn that runs.
#[derive(Debug)]
pub struct Gunicorn {
    _process: Process,
    address: SocketAddr,
}

impl Gunicorn {
    /// Starts it on a free port, with its files in `directory`.
    ///
    /// # Errors
    /// If it cannot be had, or does not start.
    pub fn start(directory: &Path) -> Result<Self> {
        std::fs::write(directory.join("application.py"), APPLICATION)?;
        let mut command = Command::new("python3");
        command.current_dir(directory).env("PYTHONPATH", installed()?).env_remove("SCRIPT_NAME");
        command.args(["-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "application"]);
        let mut process = Process::start("gunicorn", &command, directory)?;
        let address = process.wait_until("listening", PATIENCE, |process| listening_at(&process.output()))?;
        Ok(Self { _process: process, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The address in the line `Listening at: http://127.0.0.1:40123 (7)`.
fn listening_at(output: &str) -> Option<SocketAddr> {
    let (_, rest) = output.split_once("Listening at: http://")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The directory of the unpacked wheels.
fn installed() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let [gunicorn, _] = WHEELS;
    let directory = workspace::generated(gunicorn)?;
    if !directory.join("gunicorn/__main__.py").exists() || !directory.join("packaging/version.py").exists() {
        for package in WHEELS {
            workspace::progress(&format!("fetching {package} (pip) ..."));
            wheel::unpack(package, &directory).context("give Python 3 a pip that can fetch gunicorn")?;
        }
    }
    Ok(directory)
}
