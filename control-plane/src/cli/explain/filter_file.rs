//! Reads a filter's configuration from a file: the JSON that stands in Envoy's `configuration`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::cli::Failure;

/// The most bytes that the server takes.
const MOST_BYTES: u64 = 256 * 1024;

/// Members that only an Envoy configuration has, or a resource of Kubernetes.
const OF_ENVOY: [&str; 7] = [
    "static_resources",
    "dynamic_resources",
    "filter_chains",
    "typed_config",
    "http_filters",
    "resources",
    "listeners",
];
const OF_KUBERNETES: [&str; 3] = ["apiVersion", "kind", "spec"];

/// The text of the configuration.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let named = |problem: String| Failure::Usage(format!("--filter: {}: {problem}", path.display()));
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES.saturating_add(1)).read_to_string(&mut text));
    read.map_err(|error| named(error.to_string()))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(named(format!("it has more than {MOST_BYTES} bytes")));
    }
    configuration(text).map_err(|problem| named(problem.to_owned()))
}

/// The configuration in a file's text. The server says what is wrong with it as JSON.
fn configuration(text: String) -> Result<String, &'static str> {
    const ENVOY: &str = "this is a configuration of Envoy. Put into the file what stands behind `value: |` in the filter's \
                         `configuration`: the JSON that begins with {\"issuers\"";
    const KUBERNETES: &str = "this is a resource of Kubernetes. Put into the file what stands in `pluginConfig` of the WasmPlugin, \
                              as JSON";
    const EMPTY: &str = "it is empty. Put into the file the filter's configuration: the JSON that stands behind `value: |` in Envoy's \
                         `configuration`";
    const NO_OBJECT: &str = "this is no JSON object, and so no filter's configuration. Put into the file what stands behind \
                             `value: |` in Envoy's `configuration`: the JSON that begins with {\"issuers\"";
    if text.trim().is_empty() {
        return Err(EMPTY);
    }
    let Ok(document) = serde_json::from_str::<Value>(&text) else {
        let begins = |names: &[&str]| text.lines().any(|line| names.iter().any(|name| is_member(line, name)));
        return match (begins(&OF_KUBERNETES[..1]), begins(&OF_ENVOY), text.trim_start().starts_with('{')) {
            (true, _, _) => Err(KUBERNETES),
            (_, true, _) => Err(ENVOY),
            (_, _, false) => Err(NO_OBJECT),
            // The server names the place of the mistake.
            _ => Ok(text),
        };
    };
    if !document.is_object() {
        return Err(NO_OBJECT);
    }
    let has = |names: &[&str]| names.iter().any(|name| document.get(name).is_some());
    match document.get("value") {
        // What stands in `configuration`, whole: a StringValue or a Struct.
        Some(value) if document.get("@type").is_some() => {
            Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        }
        _ if has(&OF_KUBERNETES) => Err(KUBERNETES),
        _ if has(&OF_ENVOY) => Err(ENVOY),
        _ => Ok(text),
    }
}

/// True for a line of YAML that sets this member.
fn is_member(line: &str, name: &str) -> bool {
    let line = line.trim_start().trim_start_matches("- ");
    line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, &'static str> {
        configuration(text.to_owned())
    }

    #[test]
    fn the_json_of_a_filter_is_taken_as_it_stands() {
        let text = "{\"issuers\": [], \"rules\": []}\n";
        assert_eq!(read(text).unwrap(), text);
        assert_eq!(read("{\"issuers\": [,]}").unwrap(), "{\"issuers\": [,]}", "the server says what is wrong with it");
        let inner = r#"{"issuers":[]}"#;
        let wrapped = serde_json::json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": inner});
        assert_eq!(read(&wrapped.to_string()).unwrap(), inner);
        let structured = r#"{"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"issuers": []}}"#;
        assert_eq!(read(structured).unwrap(), inner);
    }

    #[test]
    fn what_is_no_filters_configuration_is_told_what_is_expected() {
        for text in ["", " \n"] {
            assert!(read(text).unwrap_err().starts_with("it is empty. Put into the file the filter's configuration"));
        }
        for text in ["no JSON", "issuers:\n- issuer: https://issuer.example.com\n", "[]", "\"x\"", "---\na: 1\n"] {
            assert!(read(text).unwrap_err().starts_with("this is no JSON object"), "{text}");
        }
    }

    #[test]
    fn what_only_holds_the_configuration_is_refused_with_the_part_to_take() {
        let envoy = include_str!("../../../../envoy/envoy.yaml");
        let json = r#"{"static_resources": {}}"#;
        for text in [envoy, json, "resources:\n- \"@type\": x\n"] {
            assert!(read(text).unwrap_err().contains("value: |"), "{text}");
        }
        for text in ["apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\n", r#"{"kind": "WasmPlugin"}"#] {
            assert!(read(text).unwrap_err().contains("pluginConfig"), "{text}");
        }
    }
}
