//! `docs/filter-configuration.schema.json` says what the parser does: the same fields, and the documented examples are
//! valid by it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod json_schema;
mod mutations;

use std::collections::BTreeSet;

use curfew_filter::config::Config;
use serde_json::{Value, json};

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The schema, which editors and pipelines read.
fn schema() -> Value {
    serde_json::from_str(&file("docs/filter-configuration.schema.json")).unwrap()
}

/// What is wrong with a configuration by the schema.
fn judged(value: &Value) -> Option<String> {
    let schema = schema();
    json_schema::problem(&schema, &schema, value, "")
}

/// The smallest configuration, with these changes.
fn with(changes: &Value) -> Value {
    let page = file("docs/filter-configuration.md");
    let json = page.split_once("```json\n").unwrap().1.split("```").next().unwrap();
    let mut document: Value = serde_json::from_str(json).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}

/// The JSON in the page: whole configurations, and single members of one.
fn documented(page: &str) -> Vec<Value> {
    let blocks = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap().trim());
    let whole = |block: &str| match block.starts_with('{') {
        true => serde_json::from_str(block).unwrap(),
        false => with(&serde_json::from_str(&format!("{{{block}}}")).unwrap()),
    };
    blocks.map(whole).collect()
}

#[test]
fn every_documented_example_is_valid_and_accepted() {
    let page = file("docs/filter-configuration.md");
    let mut examples = documented(&page);
    assert!(examples.len() > 3, "{}", examples.len());
    for file in [file("envoy/envoy.yaml"), file("envoy/examples/edge-listeners.yaml")] {
        let (_, text) = file.split_once("value: |\n").unwrap();
        let indent = text.len() - text.trim_start().len();
        let lines = text.lines().take_while(|line| line.len() >= indent && line[..indent].trim().is_empty());
        examples.push(serde_json::from_str(&lines.collect::<String>()).unwrap());
    }
    for mut example in examples {
        // The page shows a member of an issuer alone.
        if let Some(claims) = example.as_object_mut().unwrap().remove("required_claims") {
            example["issuers"][0]["required_claims"] = claims;
        }
        assert_eq!(judged(&example), None, "{example}");
        if let Err(mistakes) = Config::parse(example.to_string().as_bytes()) {
            panic!("{mistakes}: {example}");
        }
    }
}

/// The fields that the parser knows in the place where `unknown` stands in the document.
fn known(place: &str, document: &Value) -> BTreeSet<String> {
    let mistakes = Config::parse(document.to_string().as_bytes()).unwrap_err();
    let unknown = format!("{place}unknown");
    let message = mistakes.iter().find(|mistake| mistake.field == unknown).unwrap().problem.clone();
    let fields = message.split_once("(known: ").unwrap().1.trim_end_matches(')');
    fields.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_schema_has_exactly_the_fields_of_the_parser() {
    let schema = schema();
    let unknown = json!({"unknown": 1});
    for (pointers, place, document) in [
        (&[""][..], "", unknown.clone()),
        (&["/$defs/issuer"], "issuers[0].", json!({"issuers": [unknown]})),
        (&["/$defs/source"], "sources[0].", json!({"sources": [unknown]})),
        (&["/$defs/rule"], "rules[0].", json!({"rules": [unknown]})),
        (&["/$defs/control_plane"], "control_plane.", json!({"control_plane": unknown})),
        (
            &["/$defs/carried/anyOf/1", "/$defs/carried/anyOf/2"],
            "identity_headers.x.",
            json!({"identity_headers": {"x": unknown}}),
        ),
        (
            &["/$defs/wanted/anyOf/1", "/$defs/wanted/anyOf/2"],
            "rules[0].claims.a.",
            json!({"rules": [{"claims": {"a": unknown}}]}),
        ),
    ] {
        let properties = pointers.iter().flat_map(|pointer| {
            let part = schema.pointer(pointer).unwrap();
            assert_eq!(part["additionalProperties"], false, "{pointer}");
            part["properties"].as_object().unwrap().keys().cloned()
        });
        assert_eq!(properties.collect::<BTreeSet<_>>(), known(place, &document), "{place}");
    }
}

#[test]
fn what_the_parser_refuses_for_its_form_the_schema_refuses_too() {
    for changes in [
        json!({"rule": []}),
        json!({"consistency": "perfect"}),
        json!({"cache_bytes": 1}),
        json!({"cache_bytes": "1"}),
        json!({"issuers": []}),
        json!({"sources": []}),
        json!({"sources": [{}]}),
        json!({"sources": [{"header": "a", "cookie": "b"}]}),
        json!({"rules": [{"path": "/a"}]}),
        json!({"rules": [{"path": "/a", "prefix": "/b", "action": "skip"}]}),
        json!({"rules": [{"path": "/a", "action": "require", "claims": {"a": 1.5}}]}),
        json!({"rules": [{"path": "/a", "action": "require", "claims": {"a": {"contains": []}}}]}),
        json!({"identity_headers": {"x": 1}}),
        json!({"identity_headers": {"x": {"claim": "a", "payload": "base64url"}}}),
        json!({"control_plane": {"cluster": "curfew"}}),
        json!({"report_only": "yes"}),
    ] {
        let document = with(&changes);
        assert!(judged(&document).is_some(), "{changes}");
        assert!(Config::parse(document.to_string().as_bytes()).is_err(), "{changes}");
    }
}
