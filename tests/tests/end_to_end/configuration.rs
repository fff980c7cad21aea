//! `envoy --mode validate` as the linter of the filter's configuration.

use anyhow::Result;
use curfew_testbed::bootstrap::Bootstrap;
use curfew_testbed::envoy::{Validation, validate};
use curfew_testbed::http::Request;
use curfew_testbed::stack::Plan;
use curfew_testbed::tokens::{Signer, claims};
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

/// An Envoy that validates has no control plane.
#[test]
fn issuers_whose_keys_the_control_plane_hands_out_are_valid() {
    let named = |entry: Value| validated(|filter| filter["issuers"] = json!([entry])).unwrap();
    let issuer = "https://login.example.com";
    for entry in [json!({"issuer": issuer}), json!({"issuer": issuer, "keys": "control_plane", "audiences": ["a"]})] {
        let validation = named(entry.clone());
        assert!(validation.accepted, "{entry}: {}", validation.output);
    }
    let validation = named(json!({"issuer": issuer, "keys": "configuration"}));
    assert!(!validation.accepted && validation.output.contains("issuers[0].keys"), "{}", validation.output);
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
fn a_secret_from_the_environment_works_and_the_admin_interface_does_not_show_it() {
    let mut plan = Plan::shipped().unwrap();
    let secret = plan.bootstrap.take_secret("CURFEW_INTERNAL_SECRET").unwrap();
    plan.environment = vec![("CURFEW_INTERNAL_SECRET".to_owned(), secret.clone())];
    let stack = plan.start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    let token = signer.sign(&claims("alice")).unwrap();
    assert_eq!(stack.send(&Request::get("/orders").bearer(&token)).unwrap().status, 200);
    assert_eq!(stack.send(&Request::post("/api/v2/logout").bearer(&token)).unwrap().status, 200);
    assert_eq!(stack.send(&Request::get("/orders").bearer(&token)).unwrap().code(), "token_revoked");
    let dump = Request::get("/config_dump").send(stack.envoy.admin()).unwrap().text();
    assert!(dump.contains("\"CURFEW_INTERNAL_SECRET\"") && dump.contains("secret_env"), "{dump}");
    assert!(!dump.contains(&secret), "the dump shows the secret");
}

#[test]
fn a_secret_that_the_environment_lacks_is_refused_by_name() {
    let mut bootstrap = Bootstrap::shipped().unwrap();
    bootstrap.load_filter_from(&wasm::build().unwrap()).unwrap();
    bootstrap.take_secret("CURFEW_SECRET_THAT_IS_NOT_SET").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let validation = validate(&bootstrap, directory.path()).unwrap();
    assert!(!validation.accepted);
    assert!(validation.output.contains("control_plane.secret_env: names a variable"), "{}", validation.output);
}

/// Why `docs/` warns of the other ways: what Envoy shows to each client of its admin interface.
#[test]
fn the_admin_interface_shows_a_secret_that_stands_in_the_configuration() {
    let stack = Plan::shipped().unwrap().start().unwrap();
    let dump = Request::get("/config_dump").send(stack.envoy.admin()).unwrap().text();
    assert!(dump.contains(stack.settings.required("CURFEW_INTERNAL_SECRET").unwrap()));
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

#[test]
fn a_configuration_may_be_written_as_a_struct() {
    let mut plan = Plan::shipped().unwrap();
    let mut written = plan.bootstrap.filter().unwrap();
    written["cache_bytes"] = json!(1 << 20);
    plan.bootstrap.write_filter_as_struct(&written).unwrap();
    let stack = plan.start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    let token = signer.sign(&claims("alice")).unwrap();
    assert_eq!(stack.send(&Request::get("/orders").bearer(&token)).unwrap().status, 200);
    assert_eq!(stack.send(&Request::get("/orders")).unwrap().code(), "token_missing");
}

#[test]
fn a_misspelt_field_is_told_the_nearest_name() {
    let validation = validated(|filter| filter["identity_header"] = json!({"x-user-id": "sub"})).unwrap();
    assert!(!validation.accepted);
    let expected = "identity_header: is not a known field here; did you mean identity_headers?";
    assert!(validation.output.contains(expected), "{}", validation.output);
}
