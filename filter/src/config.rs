//! The plugin configuration: reads the operator's JSON into a [`Config`] that cannot be wrong, or into all of its
//! mistakes.

use std::fmt;
use std::time::Duration;

use curfew_core::{Fields, KeySets, Mistakes, Policy, read_document};

use crate::identity::IdentityHeader;
use crate::protobuf_struct;
use crate::rules::Rules;
use crate::sources::Sources;

const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);
/// Envoy reads a callout's timeout below a millisecond as "no timeout".
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

const DEFAULT_MAX_STALENESS: Duration = Duration::from_secs(5);
const MAX_MAX_STALENESS: Duration = Duration::from_secs(3600);

/// Enough for over a million and a half revocations in force at once.
const DEFAULT_REPLICA_BYTES: u64 = 64 << 20;
const MIN_REPLICA_BYTES: u64 = 64 << 10;
const MAX_REPLICA_BYTES: u64 = 512 << 20;

const DEFAULT_CACHE_BYTES: u64 = 16 << 20;
const MIN_CACHE_BYTES: u64 = 64 << 10;
/// A VM may take 1 GiB in all; beyond that the host kills it, and it loses what it knows.
const MAX_CACHE_BYTES: u64 = 256 << 20;

/// Shorter secrets can be guessed.
const MIN_SECRET_BYTES: usize = 16;

/// What to do with a request when the control plane does not say whether its token is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnavailable {
    /// Refuse it with 503.
    Deny,
    /// Admit it. A logged-out token may then be admitted while the control plane is away.
    Allow,
}

/// How a worker finds out whether a token is revoked, with the settings of that way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// No logout that was answered is missed: a copy of the log decides while a lease runs.
    Strict {
        /// How many bytes the copy in each VM may take.
        replica_bytes: u64,
    },
    /// The control plane is asked about each token, and its answers are remembered.
    Bounded {
        /// How long an answer "active" is good, counted from the sending of its question.
        max_staleness: Duration,
    },
}

/// The value of an environment variable of the VM; `None` if it is not set there.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Where and how to ask the control plane.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// The Envoy cluster of its internal listener.
    pub cluster: String,
    /// `:authority` of the questions.
    pub authority: String,
    /// `Authorization` of the questions, `Bearer` and the internal secret.
    pub authorization: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// What both sides must agree on, in hashes: [`curfew_core::AGREEMENT_HEADER`] of the questions.
    pub agreement: String,
}

/// Shows everything but the secret.
impl fmt::Debug for ControlPlane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ControlPlane({}, {}, {:?})", self.cluster, self.authority, self.timeout)
    }
}

/// A configuration in which everything has been checked.
#[derive(Debug)]
pub struct Config {
    /// Which tokens are accepted.
    pub policy: Policy,
    /// The keys that stand in the configuration, which a gate starts with.
    pub keys: KeySets,
    /// Where tokens are looked for.
    pub sources: Sources,
    /// Which requests need one.
    pub rules: Rules,
    /// The headers that tell the upstream about the token.
    pub identity_headers: Vec<IdentityHeader>,
    /// The control plane to ask.
    pub control_plane: ControlPlane,
    /// How to find out whether a token is revoked.
    pub consistency: Consistency,
    /// What to do without an answer.
    pub on_unavailable: OnUnavailable,
    /// The budget of a VM's caches together, in bytes.
    pub cache_bytes: u64,
    /// Decide, count and log, but admit every request.
    pub report_only: bool,
    /// Write decisions into filter state, for access logs.
    pub filter_state: bool,
}

impl Config {
    /// Reads the plugin configuration, in a VM without environment variables.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its field.
    pub fn parse(bytes: &[u8]) -> Result<Self, Mistakes> {
        Self::parse_with(bytes, &|_| None)
    }

    /// Reads the plugin configuration. `environment` gives the value of an environment variable of the VM.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its field.
    pub fn parse_with(bytes: &[u8], environment: Environment<'_>) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let document = match read_document(bytes) {
            Ok(document) => document,
            Err(problem) => match protobuf_struct::read(bytes).filter(|_| !bytes.is_empty()) {
                Some(document) => document,
                None => {
                    mistakes.add("configuration", not_json(bytes, problem));
                    return Err(mistakes);
                }
            },
        };
        let config = Fields::read("", &document, &mut mistakes, |fields| Self::read(fields, environment));
        config.flatten().filter(|_| mistakes.is_empty()).ok_or(mistakes)
    }

    fn read(fields: &mut Fields<'_, '_>, environment: Environment<'_>) -> Option<Self> {
        let (policy, keys) = Policy::read(fields);
        let sources = Sources::read(fields);
        let rules = Rules::read(fields);
        let identity_headers = IdentityHeader::read_all(fields);
        let control_plane = ControlPlane::read(fields, &policy, environment);
        let config = Self {
            policy,
            keys,
            sources,
            rules,
            identity_headers,
            consistency: Consistency::read(fields),
            on_unavailable: fields
                .choice("on_unavailable", &[("deny", OnUnavailable::Deny), ("allow", OnUnavailable::Allow)])
                .unwrap_or(OnUnavailable::Deny),
            cache_bytes: bytes(fields, "cache_bytes", DEFAULT_CACHE_BYTES, MIN_CACHE_BYTES, MAX_CACHE_BYTES),
            report_only: fields.boolean("report_only").unwrap_or(false),
            filter_state: fields.boolean("filter_state").unwrap_or(false),
            control_plane: control_plane?,
        };
        Some(config)
    }
}

impl ControlPlane {
    fn read(fields: &mut Fields<'_, '_>, policy: &Policy, environment: Environment<'_>) -> Option<Self> {
        let Some(value) = fields.value("control_plane") else {
            fields.wrong("control_plane", "must be given");
            return None;
        };
        let path = fields.at("control_plane");
        Fields::read(path, value, fields.mistakes(), |fields| {
            let cluster = required_text(fields, "cluster");
            let secret = secret(fields, environment);
            let authority = fields.text("authority").unwrap_or("curfew").to_owned();
            if !authority.bytes().all(|byte| byte.is_ascii_graphic()) {
                fields.wrong("authority", "must be printable ASCII without spaces, because it travels in a header");
            }
            let timeout = bounded(fields, "timeout", DEFAULT_TIMEOUT, MIN_TIMEOUT, MAX_TIMEOUT);
            let (authorization, agreement) = (format!("Bearer {secret}"), policy.agreement().to_string());
            Self { cluster, authority, authorization, timeout, agreement }
        })
    }
}

/// The internal secret, from the configuration or from the variable that it names. Envoy's `/config_dump` shows the configuration to
/// each client of the admin interface, and of a variable of its own environment only the name.
fn secret(fields: &mut Fields<'_, '_>, environment: Environment<'_>) -> String {
    let (field, secret) = match (fields.value("secret").is_some(), fields.text("secret_env").map(str::to_owned)) {
        (true, Some(_)) => {
            fields.wrong("secret_env", "must not be given together with secret");
            return String::new();
        }
        (false, Some(name)) => match environment(&name) {
            Some(secret) => ("secret_env", secret),
            None => {
                let host = "vm_config.environment_variables.host_env_keys";
                fields.wrong(
                    "secret_env",
                    format!("names a variable that the VM does not have, or that is not text: add it to {host}"),
                );
                return String::new();
            }
        },
        (false, None) if fields.has("secret_env") => return String::new(),
        (_, None) => ("secret", required_text(fields, "secret")),
    };
    if (1..MIN_SECRET_BYTES).contains(&secret.len()) || (secret.is_empty() && field == "secret_env") {
        fields.wrong(field, format!("must have at least {MIN_SECRET_BYTES} bytes"));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        fields.wrong(field, "must be printable ASCII without spaces, because it travels in a header");
    }
    secret
}

fn required_text(fields: &mut Fields<'_, '_>, name: &'static str) -> String {
    if !fields.has(name) {
        fields.wrong(name, "must be given");
    }
    fields.text(name).unwrap_or_default().to_owned()
}

fn bounded(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    default: Duration,
    least: Duration,
    most: Duration,
) -> Duration {
    let duration = fields.duration(name).unwrap_or(default);
    if !(least..=most).contains(&duration) {
        fields.wrong(name, format!("must be from {least:?} to {most:?}"));
    }
    duration
}

fn bytes(fields: &mut Fields<'_, '_>, name: &'static str, default: u64, least: u64, most: u64) -> u64 {
    let bytes = fields.whole_number(name).unwrap_or(default);
    if !(least..=most).contains(&bytes) {
        fields.wrong(name, format!("must be from {least} to {most}"));
    }
    bytes
}

impl Consistency {
    /// A setting of the other mode is a mistake: the operator expects an effect that it would not have.
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        let strict = fields.choice("consistency", &[("strict", true), ("bounded", false)]).unwrap_or(true);
        let max_staleness = bounded(fields, "max_staleness", DEFAULT_MAX_STALENESS, Duration::ZERO, MAX_MAX_STALENESS);
        let replica_bytes = bytes(fields, "replica_bytes", DEFAULT_REPLICA_BYTES, MIN_REPLICA_BYTES, MAX_REPLICA_BYTES);
        if strict && fields.has("max_staleness") {
            fields.wrong("max_staleness", r#"belongs to "consistency": "bounded"; "strict" admits nothing stale"#);
        }
        if !strict && fields.has("replica_bytes") {
            fields.wrong("replica_bytes", r#"belongs to "consistency": "strict"; "bounded" keeps no copy of the log"#);
        }
        if strict { Self::Strict { replica_bytes } } else { Self::Bounded { max_staleness } }
    }
}

fn not_json(bytes: &[u8], problem: String) -> String {
    match bytes.trim_ascii_start().first() {
        None => "is empty; give the plugin's settings as JSON in a google.protobuf.StringValue".to_owned(),
        Some(b'{') => problem,
        Some(_) => "is neither JSON nor a google.protobuf.Struct; write \"@type\": \
                    type.googleapis.com/google.protobuf.StringValue with the JSON text as its value"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
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
}
