//! The directory of a server's data, and the user that it runs as.
//!
//! PostgreSQL refuses to run as root. If the harness is root, it runs PostgreSQL as another user, in a directory of
//! that user; otherwise as itself.

use std::ffi::OsString;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::workspace;

/// Paths of unix sockets end at 107 bytes, and PostgreSQL's name of one takes 15.
const LONGEST_DIRECTORY: usize = 85;

/// The users that a server may run as when the harness is root, in this order.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A user and group, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The user for a server that refuses root; `None` if the harness is not root.
    ///
    /// # Errors
    /// When no suitable user exists.
    pub(super) fn ordinary() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let found = USERS.iter().find_map(|name| Self::named(&passwd, name));
        Ok(Some(found.context("neither the user postgres nor the user nobody exists")?))
    }

    fn named(passwd: &str, name: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let known = fields.next() == Some(name);
            let (_, uid, gid) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            known.then_some(Self { uid, gid })
        })
    }

    /// The words that go before a command line to run it as this user.
    ///
    /// A change of user drops the death signal that the harness set, so it is set again.
    pub(super) fn prefix(self) -> Vec<OsString> {
        let words = ["setpriv", "--pdeathsig", "KILL", "--clear-groups"].map(OsString::from);
        let ids = [format!("--reuid={}", self.uid), format!("--regid={}", self.gid), "--".into()];
        words.into_iter().chain(ids.map(OsString::from)).collect()
    }
}

/// A directory of one server, removed when dropped.
#[derive(Debug)]
pub(super) struct Place {
    directory: TempDir,
    user: Option<User>,
}

impl Place {
    /// A new directory for `user`, below the target directory if that user can enter it and the path is short enough,
    /// else in the system's directory for temporary files.
    ///
    /// # Errors
    /// When no directory can be made that the user can enter.
    pub(super) fn new(user: Option<User>) -> Result<Self> {
        let near = Self::below(&workspace::generated("servers")?, user)?;
        if near.path().as_os_str().len() <= LONGEST_DIRECTORY && near.entered_by_its_user() {
            return Ok(near);
        }
        let far = Self::below(&std::env::temp_dir(), user)?;
        if !far.entered_by_its_user() {
            bail!("{} cannot be entered by the user of the server", far.path().display());
        }
        Ok(far)
    }

    fn below(parent: &Path, user: Option<User>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("s-").tempdir_in(parent)?;
        let place = Self { directory, user };
        place.give(place.path())?;
        Ok(place)
    }

    fn entered_by_its_user(&self) -> bool {
        let Some(user) = self.user else {
            return true;
        };
        let mut command = command_of(&user.prefix(), Path::new("test"));
        command.arg("-w").arg(self.path());
        command.status().is_ok_and(|status| status.success())
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A command that runs as the user of this place.
    pub(super) fn command(&self, program: &Path) -> Command {
        let prefix = self.user.map(User::prefix).unwrap_or_default();
        let mut command = command_of(&prefix, program);
        command.current_dir(self.path());
        command
    }

    /// Writes a file that belongs to the user of this place and that no other user can read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path().join(name);
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        self.give(&path)?;
        Ok(path)
    }

    fn give(&self, path: &Path) -> Result<()> {
        if let Some(User { uid, gid }) = self.user {
            chown(path, Some(uid), Some(gid)).with_context(|| format!("cannot give {} away", path.display()))?;
        }
        Ok(())
    }
}

fn command_of(prefix: &[OsString], program: &Path) -> Command {
    let mut words = prefix.iter().cloned().chain([program.as_os_str().to_owned()]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody2:x:5:6::/:/bin/sh\nnobody:x:65534:65533::/:/bin/sh\n";
        assert_eq!(User::named(passwd, "nobody"), Some(User { uid: 65534, gid: 65533 }));
        assert_eq!(User::named(passwd, "nobod"), None);
    }

    #[test]
    fn the_user_of_a_place_can_write_there_and_read_what_it_was_given() {
        let place = Place::new(User::ordinary().unwrap()).unwrap();
        let file = place.write("secret", "x").unwrap();
        let read = place.command(Path::new("cat")).arg(&file).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&read.stdout), "x");
        assert!(place.command(Path::new("touch")).arg("new").status().unwrap().success());
    }
}
