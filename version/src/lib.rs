//! The version of a build, with the commit that it was made from: `0.1.0 (1a2b3c4d5e6f)`.
//!
//! It is a macro and not a build script: a script's result belongs to a whole package, so each commit would build the control
//! plane's library anew. The macro is used in `main.rs` alone, and cargo compiles that file alone when the commit changes.
//!
//! `CURFEW_COMMIT` says what the commit is, for builds from a tarball. Without it, the files of `.git` say so; the
//! program `git` is not needed. Without both, the version stands alone.

mod commit;

use std::path::{Path, PathBuf};

use proc_macro::TokenStream;

/// Hexadecimal digits of a commit that are shown.
const SHOWN: usize = 12;

/// Expands to the version of the package that uses it and the commit, as a text that is known at compile time.
#[proc_macro]
pub fn version(_: TokenStream) -> TokenStream {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    let given = variable("CURFEW_COMMIT");
    let commit = if given.is_empty() { commit::read(&root) } else { commit::Commit::given(given) };
    expanded(&variable("CARGO_PKG_VERSION"), &commit).parse().unwrap_or_default()
}

/// The text of the expression. The unused constants tell cargo what the text depends on.
fn expanded(version: &str, commit: &commit::Commit) -> String {
    let files: String = commit
        .files
        .iter()
        .filter_map(|file| Path::canonicalize(file).ok())
        .map(|file| format!("const _: &[u8] = include_bytes!({:?});", file.display().to_string()))
        .collect();
    let text = match commit.id.get(..SHOWN).unwrap_or(&commit.id) {
        "" => version.to_owned(),
        id => format!("{version} ({id})"),
    };
    format!("{{ const _: Option<&str> = option_env!(\"CURFEW_COMMIT\"); {files} {text:?} }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_without_a_commit_stands_alone() {
        let expected = r#"{ const _: Option<&str> = option_env!("CURFEW_COMMIT");  "0.1.0" }"#;
        assert_eq!(expanded("0.1.0", &commit::Commit::default()), expected);
        let given = commit::Commit::given("1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d".to_owned());
        assert!(expanded("0.1.0", &given).ends_with(r#" "0.1.0 (1a2b3c4d5e6f)" }"#));
    }
}
