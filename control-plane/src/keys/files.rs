//! A JWK Set in a file that may change.
//!
//! The file is looked at each second. What is looked at is the file behind the path, so a symbolic link that is turned to
//! another file, as Kubernetes does for the files of a ConfigMap, is a change. A file that cannot be read as a JWK Set, as
//! one that is being written, is told once and changes nothing.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::fetch::{Cause, FetchFailure, MAX_BODY_BYTES, read_set};

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that was written less than this before it was read may be written once more without any sign: the times of files
/// move in steps.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Watches one file.
pub struct FileWatch {
    path: PathBuf,
    seen: Seen,
    reread: Arc<Notify>,
}

/// Has a [`FileWatch`] read its file again at once, changed or not.
#[derive(Clone)]
pub struct Reread(Arc<Notify>);

impl Reread {
    /// Reads the file again.
    pub fn reread(&self) {
        self.0.notify_one();
    }
}

/// What the last look has shown.
#[derive(Default, Clone)]
struct Seen {
    /// The stamp of the file that was read, if it cannot have changed since without another stamp.
    stamp: Option<Stamp>,
    /// What was told last: of a text, its digest; of a failure, its sentence.
    told: Option<[u8; 32]>,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    size: u64,
    place: (u64, u64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            place: (metadata.dev(), metadata.ino()),
        }
    }
}

type Read = Result<Value, FetchFailure>;

impl FileWatch {
    /// Watches the file at this path. Nothing is read yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, seen: Seen::default(), reread: Arc::default() }
    }

    /// What has the file read again.
    pub fn handle(&self) -> Reread {
        Reread(Arc::clone(&self.reread))
    }

    /// The set, when the file has changed, or why it cannot be read, once for each reason. The first call answers at once.
    /// After [`Reread::reread`] the answer comes at once too, changed or not.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Read {
        loop {
            let (path, mut seen) = (self.path.clone(), self.seen.clone());
            let looked = tokio::task::spawn_blocking(move || {
                let read = look(&path, &mut seen);
                (read, seen)
            });
            // Without a runtime to look with, there is nothing to tell.
            if let Ok((read, seen)) = looked.await {
                self.seen = seen;
                if let Some(read) = read {
                    return read;
                }
            }
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = self.reread.notified() => self.seen = Seen::default(),
            }
        }
    }
}

/// Looks at the file, and reads it if it may have changed. `None` if there is nothing new to tell.
fn look(path: &Path, seen: &mut Seen) -> Option<Read> {
    let stamp = fs::metadata(path).map(|metadata| Stamp::of(&metadata)).ok();
    if stamp.is_some() && stamp == seen.stamp {
        return None;
    }
    let began = SystemTime::now();
    let bytes = read_file(path);
    seen.stamp = stamp.filter(|stamp| is_settled(stamp, began));
    let (said, read) = match bytes {
        Ok(bytes) => (Sha256::digest(&bytes), read_set(&bytes)),
        Err(cause) => (Sha256::digest(cause.to_string()), Err(cause)),
    };
    let told = seen.told.replace(said.into());
    (told != seen.told).then(|| read.map_err(|cause| FetchFailure::of_file(path, cause)))
}

/// True if the file was written long enough before `began`.
fn is_settled(stamp: &Stamp, began: SystemTime) -> bool {
    let began = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let settled = i64::try_from(began.saturating_sub(SETTLED_AFTER).as_secs()).unwrap_or(i64::MAX);
    stamp.modified.0 < settled
}

/// The bytes of a file of keys.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Cause> {
    let failed = |error: std::io::Error| Cause::File(error.to_string());
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Cause::File("it is no file".to_owned()));
    }
    let limit = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_BODY_BYTES { Err(Cause::TooLarge(MAX_BODY_BYTES)) } else { Ok(bytes) }
}
