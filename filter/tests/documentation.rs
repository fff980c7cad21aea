//! The README names every counter, gauge and field of the configuration.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use curfew_filter::config::Config;
use curfew_filter::metrics::{GAUGE_NAMES, NAMES};

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap()
}

#[test]
fn every_counter_and_gauge_is_explained() {
    let readme = readme();
    for name in NAMES.into_iter().map(|(_, name)| name).chain(GAUGE_NAMES) {
        assert!(readme.contains(&format!("`{name}`")), "{name} is not in the README");
    }
}

/// The message about an unknown field lists the known ones.
#[test]
fn every_field_is_explained() {
    let Err(mistakes) = Config::parse(br#"{"unknown": 1}"#) else { panic!("an unknown field was accepted") };
    let message = mistakes.iter().find(|mistake| mistake.field == "unknown").unwrap().problem.clone();
    let fields = message.split_once("(known: ").unwrap().1.trim_end_matches(')').to_owned();
    let readme = readme();
    assert!(fields.split(", ").count() > 10, "{fields}");
    for field in fields.split(", ") {
        assert!(readme.contains(&format!("| `{field}` |")), "{field} is not in the README's table");
    }
}
