//! Where the source tree is, and the one directory for everything that is generated.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

/// The root of the source tree: the directory of the workspace manifest.
///
/// The path is fixed at compile time, because these programs run from the tree that they were built in.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// Cargo's target directory, as cargo itself resolves it (environment, configuration, default).
///
/// # Errors
/// If `cargo metadata` does not run, or does not print what its documentation says.
pub fn target() -> Result<PathBuf> {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    if let Some(known) = TARGET.get() {
        return Ok(known.clone());
    }
    let found = ask_cargo_for_target()?;
    Ok(TARGET.get_or_init(|| found).clone())
}

fn ask_cargo_for_target() -> Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cargo metadata does not run")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    let target = metadata.get("target_directory").and_then(|value| value.as_str());
    target.map(PathBuf::from).context("cargo metadata names no target_directory")
}

/// A directory of this name below the target directory, made if it is missing.
///
/// # Errors
/// If the directory cannot be made.
pub fn generated(name: &str) -> Result<PathBuf> {
    let directory = target()?.join(name);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// The cargo that runs this program, or the one on `PATH`, with the workspace as working directory.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    // Cargo sets these for the programs that it runs. A cargo below such a program must not inherit them: build scripts
    // read them, so cargo would run those scripts again after each change between a shell and a test.
    for (name, _) in std::env::vars_os().filter(|(name, _)| told_by_cargo(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.current_dir(root());
    command
}

fn told_by_cargo(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Prints a line on standard error, for work that takes longer than a person expects.
pub fn progress(message: &str) {
    eprintln!("    {message}");
}
