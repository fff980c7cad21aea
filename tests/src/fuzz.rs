//! Properties that must hold for any bytes: the bodies of the fuzzing targets, which also run without a fuzzer.
//!
//! Each target is a function from an input to an outcome, or to the property that the input breaks. libFuzzer calls the
//! targets through `tests/fuzz/` (`cargo measure fuzz`), and `tests/tests/fuzz.rs` replays the rows of
//! [`crate::attacks`] and the committed corpora through the same functions. Properties are checked against a second
//! reader that shares no code with the product, because attackers exploit texts that two readers understand
//! differently.

pub mod claims;
pub mod configuration;
pub mod corpus;
pub mod decisions;
pub mod extraction;
pub mod paths;
pub mod token;
pub mod wire;

mod base64;
mod fixed;
mod head;
mod json;
mod readers;
mod respelling;
mod rows;
mod script;

use anyhow::Result;

pub use corpus::Seed;

/// The outcome of an input that breaks no property: a word for how far the input got. From these the tests know that a
/// corpus reaches everything.
pub type Outcome = &'static str;

/// One target.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name of the target and of its corpus.
    pub name: &'static str,
    /// Checks the properties on one input.
    pub check: fn(&[u8]) -> Result<Outcome>,
    /// The first inputs of a run: the table of attacks, as inputs of this target.
    pub rows: fn() -> Result<Vec<Seed>>,
    /// The longest input that is tried, in bytes.
    pub longest: usize,
    /// The outcomes that seeds and corpus together must reach.
    pub reaches: &'static [Outcome],
}

impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Target({})", self.name)
    }
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    Target { name: "token", check: token::check, rows: rows::tokens, longest: 17 * 1024, reaches: &token::REACHES },
    Target { name: "claims", check: claims::check, rows: rows::payloads, longest: 4096, reaches: &claims::REACHES },
    Target {
        name: "extraction",
        check: extraction::check,
        rows: rows::heads,
        longest: 2048,
        reaches: &["none", "one", "ambiguous"],
    },
    Target {
        name: "paths",
        check: paths::check,
        rows: rows::targets,
        longest: 1024,
        reaches: &["skip", "optional", "require", "no rules"],
    },
    Target {
        name: "configuration",
        check: configuration::check,
        rows: rows::configurations,
        longest: 4096,
        reaches: &["accepted", "refused", "not JSON"],
    },
    Target { name: "wire", check: wire::check, rows: rows::messages, longest: 2048, reaches: &wire::REACHES },
    Target {
        name: "decisions",
        check: decisions::check,
        rows: rows::scripts,
        longest: 4096,
        reaches: &decisions::REACHES,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
