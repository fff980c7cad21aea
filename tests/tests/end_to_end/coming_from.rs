//! `docs/coming-from-jwt-authn.md` has a row for every field of every message of `jwt_authn`'s configuration, as the
//! descriptors in Envoy's program name them, and no others.

use std::collections::BTreeMap;

use curfew_testbed::bootstrap::Bootstrap;
use curfew_testbed::envoy;
use curfew_testbed::http::Request;
use curfew_testbed::stack::Plan;
use curfew_testbed::upstream::echoed_header;
use curfew_testbed::workspace;
use serde_json::{Value, json};

const FILE: &[u8] = b"envoy/extensions/filters/http/jwt_authn/v3/config.proto";

/// Messages with their fields.
type Messages = BTreeMap<String, Vec<String>>;

/// The length-delimited fields of a protobuf message, until something else than a field follows.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while let Some((tag, rest)) = varint(bytes) {
        let (value, rest) = match tag & 7 {
            0 => varint(rest).map(|(_, rest)| (&[][..], rest)),
            2 => varint(rest).and_then(|(length, rest)| rest.split_at_checked(usize::try_from(length).ok()?)),
            _ => None,
        }
        .unwrap_or_default();
        fields.push((tag >> 3, value));
        bytes = rest;
    }
    fields
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(9).position(|byte| byte & 0x80 == 0)?;
    let (number, rest) = bytes.split_at(end + 1);
    Some((number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)), rest))
}

/// A `DescriptorProto`: 1 name, 2 fields (each with 1 name), 3 messages inside, 7 options (of which 7 is `map_entry`).
fn collect(descriptor: &[u8], outer: &str, messages: &mut Messages) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let parts = fields(descriptor);
    let named = parts.iter().find(|(number, _)| *number == 1).unwrap();
    let name = format!("{outer}{}", text(named.1));
    let own = parts.iter().filter(|(number, _)| *number == 2);
    let own = own.map(|(_, field)| text(fields(field).iter().find(|(number, _)| *number == 1).unwrap().1));
    messages.insert(name.clone(), own.collect());
    for (_, inner) in parts.iter().filter(|(number, _)| *number == 3) {
        collect(inner, &format!("{name}."), messages);
    }
}

/// From the file descriptor that Envoy's program holds: 1 name, 4 messages.
fn in_envoy() -> Messages {
    let program = std::fs::read(envoy::find().unwrap()).unwrap();
    let begins = |start: &usize| {
        let name = program.get(start + 2..start + 2 + FILE.len());
        name == Some(FILE) && program.get(start + 2 + FILE.len()) == Some(&0x12)
    };
    let lines = program.iter().enumerate().filter(|(_, byte)| **byte == 0x0a).map(|(start, _)| start);
    let start = lines
        .filter(|start| program.get(start + 1).is_some_and(|length| usize::from(*length) == FILE.len()))
        .find(begins)
        .unwrap();
    let mut messages = Messages::new();
    for (number, value) in fields(&program[start..]).into_iter().take_while(|(number, _)| *number < 20) {
        if number == 4 {
            collect(value, "", &mut messages);
        }
    }
    // Maps are lists of entries inside.
    messages.retain(|name, _| !name.ends_with("Entry"));
    messages
}

fn on_the_page() -> Messages {
    let page = std::fs::read_to_string(workspace::root().join("docs/coming-from-jwt-authn.md")).unwrap();
    let sections = page.split("\n## ").skip(1).filter(|section| section.contains("| field | here |"));
    let rows = |section: &str| -> Vec<String> {
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
    };
    sections.map(|section| (section.lines().next().unwrap().to_owned(), rows(section))).collect()
}

#[test]
fn the_page_has_every_field_of_jwt_authn() {
    let messages = in_envoy();
    assert!(messages.len() > 15 && messages["JwtProvider"].len() > 20, "{messages:?}");
    assert_eq!(on_the_page(), messages);
}

/// The block of this language in the page.
fn example(language: &str) -> String {
    let page = std::fs::read_to_string(workspace::root().join("docs/coming-from-jwt-authn.md")).unwrap();
    page.split_once(&format!("```{language}\n")).unwrap().1.split("```").next().unwrap().to_owned()
}

#[test]
fn the_example_is_a_configuration_of_the_filter() {
    let mut example: Value = serde_json::from_str(&example("json")).unwrap();
    let shipped = Bootstrap::shipped().unwrap().filter().unwrap();
    example["issuers"] = shipped["issuers"].clone();
    example["control_plane"] = shipped["control_plane"].clone();
    let plan = Plan::shipped().unwrap().change_filter(|filter| *filter = example).unwrap();
    let stack = plan.start().unwrap();
    assert_eq!(stack.send(&Request::get("/healthz")).unwrap().status, 200);
    assert_eq!(stack.send(&Request::get("/orders")).unwrap().code(), "token_missing");
}

#[test]
fn forged_identity_headers_pass_a_route_that_disables_the_filter_unless_the_route_removes_them() {
    const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let disabled =
        json!({"curfew": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true}});
    let route = |path: &str, remove: Value| {
        json!({
            "match": {"prefix": path}, "route": {"cluster": "upstream"}, "request_headers_to_remove": remove,
            "typed_per_filter_config": disabled,
        })
    };
    let mut plan = Plan::shipped().unwrap();
    let mut config = plan.bootstrap.at(&format!("{MANAGER}/route_config")).unwrap().clone();
    let routes = config.pointer_mut("/virtual_hosts/0/routes").unwrap().as_array_mut().unwrap();
    routes.insert(0, route("/webhooks", json!(["x-user-id"])));
    routes.insert(0, route("/open", json!([])));
    plan.bootstrap.set_connection_manager("route_config", config).unwrap();
    let stack = plan.start().unwrap();
    let seen = |path: &str| {
        let answer = stack.send(&Request::get(path).header("X-User-Id", "root")).unwrap();
        assert_eq!(answer.status, 200, "{path}");
        echoed_header(&answer.json(), "x-user-id")
    };
    assert_eq!([seen("/open"), seen("/webhooks"), seen("/healthz")], [Some("root".to_owned()), None, None]);
}
