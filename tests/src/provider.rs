//! A real OpenID provider: npm's `oidc-provider` on Node.js, with the program in `tests/provider/`.
//!
//! Its packages come from the npm registry, below the target directory, with the hashes of `package-lock.json`. Its keys
//! can be rotated and dropped while it runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::http::{Answer, Request};
use crate::process::Process;
use crate::{node, workspace};

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../provider/package.json")),
    ("package-lock.json", include_str!("../provider/package-lock.json")),
    ("provider.mjs", include_str!("../provider/provider.mjs")),
];

/// Where the packages are, below the target directory. The name changes with the version.
const DIRECTORY: &str = "oidc-provider-9.13.3";

/// How long the start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A provider that runs.
#[derive(Debug)]
pub struct Provider {
    _process: Process,
    issuer: String,
    address: SocketAddr,
}

impl Provider {
    /// Starts it on a free port, with its log in `directory`.
    ///
    /// # Errors
    /// If it cannot be had, or does not start.
    pub fn start(directory: &Path) -> Result<Self> {
        let mut command = Command::new(node::program()?);
        command.arg("provider.mjs").current_dir(installed()?);
        let mut process = Process::start("provider", &command, directory)?;
        let issuer = process.wait_until("listening", PATIENCE, |process| ready(&process.output()))?;
        let address = issuer.strip_prefix("http://").context("the issuer is no URL")?.parse()?;
        Ok(Self { _process: process, issuer, address })
    }

    /// Its name, the `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// An access token for a person, by the code flow with PKCE.
    ///
    /// # Errors
    /// If the provider gives none.
    pub fn log_in(&self, user: &str) -> Result<String> {
        access_token(&self.post(&format!("/test/login?sub={user}"))?)
    }

    /// An access token for a machine, by the client credentials flow.
    ///
    /// # Errors
    /// If the provider gives none.
    pub fn machine_token(&self) -> Result<String> {
        access_token(&self.post("/test/machine")?)
    }

    /// Signs with a new key from now on; the old ones stay published.
    ///
    /// # Errors
    /// If the provider does not answer.
    pub fn rotate(&self) -> Result<()> {
        self.post("/test/rotate").map(drop)
    }

    /// Publishes only the key that it signs with.
    ///
    /// # Errors
    /// If the provider does not answer.
    pub fn drop_old_keys(&self) -> Result<()> {
        self.post("/test/drop").map(drop)
    }

    /// Answers each request for its keys so much later.
    ///
    /// # Errors
    /// If the provider does not answer.
    pub fn answer_later(&self, pause: Duration) -> Result<()> {
        self.post(&format!("/test/pause?ms={}", pause.as_millis())).map(drop)
    }

    /// How often its keys were asked for.
    ///
    /// # Errors
    /// If the provider does not answer.
    pub fn fetches(&self) -> Result<u64> {
        let answer = Request::get("/test/fetches").send(self.address)?;
        answer.json().get("fetches").and_then(Value::as_u64).context("no number of fetches")
    }

    fn post(&self, target: &str) -> Result<Answer> {
        let answer = Request::post(target).send(self.address)?;
        ensure!(answer.status == 200, "{target}: {} {}", answer.status, answer.text());
        Ok(answer)
    }
}

fn access_token(answer: &Answer) -> Result<String> {
    let answer: Value = answer.json();
    let token = answer.get("access_token").and_then(Value::as_str);
    Ok(token.with_context(|| format!("no access token: {answer}"))?.to_owned())
}

/// The issuer in the line `READY http://127.0.0.1:40123`.
fn ready(output: &str) -> Option<String> {
    output.lines().find_map(|line| line.strip_prefix("READY ")).map(str::to_owned)
}

/// The directory of the program with its packages.
fn installed() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let directory = workspace::generated(DIRECTORY)?;
    for (name, text) in FILES {
        std::fs::write(directory.join(name), text)?;
    }
    node::install(&directory, "oidc-provider")?;
    Ok(directory)
}
