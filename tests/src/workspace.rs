//! Where things are: the source tree and the one directory that everything generated goes to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

/// The root of the source tree: the directory of the workspace manifest.
///
/// The path is fixed when the testbed is compiled, because every part of it is run from the tree it was built in.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// Cargo's target directory, as cargo itself resolves it (environment, configuration, default).
///
/// # Errors
/// When `cargo metadata` cannot be run or says something else than it documents.
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
/// When the directory cannot be made.
pub fn generated(name: &str) -> Result<PathBuf> {
    let directory = target()?.join(name);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// The cargo that runs this program, or the one on `PATH`, with the workspace as working directory.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    // What cargo tells the programs it runs, it must not hear from them: build scripts ask for these, and what they built
    // would be built anew at each change between a cargo in a shell and one below a test.
    for (name, _) in std::env::vars_os().filter(|(name, _)| told_by_cargo(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.current_dir(root());
    command
}

fn told_by_cargo(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// A line of progress on standard error, for work that takes long enough to make a person wonder.
pub fn progress(message: &str) {
    eprintln!("    {message}");
}
