//! The real control plane: `curfew serve`, as a child process on free ports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use xtask::{compile, workspace};

use crate::http::{Answer, Request};
use crate::process::Process;
use crate::settings::Settings;

const START_LIMIT: Duration = Duration::from_secs(60);

/// Longer than the time that the control plane gives open requests at its end.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How a control plane is built: one of the profiles in `Cargo.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Without optimisation. It is built soonest.
    Dev,
    /// With some optimisation. The tests have built most of it.
    Test,
    /// As it ships.
    Release,
}

impl Profile {
    /// Its name in `Cargo.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Test => "test",
            Self::Release => "release",
        }
    }

    /// Where cargo puts the programs of this profile, below its target directory.
    fn directory(self) -> &'static str {
        match self {
            Self::Dev | Self::Test => "debug",
            Self::Release => "release",
        }
    }
}

/// Builds the `curfew` program, once in each process for each profile, and returns where it is. Other threads wait.
///
/// # Errors
/// If it does not build; the message carries the compiler's errors.
pub fn build(profile: Profile) -> Result<PathBuf> {
    static BUILT: Mutex<Vec<Profile>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let program = workspace::target()?.join(profile.directory()).join("curfew");
    if !built.contains(&profile) {
        let mut cargo = workspace::cargo();
        // Without --package, dependencies get the features of the whole workspace, as in every other build here.
        cargo.args(["build", "--bin", "curfew", "--profile", profile.name()]);
        compile::run(&mut cargo, "the control plane")?;
        built.push(profile);
    }
    Ok(program)
}

/// A running control plane, which can be killed and started again on the same data and ports.
#[derive(Debug)]
pub struct ControlPlane {
    process: Process,
    program: PathBuf,
    settings: Settings,
    directory: PathBuf,
    public: SocketAddr,
    internal: SocketAddr,
}

impl ControlPlane {
    /// Runs `program serve`, where the program is `curfew` or a script that runs it at its end. It gets these settings and
    /// none of this process, has its data in `directory`, and listens on the given addresses: public, internal.
    ///
    /// # Errors
    /// If it does not get ready; the message carries its output.
    pub fn start(
        program: &Path,
        settings: &Settings,
        directory: &Path,
        [public, internal]: [SocketAddr; 2],
    ) -> Result<Self> {
        let mut settings = settings.clone();
        settings.set("CURFEW_DATA_DIR", directory.join("data").to_string_lossy());
        settings.set("CURFEW_PUBLIC_LISTEN", public.to_string());
        settings.set("CURFEW_INTERNAL_LISTEN", internal.to_string());
        let (process, [public, internal]) = launch(program, &settings, directory)?;
        // After a restart, Envoy looks for it at the same addresses.
        settings.set("CURFEW_PUBLIC_LISTEN", public.to_string());
        settings.set("CURFEW_INTERNAL_LISTEN", internal.to_string());
        let (program, directory) = (program.to_path_buf(), directory.to_path_buf());
        Ok(Self { process, program, settings, directory, public, internal })
    }

    /// The listener for clients.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// The listener for the filter, services and operators.
    pub fn internal(&self) -> SocketAddr {
        self.internal
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// If the process cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for its end, as an orchestrator does.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop(STOP_LIMIT)
    }

    /// Limits the size of each file that it writes, in bytes. `None` removes the limit. The program must ignore SIGXFSZ.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<()> {
        self.process.limit_files(bytes)
    }

    /// Starts it again after [`ControlPlane::kill`], on the same data and the same ports.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill()?;
        let (process, addresses) = launch(&self.program, &self.settings, &self.directory)?;
        self.process = process;
        if addresses != [self.public, self.internal] {
            bail!("the control plane came back on other ports: {addresses:?}");
        }
        Ok(())
    }

    /// The process id.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Sends a request to the internal listener with the internal secret.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn ask(&self, request: Request) -> Result<Answer> {
        let secret = self.settings.required("CURFEW_INTERNAL_SECRET")?;
        request.bearer(secret).send(self.internal)
    }

    /// Registers tokens as a login service does.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn register(&self, tokens: &[&str]) -> Result<Answer> {
        let tokens: Vec<Value> = tokens.iter().map(|token| serde_json::json!({ "token": token })).collect();
        let body = serde_json::json!({ "tokens": tokens });
        self.ask(Request::post("/internal/v1/tokens").json(&body))
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// What it has logged so far.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

fn launch(program: &Path, settings: &Settings, directory: &Path) -> Result<(Process, [SocketAddr; 2])> {
    let mut command = Command::new(program);
    command.arg("serve").current_dir(directory);
    // A developer's own settings must not leak into a test.
    for (name, _) in std::env::vars_os() {
        if is_setting(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    for (name, value) in settings.iter() {
        command.env(name, value);
    }
    let log = directory.join("control-plane.log");
    let before = std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
    let mut process = Process::start("control-plane", &command, directory)?;
    let before = usize::try_from(before)?;
    let addresses = process.wait_until("ready", START_LIMIT, |process| {
        let output = process.output();
        let fresh = output.get(before..)?;
        Some([printed_address(fresh, "public")?, printed_address(fresh, "internal")?])
    });
    Ok((process, addresses.context("curfew serve")?))
}

fn is_setting(name: &str) -> bool {
    let prefixes = ["CURFEW_", "JWT_", "JWKS_", "APP_ID", "APP_KEY", "DATABASE_URL", "REDIS_"];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// The address in a line such as `public  http://127.0.0.1:41234`.
fn printed_address(output: &str, listener: &str) -> Option<SocketAddr> {
    output.lines().find_map(|line| {
        let rest = line.strip_prefix(listener)?.trim_start();
        rest.strip_prefix("http://")?.trim_end().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::loopback;

    #[test]
    fn the_address_lines_are_found_among_log_lines() {
        let output = "starting\npublic   http://127.0.0.1:81\ninternal http://127.0.0.1:82\n";
        assert_eq!(printed_address(output, "public"), Some(loopback(81)));
        assert_eq!(printed_address(output, "internal"), Some(loopback(82)));
        assert_eq!(printed_address(output, "admin"), None);
    }
}
