//! Secrets that are generated at a first start without configuration, and kept for the next start.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The file's name in the data directory.
pub const GENERATED_FILE: &str = "secrets.json";

/// The issuer of tokens that are signed with the generated secret.
pub(super) const GENERATED_ISSUER: &str = "http://curfew.localhost";

/// 256 bits: as long as the hash that HS256 uses, and beyond guessing.
const SECRET_BYTES: usize = 32;

/// A generated value for each secret.
#[derive(Serialize, Deserialize)]
pub(super) struct Generated {
    pub(super) jwt_secret: String,
    pub(super) internal_secret: String,
    pub(super) app_id: String,
    pub(super) app_key: String,
}

impl Generated {
    /// The secrets that an earlier start has generated, if one has.
    pub(super) fn load(directory: &Path) -> Result<Option<Self>, String> {
        let path = directory.join(GENERATED_FILE);
        let text = match File::open(&path) {
            Ok(file) => read_private(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        let text = text.map_err(|problem| format!("{} {problem}", path.display()))?;
        // The parser's message could quote a secret.
        let parsed = serde_json::from_slice(&text);
        parsed.map(Some).map_err(|_| format!("{} is damaged: restore or remove it", path.display()))
    }

    /// Loads the secrets, or generates them if there are none.
    pub(super) fn load_or_create(directory: &Path) -> Result<Self, String> {
        make_directory(directory)?;
        if let Some(found) = Self::load(directory)? {
            return Ok(found);
        }
        let made = Self::make().map_err(|error| format!("no randomness for secrets: {error}"))?;
        made.store(directory)?;
        // Two servers that start at once both use the secrets that the first of them stored.
        Self::load(directory)?.ok_or_else(|| "the secrets vanished while they were made".to_owned())
    }

    fn make() -> Result<Self, getrandom::Error> {
        let secret = random::<SECRET_BYTES>;
        Ok(Self { jwt_secret: secret()?, internal_secret: secret()?, app_id: "local".to_owned(), app_key: secret()? })
    }

    /// Stores the secrets whole or not at all, readable by the owner alone, and never over an existing file.
    fn store(&self, directory: &Path) -> Result<(), String> {
        let path = directory.join(GENERATED_FILE);
        // The name cannot be foreseen, so no other file is in its place.
        let draft = random::<8>().map_err(|error| format!("no randomness for a file's name: {error}"))?;
        let draft = directory.join(format!("{GENERATED_FILE}.{draft}"));
        let stored = self.write(&draft).and_then(|()| match fs::hard_link(&draft, &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
        // Whether or not it was linked, the draft is not needed any more.
        let _ = fs::remove_file(&draft);
        stored.map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()
    }
}

/// Makes the data directory, readable by the owner alone: the database in it shows which user is logged in where.
pub(super) fn make_directory(directory: &Path) -> Result<(), String> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| format!("{} cannot be created: {error}", directory.display()))
}

/// The file's text, if only this process' user can have read or written it.
fn read_private(mut file: File) -> Result<Vec<u8>, String> {
    let unread = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = file.metadata().map_err(unread)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err("belongs to another user: whoever wrote it knows the secrets; change its owner or remove it".into());
    }
    if metadata.mode() & 0o077 != 0 {
        return Err("is open to others than its owner: chmod 600 it, or remove it for new secrets".into());
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(unread)?;
    Ok(text)
}

fn random<const BYTES: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_made_once_and_for_the_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("deep/data");
        assert!(Generated::load(&data).unwrap().is_none());
        let first = Generated::load_or_create(&data).unwrap();
        let second = Generated::load_or_create(&data).unwrap();
        assert_eq!(first.jwt_secret.len(), 2 * SECRET_BYTES);
        assert_ne!(first.jwt_secret, first.internal_secret);
        assert_eq!(first.jwt_secret, second.jwt_secret);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data.join(GENERATED_FILE)), 0o600);
        assert_eq!(mode(&data), 0o700);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_refused_without_quoting_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(GENERATED_FILE);
        fs::write(&path, r#"{"jwt_secret": hunter2"#).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let problem = refused(directory.path());
        assert!(problem.ends_with("is damaged: restore or remove it"), "{problem}");
    }

    fn refused(directory: &Path) -> String {
        match Generated::load_or_create(directory) {
            Ok(_) => panic!("accepted"),
            Err(problem) => problem,
        }
    }

    #[test]
    fn a_file_that_others_can_read_or_write_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        Generated::load_or_create(directory.path()).unwrap();
        let path = directory.path().join(GENERATED_FILE);
        for mode in [0o640, 0o620, 0o604, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let problem = refused(directory.path());
            assert!(problem.contains("is open to others than its owner: chmod 600 it"), "{problem}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        Generated::load_or_create(directory.path()).unwrap();
    }

    #[test]
    fn a_file_of_another_user_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        Generated::load_or_create(directory.path()).unwrap();
        // Only root can give files away; for other users this test does nothing.
        if std::os::unix::fs::chown(directory.path().join(GENERATED_FILE), Some(12_345), None).is_ok() {
            let problem = refused(directory.path());
            assert!(problem.contains("belongs to another user"), "{problem}");
        }
    }

    #[test]
    fn a_file_in_the_place_of_the_draft_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (bait, target) = (directory.path().join("draft"), directory.path().join("target"));
        std::os::unix::fs::symlink(&target, &bait).unwrap();
        let error = Generated::make().unwrap().write(&bait).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(!target.exists());
    }
}
