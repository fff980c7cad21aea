//! Child processes that never outlive their owner, and that keep their output for error messages.
//!
//! Three things end a child: [`Process::kill`], dropping it, and the end of this process, whatever its cause. In the last
//! case the kernel sends SIGKILL, through `setpriv --pdeathsig` of util-linux, if that is installed. Each child has a
//! process group of its own: Ctrl-C in a terminal reaches only the owner, which then stops the children in order.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::family;

/// The time between two checks whether a child is ready.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// How many of the last bytes of a child's output go into an error message.
const SHOWN_OUTPUT: usize = 6_000;

/// A running child process with its output in a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; standard output and error both go to `directory/name.log`.
    ///
    /// # Errors
    /// If the log cannot be created or the program cannot be started; the message names the program.
    pub fn start(name: &str, command: &Command, directory: &Path) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        let mut bound = bound_to_us(command);
        bound.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = spawn_from_lasting_thread(bound)
            .with_context(|| format!("cannot start {name}: {}", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything the child has printed so far.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Calls `ask` again and again until it returns a value.
    ///
    /// # Errors
    /// If the child ends first or `limit` passes; the message carries the end of its output.
    pub fn wait_until<T>(&mut self, what: &str, limit: Duration, mut ask: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(answer) = ask(self) {
                return Ok(answer);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) before it was {what}\n{}", self.name, self.tail());
            }
            if Instant::now() > deadline {
                bail!("{} was not {what} within {limit:?}\n{}", self.name, self.tail());
            }
            thread::sleep(ASK_EVERY);
        }
    }

    /// True while the child runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGKILL to the child and to all processes that it started, and waits until they are gone.
    ///
    /// # Errors
    /// If the child cannot be signalled or waited for.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        let started = self.freeze();
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        family::signal(&started, Signal::KILL);
        let status = self.child.wait()?;
        family::wait_until_gone(&started);
        Ok(status)
    }

    /// Sends SIGTERM to the child and waits until it ends.
    ///
    /// # Errors
    /// If it does not end within `limit`, or ends with an error; the message carries the end of its output.
    pub fn stop(&mut self, limit: Duration) -> Result<()> {
        family::signal(&[self.child.id()], Signal::TERM);
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{} ended with {status}\n{}", self.name, self.tail()),
                None if Instant::now() > deadline => bail!("{} did not end within {limit:?}", self.name),
                None => thread::sleep(ASK_EVERY),
            }
        }
    }

    /// Limits the size of each file that the child writes, in bytes (RLIMIT_FSIZE). `None` removes the limit.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // The hard limit stays, so that the soft one can be removed again.
        let hard = getrlimit(Resource::Fsize).maximum;
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes.or(hard), maximum: hard })?;
        Ok(())
    }

    /// Sends SIGSTOP to the child and to all processes that it started, and returns those. Connections stay open, but get
    /// no answer.
    pub fn freeze(&self) -> Vec<u32> {
        // The parent first: a stopped process starts no other ones.
        family::signal(&[self.child.id()], Signal::STOP);
        let started = family::descendants(self.child.id());
        family::signal(&started, Signal::STOP);
        started
    }

    /// Sends SIGCONT to the child and to all processes that it started.
    pub fn thaw(&self) {
        family::signal(&family::descendants(self.child.id()), Signal::CONT);
        family::signal(&[self.child.id()], Signal::CONT);
    }

    fn tail(&self) -> String {
        let output = self.output();
        let start = output.len().saturating_sub(SHOWN_OUTPUT);
        let shown = output.get(start..).unwrap_or(&output);
        format!("--- output of {} ({}) ---\n{shown}", self.name, self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A failure cannot be handled here, and the kernel still ends the child after this process.
        let _ = self.kill();
    }
}

/// The same command, run so that the kernel kills it when the thread that started it ends.
fn bound_to_us(command: &Command) -> Command {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let available = *SETPRIV.get_or_init(|| {
        let probe = Command::new("setpriv").args(["--pdeathsig", "KILL", "true"]).output();
        probe.is_ok_and(|output| output.status.success())
    });
    let mut bound = if available {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        setpriv
    } else {
        Command::new(command.get_program())
    };
    bound.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        bound.current_dir(directory);
    }
    bound
}

type Spawn = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Spawns on a thread that lives as long as the process.
///
/// The kernel sends the death signal when the *thread* that forked ends. A test's thread ends with its test, but other
/// tests go on to share the stack that it started.
fn spawn_from_lasting_thread(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Spawn>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Spawn>();
        thread::spawn(move || {
            for (mut command, reply) in receiver {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = mpsc::channel();
    spawner.send((command, reply)).map_err(|_| anyhow!("the spawning thread is gone"))?;
    Ok(answer.recv().context("the spawning thread is gone")??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_ends_early_shows_its_output() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo the reason; exit 3"]);
        let mut process = Process::start("early", &command, directory.path()).unwrap();
        let refused = process.wait_until("ready", Duration::from_secs(10), |_| None::<()>);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("early ended (exit status: 3) before it was ready"), "{message}");
        assert!(message.contains("the reason"), "{message}");
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("600");
        let process = Process::start("sleeper", &command, directory.path()).unwrap();
        let proc = PathBuf::from(format!("/proc/{}", process.child.id()));
        drop(process);
        assert!(!proc.exists());
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = match Process::start("ghost", &Command::new("/no/such/program"), directory.path()) {
            Ok(process) => process,
            Err(error) => {
                assert!(format!("{error:#}").contains("/no/such/program"));
                return;
            }
        };
        let error = process.wait_until("ready", Duration::from_secs(10), |_| None::<()>);
        assert!(error.unwrap_err().to_string().contains("/no/such/program"));
    }
}
