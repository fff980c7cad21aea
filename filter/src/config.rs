//! The plugin configuration: reads the operator's JSON into a [`Config`] that cannot be wrong, or into all of its
//! mistakes.

#[cfg(test)]
mod tests;

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
        // Editors put the name of the schema there.
        if fields.value("$schema").is_some_and(|name| !name.is_string()) {
            fields.wrong("$schema", "must be a string");
        }
        let (policy, keys) = Policy::read(fields);
        let sources = Sources::read(fields);
        sources.check_issuers(&policy.issuers().collect::<Vec<_>>(), fields);
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
