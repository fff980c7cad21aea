//! `docs/coming-from-jwt-authn.md` has a row for every field of every message of `jwt_authn`'s configuration, and of those
//! inside that it has a section for, as the descriptors in Envoy's program name them, and no others. Its example is what
//! it says; what it says of requests is played on both sides in `beside`.

mod beside;

use std::collections::BTreeMap;
use std::path::Path;

use curfew_testbed::bootstrap::Bootstrap;
use curfew_testbed::envoy;
use curfew_testbed::http::Request;
use curfew_testbed::ports::loopback;
use curfew_testbed::stack::{Plan, runs};
use curfew_testbed::tokens::{Signer, claims, jwks, with};
use curfew_testbed::upstream::echoed_header;
use curfew_testbed::workspace;
use serde_json::{Value, json};

/// The file of `jwt_authn`'s messages, and those of single messages that it uses.
const FILE: &str = "envoy/extensions/filters/http/jwt_authn/v3/config.proto";
const OTHERS: [(&str, &str); 2] =
    [("envoy/config/route/v3/route_components.proto", "RouteMatch"), ("envoy/config/core/v3/base.proto", "DataSource")];

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

/// A `DescriptorProto`: 1 name, 2 fields (each with 1 name), 3 messages inside.
fn collect(descriptor: &[u8], outer: &str, messages: &mut Messages) {
    let parts = fields(descriptor);
    let Some(name) = name_of(descriptor) else { return };
    let name = format!("{outer}{name}");
    let own = parts.iter().filter(|(number, _)| *number == 2).filter_map(|(_, field)| name_of(field));
    messages.insert(name.clone(), own.collect());
    for (_, inner) in parts.iter().filter(|(number, _)| *number == 3) {
        collect(inner, &format!("{name}."), messages);
    }
}

fn name_of(descriptor: &[u8]) -> Option<String> {
    let name = fields(descriptor).into_iter().find(|(number, _)| *number == 1)?.1;
    String::from_utf8(name.to_vec()).ok()
}

/// The messages of a file, by the descriptor of it that Envoy's program holds: 1 name, 2 package, 4 messages.
fn in_file(program: &[u8], file: &str) -> Messages {
    let begins = |start: &usize| {
        let name = program.get(start + 2..start + 2 + file.len());
        name == Some(file.as_bytes()) && program.get(start + 2 + file.len()) == Some(&0x12)
    };
    let lines = program.iter().enumerate().filter(|(_, byte)| **byte == 0x0a).map(|(start, _)| start);
    let start = lines
        .filter(|start| program.get(start + 1).is_some_and(|length| usize::from(*length) == file.len()))
        .find(begins)
        .unwrap();
    let mut messages = Messages::new();
    for (number, value) in fields(&program[start..]).into_iter().take_while(|(number, _)| *number < 20) {
        if number == 4 {
            collect(value, "", &mut messages);
        }
    }
    messages
}

fn in_envoy() -> Messages {
    let program = std::fs::read(envoy::find().unwrap()).unwrap();
    let mut messages = in_file(&program, FILE);
    // Maps are lists of entries inside.
    messages.retain(|name, _| !name.ends_with("Entry"));
    for (file, message) in OTHERS {
        messages.extend(in_file(&program, file).remove_entry(message));
    }
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
    assert!(messages["RouteMatch"].len() > 10 && messages["DataSource"].len() > 3, "{messages:?}");
    assert_eq!(on_the_page(), messages);
}

/// The block of this language in the page.
fn example(language: &str) -> String {
    let page = std::fs::read_to_string(workspace::root().join("docs/coming-from-jwt-authn.md")).unwrap();
    page.split_once(&format!("```{language}\n")).unwrap().1.split("```").next().unwrap().to_owned()
}

#[test]
fn the_example_is_a_configuration_of_jwt_authn() {
    const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http";
    let mut jwt_authn: Value = serde_saphyr::from_str(&example("yaml")).unwrap();
    jwt_authn["@type"] = json!(format!("{HTTP}.jwt_authn.v3.JwtAuthentication"));
    let judged = |jwt_authn: &Value| {
        let mut bootstrap = Bootstrap::shipped().unwrap();
        bootstrap.add_cluster("id", loopback(1)).unwrap();
        let filters = json!([
            {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt_authn},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": format!("{HTTP}.router.v3.Router")}},
        ]);
        bootstrap.set_connection_manager("http_filters", filters).unwrap();
        let directory = tempfile::tempdir().unwrap();
        envoy::validate(&bootstrap, directory.path()).unwrap()
    };
    let validation = judged(&jwt_authn);
    assert!(validation.accepted, "{}", validation.output);
    jwt_authn["providers"]["shop"]["from_cookie"] = json!(["session"]);
    assert!(!judged(&jwt_authn).accepted, "Envoy looks at the fields");
}

/// The example as it stands on the page, with the issuer's keys in a file: there is nobody at its URL.
fn moved_over(signer: &Signer, directory: &Path) -> Plan {
    let keys = directory.join("jwks.json");
    std::fs::write(&keys, jwks([signer]).to_string()).unwrap();
    let mut plan = Plan::shipped().unwrap();
    plan.settings.unset("JWT_SECRET");
    let settings = example("sh");
    let settings = settings.lines().map(|line| line.split_once('=').unwrap());
    for (name, value) in settings.filter(|(name, _)| *name != "JWKS_URL") {
        plan.settings.set(name, value);
    }
    plan.settings.set("JWKS_FILE", keys.to_string_lossy());
    let secret = plan.bootstrap.take_secret("CURFEW_INTERNAL_SECRET").unwrap();
    plan.environment = vec![("CURFEW_INTERNAL_SECRET".to_owned(), secret)];
    plan.bootstrap.set_filter(&serde_json::from_str(&example("json")).unwrap()).unwrap();
    plan
}

#[test]
fn the_example_does_here_what_it_does_there() {
    let directory = tempfile::tempdir_in(runs().unwrap()).unwrap();
    let signer = Signer::generate("RS256").unwrap();
    let stack = moved_over(&signer, directory.path()).start().unwrap();
    let token = |audiences: Value| {
        signer.sign(&with(claims("alice"), json!({"iss": "https://id.example.com", "aud": audiences}))).unwrap()
    };
    let send = |request: Request| stack.send(&request).unwrap();
    let get = |path: &str, token: &str| send(Request::get(path).header("Authorization", format!("JWT {token}")));
    let [shop, partners, both] = [token(json!("shop")), token(json!("partners")), token(json!(["partners", "shop"]))];

    let cookie = Request::get("/orders").header("Cookie", format!("session={shop}"));
    let header = Request::get("/orders").header("Authorization", format!("JWT {shop}"));
    for request in [header, cookie] {
        let answer = send(request.header("x-jwt-payload", "forged"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = |name: &str| echoed_header(&answer.json(), name);
        assert_eq!(seen("x-user-id").as_deref(), Some("alice"));
        assert_eq!(seen("x-jwt-payload").as_deref(), shop.split('.').nth(1));
        assert_eq!([seen("authorization"), seen("cookie")], [None, None]);
    }
    assert_eq!(send(Request::get("/orders").bearer(&shop)).code(), "token_invalid");
    assert_eq!(send(Request::get("/orders")).code(), "token_missing");
    assert_eq!(send(Request::get("/healthz")).status, 200);

    let statuses = |path: &str| [&shop, &partners, &both, &token(json!("x"))].map(|token| get(path, token).status);
    assert_eq!(statuses("/orders"), [200, 403, 200, 401]);
    assert_eq!(statuses("/partners/7"), [403, 200, 200, 401]);

    let preflight = || Request::new("OPTIONS", "/orders").header("Origin", "https://shop.example.com");
    assert_eq!(send(preflight().header("Access-Control-Request-Method", "GET")).status, 200);
    assert_eq!(send(preflight()).status, 401, "no preflight");

    let log_out =
        |scheme: &str| send(Request::post("/api/v2/logout").header("Authorization", format!("{scheme}{both}")));
    assert_eq!(log_out("JWT ").code(), "token_invalid", "no such prefix there");
    assert_eq!(log_out("Bearer ").status, 200);
    assert_eq!(get("/orders", &both).code(), "token_revoked");
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
