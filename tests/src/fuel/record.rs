//! The committed figures, `tests/measure/fuel.json`, and the comparison with them.
//!
//! Another compiler makes other instructions from the same sources, so each compiler has figures of its own. The
//! comparison is tight in both directions: a gain that is not recorded could be lost again unnoticed. A compiler
//! without figures is compared with the first one that has some, and only to notice gross differences.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::workspace;

/// Instructions, by the name of the measured case.
pub type Figures = BTreeMap<String, u64>;

/// The file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// By how many percent a figure may differ from that of the same compiler. Salts of PSS and the layout of hash
    /// tables are worth a few tenths.
    tolerance_percent: u64,
    /// The same for signatures that are checked in the VM, whose cost depends on their numbers; ECDSA draws new ones
    /// each time.
    alone_tolerance_percent: u64,
    /// How many percent more than the figures of another compiler count as an effect of the compiler.
    other_compiler_percent: u64,
    compilers: BTreeMap<String, Figures>,
}

fn path() -> PathBuf {
    workspace::root().join("tests/measure/fuel.json")
}

/// The committed figures.
///
/// # Errors
/// When the file is missing or is not as it should be.
pub fn read() -> Result<Record> {
    let path = path();
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

/// Replaces the figures of this compiler.
///
/// # Errors
/// When the file cannot be read or written.
pub fn write(compiler: &str, figures: &Figures) -> Result<()> {
    let mut record = read()?;
    record.compilers.insert(compiler.to_owned(), figures.clone());
    let text = serde_json::to_string_pretty(&record)? + "\n";
    std::fs::write(path(), text).context("the figures cannot be written")
}

/// A line for each figure that differs from the committed one; `compiler` made the module, if that is known.
pub fn compare(record: &Record, compiler: Option<&str>, figures: &Figures) -> Vec<String> {
    let own = compiler.and_then(|compiler| record.compilers.get(compiler));
    let (committed, up, down) = match (own, record.compilers.values().next()) {
        (Some(own), _) => (own, record.tolerance_percent, record.tolerance_percent),
        (None, Some(other)) => (other, record.other_compiler_percent, 100),
        (None, None) => return vec!["no figures are committed".to_owned()],
    };
    let names: std::collections::BTreeSet<_> = committed.keys().chain(figures.keys()).collect();
    let spread = |name: &str| if name.contains(" alone ") { record.alone_tolerance_percent } else { 0 };
    let line = |name: &String| match (committed.get(name), figures.get(name)) {
        (Some(then), Some(now)) if within(*then, *now, up.max(spread(name)), down.max(spread(name))) => None,
        (Some(then), Some(now)) => Some(format!("{name}: {then} instructions became {now}")),
        (Some(_), None) => Some(format!("{name}: is not measured any more")),
        (None, _) => Some(format!("{name}: is new")),
    };
    names.into_iter().filter_map(line).collect()
}

/// True if `now` is at most `up` percent more and `down` percent less than `then`.
fn within(then: u64, now: u64, up: u64, down: u64) -> bool {
    let (low, high) = (then * 100u64.saturating_sub(down), then * (100 + up));
    (low..=high).contains(&(now * 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(warm: u64) -> Figures {
        Figures::from([("ES256 warm".to_owned(), warm)])
    }

    fn record() -> Record {
        let compilers = BTreeMap::from([("debian 1.96.0".to_owned(), figures(1_000))]);
        Record { tolerance_percent: 2, alone_tolerance_percent: 6, other_compiler_percent: 25, compilers }
    }

    #[test]
    fn a_figure_that_changed_is_reported() {
        let told = |warm| compare(&record(), Some("debian 1.96.0"), &figures(warm));
        for as_committed in [980, 1_000, 1_020] {
            assert!(told(as_committed).is_empty(), "{as_committed}");
        }
        assert_eq!(told(1_021), ["ES256 warm: 1000 instructions became 1021"]);
        assert_eq!(told(979), ["ES256 warm: 1000 instructions became 979"]);
    }

    #[test]
    fn signatures_that_are_drawn_anew_have_more_room() {
        let figures = |fuel| Figures::from([("ES256 alone cold".to_owned(), fuel)]);
        let compilers = BTreeMap::from([("debian 1.96.0".to_owned(), figures(1_000))]);
        let record = Record { compilers, ..record() };
        let told = |fuel| compare(&record, Some("debian 1.96.0"), &figures(fuel)).len();
        assert_eq!([told(939), told(940), told(1_060), told(1_061)], [1, 0, 0, 1]);
    }

    #[test]
    fn another_compiler_has_more_room() {
        for compiler in [None, Some("rustup 1.95.0")] {
            let told = |warm| compare(&record(), compiler, &figures(warm)).len();
            assert_eq!([told(500), told(1_250), told(1_251)], [0, 0, 1]);
        }
    }

    #[test]
    fn a_case_that_is_new_or_gone_is_reported() {
        let other = Figures::from([("RS256 warm".to_owned(), 7)]);
        let told = compare(&record(), Some("debian 1.96.0"), &other);
        assert_eq!(told, ["ES256 warm: is not measured any more", "RS256 warm: is new"]);
        assert_eq!(compare(&Record::default(), None, &other), ["no figures are committed"]);
    }
}
