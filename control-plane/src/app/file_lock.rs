//! The lock that keeps a second server away from an embedded database.
//!
//! A SQLite file has one control plane. The lock is on a file beside it and not on the database's file, which SQLite
//! locks in its own way and which a restore replaces. The kernel takes the lock away when the process dies, however it
//! dies. Other commands, such as `curfew adopt`, write in transactions beside the server, and need no lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::ServeFailure;
use crate::store::Database;

/// In bytes. The note in the file is shorter.
const LONGEST_NOTE: u64 = 200;

/// How often the file is opened anew, if it is removed at the same moment.
const ATTEMPTS: u32 = 5;

/// The lock; it is held until this is dropped. The file stays.
pub(super) struct FileLock {
    file: File,
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // A process that is being started at this moment has the file open, too, and would keep the lock a little longer.
        let _ = self.file.unlock();
    }
}

/// Locks the database's file for the server that listens on these addresses. `None` for a database that a server keeps,
/// and for a file in a directory that does not exist, which cannot be opened either.
///
/// # Errors
///
/// Another server has the lock, or the file beside the database cannot be made.
pub(super) fn lock(database: &Database, listens: (SocketAddr, SocketAddr)) -> Result<Option<FileLock>, ServeFailure> {
    let Some(file) = database.file() else { return Ok(None) };
    let path = beside(file);
    match locked(&path) {
        Ok(Some(mut lock)) => {
            note(&mut lock, listens).map_err(|source| ServeFailure::FileLock { path, source })?;
            Ok(Some(FileLock { file: lock }))
        }
        Ok(None) => Err(ServeFailure::FileInUse { file: file.to_owned(), holder: holder(&path) }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ServeFailure::FileLock { path, source }),
    }
}

/// The path of the lock's file. Several paths may lead to one database, and share one lock.
fn beside(file: &Path) -> PathBuf {
    let mut path = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()).into_os_string();
    path.push(".lock");
    path.into()
}

/// The file with the lock on it; `None` if another process has the lock.
fn locked(path: &Path) -> Result<Option<File>, std::io::Error> {
    for _ in 0..ATTEMPTS {
        // It is not truncated: another server's note may be in it.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // The lock on a file that was removed meanwhile keeps no server away.
        let (locked, present) = (file.metadata()?, std::fs::metadata(path));
        if present.is_ok_and(|present| (present.dev(), present.ino()) == (locked.dev(), locked.ino())) {
            return Ok(Some(file));
        }
    }
    Err(std::io::Error::other("it is removed again and again"))
}

/// Notes in the file which server has the lock.
fn note(file: &mut File, (public, internal): (SocketAddr, SocketAddr)) -> Result<(), std::io::Error> {
    file.set_len(0)?;
    writeln!(file, "process {}, which listens on {public} and {internal}", std::process::id())
}

/// The note of the server that has the lock.
fn holder(path: &Path) -> String {
    let mut note = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST_NOTE).read_to_string(&mut note));
    let line = note.lines().next().filter(|line| !line.chars().any(char::is_control));
    match (read, line) {
        (Ok(_), Some(line)) if !line.is_empty() => line.to_owned(),
        _ => "a process that is starting".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_locked_once_by_whatever_path_and_is_free_again_after_that() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("curfew.db");
        std::fs::write(&path, "").unwrap();
        let link = directory.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let listens = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let lock = |path: &Path| lock(&Database::in_file(path), listens);
        let first = lock(&path).unwrap();
        assert!(first.is_some());
        let refused = lock(&link).err().unwrap().to_string();
        let process = std::process::id();
        let holder = format!("process {process}, which listens on 127.0.0.1:1 and 127.0.0.1:2");
        assert!(refused.contains(&holder), "{refused}");
        drop(first);
        assert!(lock(&link).unwrap().is_some());
        assert!(lock(&directory.path().join("absent/curfew.db")).unwrap().is_none());
    }
}
