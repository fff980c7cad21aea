use serde_json::{Value, json};

use super::*;
use crate::sources::Source;

fn smallest() -> Value {
    json!({
        "issuers": [{"secret": "0123456789abcdef0123456789abcdef"}],
        "control_plane": {"cluster": "curfew", "secret": "0123456789abcdef"},
    })
}

fn mistakes_with(changes: Value) -> Vec<String> {
    let mut document = smallest();
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    let mistakes = Config::parse(document.to_string().as_bytes()).unwrap_err();
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn the_secret_comes_from_a_variable_of_the_vm_if_the_configuration_names_one() {
    let with = |control_plane: Value, value: Option<&str>| {
        let mut document = smallest();
        document["control_plane"] = control_plane;
        let environment = |name: &str| value.filter(|_| name == "CURFEW_INTERNAL_SECRET").map(str::to_owned);
        let parsed = Config::parse_with(document.to_string().as_bytes(), &environment);
        parsed.map(|config| config.control_plane.authorization).map_err(|mistakes| mistakes.to_string())
    };
    let named = || json!({"cluster": "curfew", "secret_env": "CURFEW_INTERNAL_SECRET"});
    assert_eq!(with(named(), Some("fedcba9876543210")), Ok("Bearer fedcba9876543210".to_owned()));
    let missing = "control_plane.secret_env: names a variable that the VM does not have, or that is not text: add it to \
                   vm_config.environment_variables.host_env_keys";
    assert_eq!(with(named(), None), Err(missing.to_owned()));
    for short in ["", "123456789012345"] {
        let problem = "control_plane.secret_env: must have at least 16 bytes".to_owned();
        assert_eq!(with(named(), Some(short)), Err(problem), "{short}");
    }
    let twice = json!({"cluster": "curfew", "secret": "0123456789abcdef", "secret_env": "CURFEW_INTERNAL_SECRET"});
    let problem = "control_plane.secret_env: must not be given together with secret".to_owned();
    assert_eq!(with(twice, Some("fedcba9876543210")), Err(problem));
    let neither = with(json!({"cluster": "curfew"}), Some("fedcba9876543210"));
    assert_eq!(neither, Err("control_plane.secret: must be given".to_owned()));
}

#[test]
fn the_smallest_configuration_has_the_documented_defaults() {
    let config = Config::parse(smallest().to_string().as_bytes()).unwrap();
    assert_eq!(config.sources, Sources::new(vec![Source::header("authorization")]));
    assert_eq!(config.consistency, Consistency::Strict { replica_bytes: 64 << 20 });
    assert_eq!(config.on_unavailable, OnUnavailable::Deny);
    assert_eq!(config.cache_bytes, 16 << 20);
    assert!(!config.report_only);
    let expected = ControlPlane {
        cluster: "curfew".into(),
        authority: "curfew".into(),
        authorization: "Bearer 0123456789abcdef".into(),
        timeout: Duration::from_millis(500),
        agreement: config.policy.agreement().to_string(),
    };
    assert_eq!(config.control_plane, expected);
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

#[test]
fn every_mistake_is_named() {
    let changes = json!({
        "control_plane": {"secret": "short", "timeout": "0ms", "clusters": 1, "authority": "a\r\nb"},
        "replica_bytes": 1, "on_unavailable": "maybe", "cache_bytes": 1, "report_only": 1,
        "consistency": "perfect", "sources": [{"header": "X Y"}, {}, {"cookie": "a b"}, {"query": "a&b"}], "identity_headers": {"authorization": "sub"},
        "rules": [{"prefix": "public", "action": "skip"}], "clock_skew": 5,
    });
    assert_eq!(
        mistakes_with(changes),
        [
            r#"clock_skew: must be a duration such as "500ms", "5s" or "30d""#,
            "sources[0].header: must be a header's name",
            "sources[1]: must have exactly one of header, cookie, query and subprotocol",
            "sources[2].cookie: must be a name that every program reads alike: only letters, digits, - . _ ~",
            "sources[3].query: must be a name that every program reads alike: only letters, digits, - . _ ~",
            "rules[0].prefix: must be a path in canonical form: it starts with / and has no empty or dot segments, %, ; or \\",
            "identity_headers.authorization: is not a header that may be overwritten",
            "control_plane.cluster: must be given",
            "control_plane.secret: must have at least 16 bytes",
            "control_plane.authority: must be printable ASCII without spaces, because it travels in a header",
            "control_plane.timeout: must be from 1ms to 60s",
            "control_plane.clusters: is not a known field here; did you mean cluster? (known: authority, cluster, secret, secret_env, timeout)",
            "consistency: must be one of: strict, bounded",
            "replica_bytes: must be from 65536 to 536870912",
            "on_unavailable: must be one of: deny, allow",
            "cache_bytes: must be from 65536 to 268435456",
            "report_only: must be true or false",
        ]
    );
}

#[test]
fn a_setting_of_the_other_mode_is_a_mistake() {
    let mut document = smallest();
    document["consistency"] = json!("bounded");
    let config = Config::parse(document.to_string().as_bytes()).unwrap();
    assert_eq!(config.consistency, Consistency::Bounded { max_staleness: Duration::from_secs(5) });
    assert_eq!(
        mistakes_with(json!({"max_staleness": "1s"})),
        [r#"max_staleness: belongs to "consistency": "bounded"; "strict" admits nothing stale"#]
    );
    assert_eq!(
        mistakes_with(json!({"replica_bytes": 1 << 20, "consistency": "bounded"})),
        [r#"replica_bytes: belongs to "consistency": "strict"; "bounded" keeps no copy of the log"#]
    );
    assert_eq!(
        mistakes_with(json!({"max_staleness": "2h", "consistency": "bounded"})),
        ["max_staleness: must be from 0ns to 3600s"]
    );
}

#[test]
fn a_misspelt_field_is_a_mistake() {
    let mistakes = mistakes_with(json!({"max_stalenes": "1s"}));
    assert_eq!(mistakes.len(), 1);
    assert!(mistakes[0].starts_with("max_stalenes: is not a known field here"), "{mistakes:?}");
}

#[test]
fn a_struct_is_read_like_the_same_json() {
    // {"consistency": "loose"}, as `protoc` encodes a Struct.
    let bytes = b"\x0a\x16\x0a\x0bconsistency\x12\x07\x1a\x05loose";
    let mistakes = Config::parse(bytes).unwrap_err();
    assert_eq!(mistakes, Config::parse(br#"{"consistency": "loose"}"#).unwrap_err());
}

#[test]
fn the_message_about_text_that_is_not_json_says_what_to_write_instead() {
    let message = |bytes: &[u8]| Config::parse(bytes).unwrap_err().to_string();
    assert!(message(b"").contains("is empty"));
    assert_eq!(message(b"{\"issuers\":"), "configuration: ends too early (line 1, column 11)");
    let twice = br#"{"on_unavailable": "deny", "on_unavailable": "allow"}"#;
    assert!(message(twice).contains("names a member twice"));
    assert!(message(b"\x0a\x10\x0a\x07issuers").contains("StringValue"));
    assert_eq!(message(b"[]"), "must be an object");
}
