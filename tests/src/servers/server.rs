//! One running server of any kind: it can be killed, frozen, and started again on the same port and data.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use super::place::Place;
use crate::ports;
use crate::process::Process;

/// A database recovers from a kill before it answers, on a machine that may be busy with other tests.
const START_LIMIT: Duration = Duration::from_secs(90);

/// How often another port is tried, when a port that was free a moment ago is taken.
const PORT_TRIES: usize = 5;

/// The words in a server's log or error when its port is taken.
const PORT_TAKEN: [&str; 2] = ["in use", "Failed listening on port"];

/// The check whether a running server is ready.
pub(super) type Ready = Box<dyn Fn() -> bool + Send + Sync>;

/// How to start a server, again and again.
pub(super) struct Launch {
    pub name: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub ready: Ready,
}

/// A running server. Everything it started with stays the same over a restart.
pub struct Server {
    // Dropped first: the directory must not go while the server writes there.
    process: Process,
    launch: Launch,
    place: Place,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts a server on a free port and waits until it answers. If the port was taken meanwhile, it tries another
    /// one.
    pub(super) fn start(place: Place, launch: impl Fn(&Place, u16) -> Result<Launch>) -> Result<(Self, u16)> {
        for _ in 1..PORT_TRIES {
            let port = ports::lasting()?;
            let launch = launch(&place, port)?;
            match running(&launch, &place) {
                Ok(process) => return Ok((Self { process, launch, place }, port)),
                Err(error) if PORT_TAKEN.iter().any(|words| format!("{error:#}").contains(words)) => {}
                Err(error) => return Err(error),
            }
        }
        bail!("no free port was found in {PORT_TRIES} tries");
    }

    /// SIGKILL to every process of the server.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        Ok(())
    }

    /// Kills the server if it runs, and starts it on the same port and data.
    ///
    /// # Errors
    /// When it does not get ready; the message has its output.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.process = running(&self.launch, &self.place)?;
        Ok(())
    }

    /// Ends the server as its administrators do, and starts it with one more argument on the same port and data.
    ///
    /// # Errors
    /// When it does not end in time, or does not get ready; the message has its output.
    pub fn restart_with(&mut self, argument: &str) -> Result<()> {
        self.process.stop(START_LIMIT)?;
        self.launch.arguments.push(argument.into());
        self.restart()
    }

    /// SIGSTOP to every process of the server: connections stay open, new ones are accepted, and none gets an answer.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets a frozen server run on.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

fn running(launch: &Launch, place: &Place) -> Result<Process> {
    let mut command = place.command(&launch.program);
    command.args(&launch.arguments);
    let mut process = Process::start(launch.name, &command, place.path())?;
    process.wait_until("ready", START_LIMIT, |_| (launch.ready)().then_some(()))?;
    Ok(process)
}
