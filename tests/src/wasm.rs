//! The shipped filter: `curfew_filter.wasm`, built the way CONTRIBUTING.md says.
//!
//! Always asks cargo, which knows whether sources changed. Three toolchains can do it, tried in this order: the
//! `wasm32-wasip1` target of the running one; the same after `rustup target add`; Debian's packages, which bring the
//! standard library as source. The last is for machines that reach a package mirror and not rustup's server.
//!
//! What was built is then freed of the exports that a host would call for nothing, in a copy beside it ([`prune`]).

mod debian;
mod prune;

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};

pub use prune::KEPT as CALLBACKS;

use crate::workspace;

const TARGET: &str = "wasm32-wasip1";
const PROFILE: &str = "filter";
const FILE: &str = "curfew_filter.wasm";

/// Which module to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// The one that ships.
    Shipped,
    /// With the feature `trap`: it traps where a request tells it to.
    Trapping,
}

impl Variant {
    /// A target directory of its own for each, below `target`: cargo names a module after its crate and not after its
    /// features, so that in one directory the trapping module could pass for the shipped one.
    fn directory(self, target: &Path) -> PathBuf {
        match self {
            Self::Shipped => target.to_path_buf(),
            Self::Trapping => target.join("trap"),
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Shipped => &[],
            Self::Trapping => &["--features", "trap"],
        }
    }
}

/// Builds the filter and returns where it is.
///
/// `CURFEW_FILTER_WASM` names a module to use as it is instead, for testing one that was built elsewhere.
///
/// # Errors
/// When no toolchain can build it; the message says what to install. Compiler output goes to standard error.
pub fn build() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(path) = built.as_ref() {
        return Ok(path.clone());
    }
    let path = match std::env::var_os("CURFEW_FILTER_WASM") {
        Some(path) => given(PathBuf::from(path))?,
        None => build_with_the_best_toolchain(Variant::Shipped)?,
    };
    *built = Some(path.clone());
    Ok(path)
}

/// The compiler that [`build`] uses, as far as it decides about the instructions: its kind and its version.
///
/// `None` for a module that was built elsewhere, or where nothing can build one.
pub fn compiler() -> Option<String> {
    if std::env::var_os("CURFEW_FILTER_WASM").is_some() {
        return None;
    }
    let (kind, program) = if target_installed() { ("rustup", "rustc") } else { ("debian", debian::COMPILER) };
    let output = Command::new(program).current_dir(workspace::root()).arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    Some(format!("{kind} {}", version.split(' ').nth(1)?))
}

/// Builds the filter that traps where a request tells it to (see `filter/src/trap.rs`), to a file of its own.
///
/// # Errors
/// As [`build`].
pub fn build_trapping() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    build_with_the_best_toolchain(Variant::Trapping)
}

fn given(path: PathBuf) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("CURFEW_FILTER_WASM: {} is not a file", path.display());
    }
    Ok(path)
}

fn build_with_the_best_toolchain(variant: Variant) -> Result<PathBuf> {
    if target_installed() || add_target() {
        return build_with_rustup(variant);
    }
    if debian::available_or_installed() {
        return debian::build(variant);
    }
    bail!(
        "no toolchain here can build for {TARGET}. One of these helps:\n  \
         rustup target add {TARGET}\n  \
         apt-get install {}   (Debian; as root)",
        debian::PACKAGES.join(" ")
    )
}

/// Whether the running toolchain has the target's standard library.
fn target_installed() -> bool {
    let output = Command::new("rustc")
        .current_dir(workspace::root())
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    output.is_ok_and(|output| {
        let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && Path::new(&directory).is_dir()
    })
}

fn add_target() -> bool {
    workspace::progress(&format!("adding the Rust target {TARGET} (rustup) ..."));
    let added = Command::new("rustup").current_dir(workspace::root()).args(["target", "add", TARGET]).output();
    added.is_ok_and(|output| output.status.success()) && target_installed()
}

fn build_with_rustup(variant: Variant) -> Result<PathBuf> {
    workspace::progress("building the filter for wasm32-wasip1 (minutes, the first time) ...");
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "--package", "curfew-filter", "--lib"]);
    cargo.args(["--target", TARGET, "--profile", PROFILE]).args(variant.arguments());
    let target = variant.directory(&workspace::target()?);
    cargo.arg("--target-dir").arg(&target);
    run(&mut cargo)?;
    finish(&target)
}

/// Runs a build, showing its output only when it fails.
fn run(command: &mut Command) -> Result<()> {
    let output = command.output();
    let output = output.with_context(|| format!("{} does not run", command.get_program().display()))?;
    if !output.status.success() {
        bail!("the filter does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Prunes what a build has left, into a file of the same name.
fn finish(target: &Path) -> Result<PathBuf> {
    let built = target.join(TARGET).join(PROFILE);
    let path = built.join(FILE);
    let module = std::fs::read(&path).with_context(|| format!("the build left no {}", path.display()))?;
    let pruned = prune::pruned(&module).with_context(|| path.display().to_string())?;
    let directory = built.join("pruned");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    replace(&directory.join(FILE), &pruned)
}

/// Writes a file that others may be reading: they see the old one or the new one.
fn replace(path: &Path, content: &[u8]) -> Result<PathBuf> {
    let directory = path.parent().context("a file is in a directory")?;
    let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(directory)?;
    file.write_all(content)?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.to_path_buf())
}

/// Envoy may run as somebody else.
fn readable() -> Permissions {
    Permissions::from_mode(0o644)
}
