//! Debian's Rust for the web: a second toolchain under `/usr`, with the standard library as source.
//!
//! It compiles `std` together with the filter (about a minute, once). That takes the unstable flag `-Zbuild-std`, which
//! `RUSTC_BOOTSTRAP=1` allows on a release compiler. The module needs no start file of the C library, because the
//! proxy-wasm SDK exports `_initialize` itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{PROFILE, TARGET, Variant, finish};
use crate::{compile, workspace};

/// The packages that apt has to install.
pub(super) const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc", "lld-22"];

/// Its compiler.
pub(super) const COMPILER: &str = "/usr/bin/rustc";

const LINKER: &str = "wasm-ld-22";
const LIBRARIES: &str = "/usr/lib/wasm32-wasi";
const SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std";

/// True if the packages are there, or could be installed without asking the user.
pub(super) fn available_or_installed() -> bool {
    available() || (install() && available())
}

fn available() -> bool {
    let linker = Path::new("/usr/bin").join(LINKER);
    let programs = Path::new("/usr/bin/cargo").exists() && Path::new(COMPILER).exists();
    programs && linker.exists() && Path::new(LIBRARIES).is_dir() && Path::new(SOURCES).exists()
}

/// Only root can install packages. Another user gets the error message that names them.
fn install() -> bool {
    let root = Command::new("id").arg("-u").output();
    if !root.is_ok_and(|output| output.stdout.trim_ascii() == b"0") {
        return false;
    }
    workspace::progress("installing Debian's toolchain for wasm (apt-get) ...");
    apt_get(&["install"]) || (apt_get(&["update"]) && apt_get(&["install"]))
}

fn apt_get(action: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet").arg("--yes").args(action);
    if action == ["install"] {
        command.arg("--no-install-recommends").args(PACKAGES);
    }
    command.output().is_ok_and(|output| output.status.success())
}

/// Builds the filter in a target directory of its own, so that two compilers never rebuild each other's crates.
pub(super) fn module(variant: Variant) -> Result<PathBuf> {
    let target = variant.directory(&workspace::target()?.join("debian"));
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo.current_dir(workspace::root());
    forget_the_running_toolchain(&mut cargo);
    cargo.env("PATH", "/usr/bin:/bin").env("RUSTC", COMPILER).env("RUSTC_BOOTSTRAP", "1");
    cargo.env("CARGO_TARGET_DIR", &target);
    cargo.env("CARGO_TARGET_WASM32_WASIP1_LINKER", LINKER);
    cargo.env(
        "CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS",
        format!("-Clink-self-contained=no -Clinker-flavor=wasm-ld -L{LIBRARIES}"),
    );
    cargo.args(["rustc", "--package", "curfew-filter", "--lib", "--crate-type", "cdylib"]);
    cargo.args(["--target", TARGET, "--profile", PROFILE, "-Zbuild-std=std,panic_abort"]).args(variant.arguments());
    compile::run(&mut cargo, "the filter")?;
    finish(&target)
}

/// Removes what the running cargo tells its children about itself and its compiler: this is another cargo.
fn forget_the_running_toolchain(cargo: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let foreign = (text.starts_with("CARGO") && text != "CARGO_HOME" && !text.starts_with("CARGO_NET"))
            || text.starts_with("RUSTUP")
            || text.starts_with("RUSTC")
            || matches!(&*text, "RUSTFLAGS" | "RUSTDOC" | "LD_LIBRARY_PATH");
        if foreign {
            cargo.env_remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other tests run on one toolchain; a machine may have only this one.
    #[test]
    #[ignore = "compiles std; cargo verify --long runs it"]
    fn debians_toolchain_builds_the_filter_where_it_is_installed() {
        if available() {
            assert!(module(Variant::Shipped).unwrap().is_file());
        } else {
            eprintln!("not installed here: {PACKAGES:?}");
        }
    }
}
