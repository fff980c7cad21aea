//! `docs/` explains to operators every counter, and every field with its default, and no others.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::collections::BTreeSet;

use curfew_filter::config::Config;
use curfew_filter::metrics::{GAUGE_NAMES, KEYS_GAUGE, NAMES};
use serde_json::{Value, json};

const CONFIGURATION: &str = "filter-configuration.md";

fn page(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A section of a page, from its heading to the next one of the same level.
fn section(page: &str, heading: &str) -> String {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split("\n## ").next().unwrap().to_owned()
}

/// The first two columns of the rows that begin with a name.
fn rows(section: &str) -> Vec<(&str, &str)> {
    let rows = section.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        (cells.next().unwrap().trim_matches('`'), cells.next().unwrap())
    });
    rows.collect()
}

fn names(section: &str) -> BTreeSet<String> {
    rows(section).into_iter().map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn exactly_the_existing_counters_and_gauges_are_explained() {
    let known = NAMES.into_iter().map(|(_, name)| name).chain(GAUGE_NAMES).chain([KEYS_GAUGE]);
    assert_eq!(names(&section(&page("metrics.md"), "The filter")), known.map(str::to_owned).collect());
}

/// The fields that the message about an unknown one lists.
fn known_fields(place: &str, document: &Value) -> BTreeSet<String> {
    let mistakes = Config::parse(document.to_string().as_bytes()).unwrap_err();
    let unknown = if place.is_empty() { "unknown".to_owned() } else { format!("{place}.unknown") };
    let message = mistakes.iter().find(|mistake| mistake.field == unknown).unwrap().problem.clone();
    let fields = message.split_once("(known: ").unwrap().1.trim_end_matches(')');
    fields.split(", ").map(str::to_owned).collect()
}

#[test]
fn exactly_the_existing_fields_are_explained() {
    let page = page(CONFIGURATION);
    for (heading, place, document) in [
        ("Fields", "", json!({"unknown": 1})),
        ("Issuers", "issuers[0]", json!({"issuers": [{"unknown": 1}]})),
        ("Sources", "sources[0]", json!({"sources": [{"unknown": 1}]})),
        ("Rules", "rules[0]", json!({"rules": [{"unknown": 1}]})),
        ("Control plane", "control_plane", json!({"control_plane": {"unknown": 1}})),
    ] {
        assert_eq!(names(&section(&page, heading)), known_fields(place, &document), "{heading}");
    }
}

/// The configuration that the page calls the smallest.
fn smallest(page: &str) -> Value {
    let json = page.split_once("```json\n").unwrap().1.split("```").next().unwrap();
    serde_json::from_str(json).unwrap()
}

/// Everything that was read, except keys and secrets, which have no debug form.
fn read(document: &Value) -> String {
    format!("{:?}", Config::parse(document.to_string().as_bytes()).unwrap())
}

#[test]
fn every_field_has_the_documented_default() {
    let page = page(CONFIGURATION);
    let mut checked = 0;
    for (heading, inside) in [("Fields", None), ("Control plane", Some("control_plane"))] {
        let section = section(&page, heading);
        for (field, default) in rows(&section).into_iter().filter(|(_, default)| *default != "required") {
            let mut document = smallest(&page);
            if field == "max_staleness" {
                document["consistency"] = json!("bounded");
            }
            let without = read(&document);
            let object = match inside {
                Some(inside) => &mut document[inside],
                None => &mut document,
            };
            object[field] = serde_json::from_str(default.trim_matches('`')).unwrap();
            assert_eq!(read(&document), without, "{field}");
            checked += 1;
        }
    }
    assert!(checked > 15, "{checked}");
}
