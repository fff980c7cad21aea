//! Corpora as text: a line for each input, its name and then its bytes, escaped as in a Rust byte string.
//!
//! In a text, a review shows new inputs, and a thousand inputs are one file. libFuzzer needs a file for each input, so
//! `cargo measure fuzz` unpacks them below the target directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// An input and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed {
    /// The name, without spaces.
    pub name: String,
    /// The input.
    pub input: Vec<u8>,
}

impl Seed {
    /// Names an input.
    pub fn new(name: impl Into<String>, input: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), input: input.into() }
    }
}

/// The file of a target's committed corpus.
pub fn path(target: &str) -> PathBuf {
    workspace::root().join("tests/fuzz/corpus").join(format!("{target}.txt"))
}

/// Reads the committed corpus of a target.
///
/// # Errors
/// When it cannot be read, or a line in it is not an input.
pub fn read(target: &str) -> Result<Vec<Seed>> {
    let path = path(target);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

/// Reads a corpus. Lines that begin with `#` are comments.
///
/// # Errors
/// For a line that is not an input, and for two inputs with one name.
pub fn parse(text: &str) -> Result<Vec<Seed>> {
    let mut names = BTreeSet::new();
    let mut seeds = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, input) = line.split_once(' ').unwrap_or((line, ""));
        let input = unescape(input.as_bytes()).with_context(|| format!("{name} is not escaped as it should be"))?;
        if !names.insert(name) {
            bail!("two inputs are named {name}");
        }
        seeds.push(Seed::new(name, input));
    }
    Ok(seeds)
}

/// The lines of these inputs.
pub fn written(seeds: &[Seed]) -> String {
    let line = |seed: &Seed| format!("{} {}\n", seed.name, seed.input.escape_ascii());
    seeds.iter().map(line).collect()
}

/// Writes each input to a file of its own, as libFuzzer reads them.
///
/// # Errors
/// When a file cannot be written.
pub fn unpack(seeds: &[Seed], directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    for seed in seeds {
        std::fs::write(directory.join(&seed.name), &seed.input)?;
    }
    Ok(())
}

/// Reverses `escape_ascii`.
fn unescape(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let (byte, rest) = match text {
            [] => return Some(bytes),
            [b'\\', b'x', digits @ ..] => {
                let (digits, rest) = digits.split_first_chunk::<2>()?;
                (u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?, rest)
            }
            [b'\\', b't', rest @ ..] => (b'\t', rest),
            [b'\\', b'r', rest @ ..] => (b'\r', rest),
            [b'\\', b'n', rest @ ..] => (b'\n', rest),
            [b'\\', byte @ (b'\'' | b'"' | b'\\'), rest @ ..] => (*byte, rest),
            [byte, rest @ ..] if *byte != b'\\' => (*byte, rest),
            _ => return None,
        };
        bytes.push(byte);
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_reads_back_whatever_its_bytes() {
        let every: Vec<u8> = (0..=255).collect();
        let seeds = [Seed::new("every", every), Seed::new("nothing", ""), Seed::new("text", "a b\\x41'\"")];
        assert_eq!(parse(&written(&seeds)).unwrap(), seeds);
        assert_eq!(parse("# a remark\n\n").unwrap(), []);
    }

    #[test]
    fn a_line_that_is_no_input_is_an_error() {
        for text in ["a \\", "a \\q", "a \\x4", "a \\xzz", "a 1\na 2"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
