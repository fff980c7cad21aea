//! The shipped filter, `curfew_filter.wasm`, built the way CONTRIBUTING.md says.
//!
//! Each call asks cargo, which knows if the sources have changed. Three toolchains can build the module, tried in this
//! order: the running one, if it has the target `wasm32-wasip1`; the same after `rustup target add`; Debian's packages,
//! which bring the standard library as source. The last is for machines that reach a mirror of Debian but not rustup's
//! server.
//!
//! The exports that a host would call for nothing are then removed, in a copy beside the built file ([`prune`]).

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

use crate::{compile, workspace};

const TARGET: &str = "wasm32-wasip1";
const PROFILE: &str = "filter";
const FILE: &str = "curfew_filter.wasm";

/// The module to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// The one that ships.
    Shipped,
    /// With the feature `trap`: it traps if a request asks for it.
    Trapping,
}

impl Variant {
    /// Each module has a target directory of its own below `target`. Cargo names a module after its crate, not after its
    /// features, so in a shared directory the trapping module could be taken for the shipped one.
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
/// If `CURFEW_FILTER_WASM` is set, it names a module that was built elsewhere, which is used as it is.
///
/// # Errors
/// If no toolchain can build it; the message says what to install. If it does not compile; the message carries the
/// compiler's errors.
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

/// The kind and the version of the compiler that [`build`] uses. They decide how many instructions the module executes.
///
/// `None` for a module that was built elsewhere, or if nothing here can build one.
pub fn compiler() -> Option<String> {
    if std::env::var_os("CURFEW_FILTER_WASM").is_some() {
        return None;
    }
    let (kind, program) = if target_installed() { ("rustup", "rustc") } else { ("debian", debian::COMPILER) };
    let output = Command::new(program).current_dir(workspace::root()).arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    Some(format!("{kind} {}", version.split(' ').nth(1)?))
}

/// Builds the filter that traps if a request asks for it (see `filter/src/trap.rs`), to a file of its own.
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
        return debian::module(variant);
    }
    bail!(
        "no toolchain here can build for {TARGET}. One of these helps:\n  \
         rustup target add {TARGET}\n  \
         apt-get install {}   (Debian; as root)",
        debian::PACKAGES.join(" ")
    )
}

/// True if the running toolchain has the target's standard library.
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
    let mut cargo = workspace::cargo();
    cargo.args(["rustc", "--package", "curfew-filter", "--lib", "--crate-type", "cdylib"]);
    cargo.args(["--target", TARGET, "--profile", PROFILE]).args(variant.arguments());
    let target = variant.directory(&workspace::target()?);
    cargo.arg("--target-dir").arg(&target);
    compile::run(&mut cargo, "the filter")?;
    finish(&target)
}

/// Prunes the built module into a file of the same name.
fn finish(target: &Path) -> Result<PathBuf> {
    let built = target.join(TARGET).join(PROFILE);
    let path = built.join(FILE);
    let module = std::fs::read(&path).with_context(|| format!("the build left no {}", path.display()))?;
    let pruned = prune::pruned(&module).with_context(|| path.display().to_string())?;
    let directory = built.join("pruned");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    replace(&directory.join(FILE), &pruned)
}

/// Writes a file that another process may be reading: it sees either the old content or the new one.
fn replace(path: &Path, content: &[u8]) -> Result<PathBuf> {
    let directory = path.parent().context("a file is in a directory")?;
    let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(directory)?;
    file.write_all(content)?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.to_path_buf())
}

/// Envoy may run as another user.
fn readable() -> Permissions {
    Permissions::from_mode(0o644)
}
