//! Reads the commit that is checked out from the files of `.git`.

use std::fs;
use std::path::{Path, PathBuf};

/// A commit, and the files that say which one it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Its name; empty if it is not known.
    pub(crate) id: String,
    /// The files that change when another commit is checked out or made.
    pub(crate) files: Vec<PathBuf>,
}

impl Commit {
    /// A commit that a packager names. Anything but letters, digits, dots, dashes and underscores is left out.
    pub(crate) fn given(text: String) -> Self {
        let plain = |character: &char| character.is_ascii_alphanumeric() || ".-_".contains(*character);
        Self { id: text.chars().filter(plain).collect(), files: Vec::new() }
    }
}

/// The commit that is checked out in this directory; unknown if it is not the top of a repository.
pub(crate) fn read(root: &Path) -> Commit {
    let Some(directory) = git_directory(&root.join(".git")) else { return Commit::default() };
    let head = directory.join("HEAD");
    let text = fs::read_to_string(&head).unwrap_or_default();
    let Some(name) = text.trim().strip_prefix("ref: ") else {
        return Commit { id: checked(text.trim()), files: vec![head] };
    };
    let common = common_directory(&directory);
    let (reference, packed) = (common.join(name), common.join("packed-refs"));
    match fs::read_to_string(&reference) {
        Ok(id) => Commit { id: checked(id.trim()), files: vec![head, reference] },
        // A reference that has not changed for long stands in one file with the others.
        Err(_) => Commit { id: find_packed(&packed, name), files: vec![head, packed] },
    }
}

/// `.git` itself, or the directory that it names in a further work tree.
fn git_directory(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_owned());
    }
    let text = fs::read_to_string(path).ok()?;
    let named = text.trim().strip_prefix("gitdir: ")?;
    Some(path.parent()?.join(named))
}

/// Where the references are: a further work tree has a `HEAD` of its own and shares them.
fn common_directory(directory: &Path) -> PathBuf {
    match fs::read_to_string(directory.join("commondir")) {
        Ok(common) => directory.join(common.trim()),
        Err(_) => directory.to_owned(),
    }
}

fn find_packed(packed: &Path, name: &str) -> String {
    let text = fs::read_to_string(packed).unwrap_or_default();
    let found = text.lines().filter_map(|line| line.split_once(' ')).find(|(_, reference)| *reference == name);
    found.map(|(id, _)| checked(id)).unwrap_or_default()
}

/// The text if it is a commit's name, and nothing otherwise.
fn checked(text: &str) -> String {
    let is_name = text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_name { text.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d";

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    fn read_in(files: &[(&str, &str)], root: &str) -> (String, usize) {
        let directory = repository(files);
        let commit = read(&directory.path().join(root));
        assert!(commit.files.iter().all(|file| file.exists()), "{commit:?}");
        (commit.id, commit.files.len())
    }

    #[test]
    fn a_branch_a_packed_branch_and_a_bare_commit_are_read() {
        let line = format!("{ID}\n");
        let head = (".git/HEAD", "ref: refs/heads/main\n");
        assert_eq!(read_in(&[head, (".git/refs/heads/main", &line)], ""), (ID.to_owned(), 2));
        let packed = format!("# pack-refs with: peeled\n{} refs/heads/other\n{ID} refs/heads/main\n", "0".repeat(40));
        assert_eq!(read_in(&[head, (".git/packed-refs", &packed)], ""), (ID.to_owned(), 2));
        assert_eq!(read_in(&[(".git/HEAD", &line)], ""), (ID.to_owned(), 1));
    }

    #[test]
    fn a_further_work_tree_is_read() {
        let line = format!("{ID}\n");
        let files = [
            ("main/.git/refs/heads/topic", line.as_str()),
            ("main/.git/worktrees/topic/HEAD", "ref: refs/heads/topic\n"),
            ("main/.git/worktrees/topic/commondir", "../..\n"),
            ("topic/.git", "gitdir: ../main/.git/worktrees/topic\n"),
        ];
        assert_eq!(read_in(&files, "topic"), (ID.to_owned(), 2));
    }

    #[test]
    fn without_a_repository_nothing_is_known() {
        assert_eq!(read_in(&[("README.md", "")], ""), (String::new(), 0));
        assert_eq!(read_in(&[(".git", "nothing\n")], ""), (String::new(), 0));
        assert_eq!(read_in(&[(".git/HEAD", "nothing\n")], ""), (String::new(), 1));
        assert_eq!(Commit::given("v1.2-3 \"evil\n".to_owned()).id, "v1.2-3evil");
    }
}
