//! Node.js, and packages of the npm registry with the hashes of a `package-lock.json`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::workspace;

/// Node.js, by the variable `NODE` or on the `PATH`.
///
/// # Errors
/// If there is none, or it is too old.
pub fn program() -> Result<PathBuf> {
    let node = std::env::var_os("NODE").map_or_else(|| PathBuf::from("node"), PathBuf::from);
    let output = Command::new(&node).arg("--version").output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let major = version.strip_prefix('v').and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    match major {
        Some(20..) => Ok(node),
        Some(_) => bail!("Node.js {version} is too old: set NODE to Node.js 20 or newer, or put it on PATH"),
        None => bail!("no Node.js: install Node.js 20 or newer with npm and put it on PATH, or set NODE to it"),
    }
}

/// Installs what the `package-lock.json` in `directory` lists, unless that was done before.
///
/// # Errors
/// If there is no npm, or it cannot fetch the packages.
pub fn install(directory: &Path, what: &str) -> Result<()> {
    // npm writes this file last.
    if directory.join("node_modules/.package-lock.json").exists() {
        return Ok(());
    }
    workspace::progress(&format!("fetching {what} (npm) ..."));
    let mut npm = Command::new("npm");
    npm.current_dir(directory).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    let output = npm.output().context("no npm: install Node.js 20 or newer with npm and put it on PATH")?;
    ensure!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
