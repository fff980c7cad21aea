//! The files in `docs/clients/`, run as they are by the languages that they are written for.
//!
//! Each client has a program in `tests/clients/` that plays calls of its functions and prints what came of them. The
//! programs and the client's files are copied side by side below the target directory, with the packages that they import.
//! What is asserted stands in the stories.

mod install;
mod script;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::process::Process;
use crate::stack::Stack;
pub use script::{Reply, Script};

/// How long the start of a server may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client whose files are in `docs/clients/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `fetch` in a browser. It runs in Node.js, with stand-ins for the browser's storage and location.
    Browser,
    /// PHP.
    Laravel,
    /// Python, with Django and Simple JWT.
    Django,
    /// Node.js, with Express.
    Express,
    /// Java.
    Spring,
}

/// What a client is configured with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the logouts with a token are.
    pub public: String,
    /// Where registrations and `lgt-all` are.
    pub internal: String,
    /// The internal secret.
    pub secret: String,
    /// `APP_ID`.
    pub app_id: String,
    /// `APP_KEY`.
    pub app_key: String,
    /// How long the client waits for an answer.
    pub timeout_ms: u32,
}

impl Settings {
    /// Those of a backend behind this stack: logouts go through Envoy.
    ///
    /// # Errors
    /// If a secret is not set.
    pub fn of(stack: &Stack) -> Result<Self> {
        let setting = |name| stack.settings.required(name).map(str::to_owned);
        Ok(Self {
            public: format!("http://{}", stack.address()),
            internal: format!("http://{}", stack.control_plane.internal()),
            secret: setting("CURFEW_INTERNAL_SECRET")?,
            app_id: setting("APP_ID")?,
            app_key: setting("APP_KEY")?,
            timeout_ms: 15_000,
        })
    }

    fn variables(&self) -> [(&'static str, String); 6] {
        [
            ("CURFEW_PUBLIC_URL", self.public.clone()),
            ("CURFEW_INTERNAL_URL", self.internal.clone()),
            ("CURFEW_INTERNAL_SECRET", self.secret.clone()),
            ("CURFEW_APP_ID", self.app_id.clone()),
            ("CURFEW_APP_KEY", self.app_key.clone()),
            ("TIMEOUT_MS", self.timeout_ms.to_string()),
        ]
    }
}

/// A call of a client's function: its name, and the token or the user. A scope is named behind the name:
/// `logout&scope=others`.
pub type Call<'c> = (&'c str, &'c str);

/// A client that can be run.
#[derive(Debug)]
pub struct Installed {
    command: Vec<String>,
    environment: Vec<(&'static str, String)>,
    directory: PathBuf,
    /// It plays its calls one after the other. So each gets a process of its own.
    one_call_each: bool,
}

/// What came of calls.
#[derive(Debug)]
pub struct Played {
    /// The result of each call, in the order of the calls.
    pub results: Vec<Value>,
    /// Everything else that was printed: errors, as an error tracker records them.
    pub printed: String,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Browser, Self::Laravel, Self::Django, Self::Express, Self::Spring];

    /// True if it runs on a server, which registers tokens and logs users out without a token.
    pub fn is_backend(self) -> bool {
        self != Self::Browser
    }

    /// Makes it ready to run. `None` if this machine has no PHP or no Java, after a warning that the run ends with.
    ///
    /// # Errors
    /// If Node.js or Python is missing, or what the client imports cannot be fetched.
    pub fn install(self) -> Result<Option<Arc<Installed>>> {
        install::install(self)
    }
}

impl Installed {
    /// Plays calls; those of one call of this function run at the same time.
    ///
    /// # Errors
    /// If the program fails, or prints something else than one result for each call.
    pub fn play(&self, settings: &Settings, calls: &[Call<'_>]) -> Result<Played> {
        let size = if self.one_call_each { 1 } else { calls.len().max(1) };
        let parts: Vec<_> = std::thread::scope(|scope| {
            let parts: Vec<_> = calls.chunks(size).map(|part| scope.spawn(|| self.run(settings, part))).collect();
            parts.into_iter().map(|part| part.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a panic")))).collect()
        });
        let mut played = Played { results: Vec::new(), printed: String::new() };
        for part in parts {
            let part = part?;
            played.results.extend(part.results);
            played.printed.push_str(&part.printed);
        }
        Ok(played)
    }

    fn run(&self, settings: &Settings, calls: &[Call<'_>]) -> Result<Played> {
        let file = tempfile::NamedTempFile::new_in(&self.directory)?;
        let lines: Vec<_> =
            calls.iter().map(|(call, subject)| format!("call={call}&subject={}", escaped(subject))).collect();
        std::fs::write(file.path(), lines.join("\n") + "\n")?;
        let mut command = self.command(settings, &self.command);
        let output = command.arg(file.path()).output()?;
        let [results, printed] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        ensure!(output.status.success(), "{}: {printed}", self.command.join(" "));
        let results = results.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
        let results = results.with_context(|| format!("a result is no JSON: {printed}"))?;
        ensure!(results.len() == calls.len(), "{} results of {} calls: {printed}", results.len(), calls.len());
        Ok(Played { results, printed })
    }

    /// Starts an application of the same files, which prints `READY` and its URL.
    ///
    /// # Errors
    /// If it does not start.
    pub fn serve(
        &self,
        settings: &Settings,
        program: &str,
        more: &[(&str, &str)],
        log: &Path,
    ) -> Result<(Process, String)> {
        let interpreter = self.command.first().context("a command has a program")?;
        let mut command = self.command(settings, &[interpreter.clone(), program.to_owned()]);
        command.envs(more.iter().copied());
        let mut process = Process::start(program, &command, log)?;
        let url = process.wait_until("listening", PATIENCE, |process| {
            process.output().lines().find_map(|line| line.strip_prefix("READY ").map(str::to_owned))
        })?;
        Ok((process, url))
    }

    fn command(&self, settings: &Settings, words: &[String]) -> Command {
        let mut words = words.iter();
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command
            .args(words)
            .current_dir(&self.directory)
            .envs(settings.variables())
            .envs(self.environment.iter().cloned());
        // A proxy of the machine's own is for other hosts.
        command.env("NO_PROXY", "*");
        command
    }
}

/// A text in a query string: everything but letters and digits is escaped.
fn escaped(text: &str) -> String {
    let bytes = text
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_does_not_end_a_call() {
        assert_eq!(escaped("a.b\r\n+1"), "a%2Eb%0D%0A%2B1");
    }
}
