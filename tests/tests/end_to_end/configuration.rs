//! `envoy --mode validate` as the linter of the filter's configuration.

use anyhow::Result;
use curfew_testbed::bootstrap::Bootstrap;
use curfew_testbed::envoy::{Validation, validate};
use curfew_testbed::wasm;
use serde_json::{Value, json};

/// Envoy's judgement of the shipped file with a changed filter configuration.
fn validated(change: impl FnOnce(&mut Value)) -> Result<Validation> {
    let mut bootstrap = Bootstrap::shipped()?;
    bootstrap.load_filter_from(&wasm::build()?)?;
    let mut filter = bootstrap.filter()?;
    change(&mut filter);
    bootstrap.set_filter(&filter)?;
    let directory = tempfile::tempdir()?;
    validate(&bootstrap, directory.path())
}

#[test]
fn the_shipped_file_is_valid() {
    let validation = validated(|_| {}).unwrap();
    assert!(validation.accepted, "{}", validation.output);
}

#[test]
fn a_broken_filter_configuration_is_refused_and_every_field_named() {
    let validation = validated(|filter| {
        filter["max_staleness"] = json!("soon");
        filter["rules"][0]["action"] = json!("skipp");
        filter["issuers"][0]["secret"] = json!("short");
        filter["surprise"] = json!(true);
    })
    .unwrap();
    assert!(!validation.accepted);
    for field in ["max_staleness", "rules[0].action", "issuers[0].secret", "surprise"] {
        assert!(validation.output.contains(field), "{field} is not named:\n{}", validation.output);
    }
}

#[test]
fn a_configuration_without_a_control_plane_is_refused() {
    let validation = validated(|filter| {
        filter.as_object_mut().map(|filter| filter.remove("control_plane"));
    })
    .unwrap();
    assert!(!validation.accepted);
    assert!(validation.output.contains("control_plane"), "{}", validation.output);
}
