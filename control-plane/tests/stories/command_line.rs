//! The command line of the real binary.

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::binary::command;

fn run(directory: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    command(directory).args(arguments).envs(settings.iter().copied()).output().unwrap()
}

fn ended(directory: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = run(directory, arguments, settings);
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.collect()
}

#[test]
fn shells_and_man_know_every_command() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, errors) = ended(directory, &["completions", shell], &[]);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{shell}");
        for word in ["gateways", "accept-unreadable", "epoch"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(directory, &["man", "--output", "."], &[]).status.code(), Some(0));
    let mut pages = files(directory);
    pages.sort();
    let expected = [
        "curfew-adopt.1",
        "curfew-completions.1",
        "curfew-epoch-bump.1",
        "curfew-epoch.1",
        "curfew-gateways.1",
        "curfew-logout.1",
        "curfew-man.1",
        "curfew-migrate.1",
        "curfew-serve.1",
        "curfew-sessions.1",
        "curfew-token-inspect.1",
        "curfew-token-mint.1",
        "curfew-token.1",
        "curfew.1",
    ];
    assert_eq!(pages, expected);
    let page = std::fs::read_to_string(directory.join("curfew-serve.1")).unwrap();
    assert!(page.contains("CURFEW_PUBLIC_LISTEN") && page.contains("Run the control plane"), "{page}");
}

#[test]
fn the_version_names_the_commit_if_there_is_one() {
    let directory = TempDir::new().unwrap();
    let (_, told, _) = ended(directory.path(), &["--version"], &[]);
    let rest = told.strip_prefix(concat!("curfew ", env!("CARGO_PKG_VERSION"))).unwrap().trim_end();
    let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    assert!(rest.is_empty() || commit.is_some_and(|commit| !commit.is_empty() && commit.len() <= 12), "{told}");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.git");
    if repository.exists() && option_env!("CURFEW_COMMIT").is_none() {
        assert!(commit.is_some_and(|commit| commit.bytes().all(|byte| byte.is_ascii_hexdigit())), "{told}");
    }
}
