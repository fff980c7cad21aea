//! An issuer that is trusted: its name and its audiences, and its keys where the configuration holds them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::Keyspace;
use crate::algorithm::Algorithm;
use crate::document::{Fields, Mistake, Mistakes};
use crate::key::is_private;
use crate::key_set::KeySet;
use crate::required_claims::RequiredClaims;

const DEFAULT_CLOCK_SKEW: Duration = Duration::from_secs(5);
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Longer than any URL in use. The name is stored with each token, and databases bound the length of what they index.
const MAX_ISSUER_BYTES: usize = 1024;

/// The claim that names the session where the configuration names no other: OpenID Connect Front-Channel Logout 1.0 section 3
/// registers it.
pub(crate) const SESSION_CLAIM: &str = "sid";

/// An issuer of tokens.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// The `iss` that its tokens must have. `None` takes any: for issuers whose `iss` changes (Laravel writes the URL
    /// of the login).
    pub(crate) name: Option<String>,
    /// One of these must be in `aud`; empty takes any.
    pub(crate) audiences: Vec<String>,
    /// What tells its access tokens from its other tokens.
    pub(crate) required_claims: RequiredClaims,
    /// Refuse tokens that name no user. A logout of all devices would not reach them.
    pub(crate) require_user: bool,
    /// Refuse tokens that name a user and not when they were issued.
    pub(crate) require_issued_at: bool,
    /// The claim that names the session, or the path to it.
    pub(crate) session_claim: String,
    /// How long its tokens live, in seconds: what says when a token without `iat` was issued.
    pub(crate) token_lifetime: Option<i64>,
    /// How far its clock may differ from ours, in seconds, where it has a rule of its own. What holds is in `clock_skew`.
    pub(crate) own_clock_skew: Option<i64>,
    /// How far its clock may differ from ours, in seconds. The policy sets it once all fields of the policy have been
    /// read.
    pub(crate) clock_skew: i64,
    /// The algorithms that its tokens may have; empty stands for those of its keys.
    pub(crate) algorithms: Vec<Algorithm>,
    /// Try a token without `kid` with each of a bounded number of keys.
    pub(crate) try_all_keys: bool,
    /// The keys of the configuration that are not used, and why.
    pub(crate) unused_keys: Vec<Mistake>,
    /// Its keys do not stand in the configuration. A filter gets them from the control plane, and the control plane
    /// from where its own settings say.
    pub(crate) keys_elsewhere: bool,
    /// The rule by which its tokens become keys. The policy sets it once all fields of the policy have been read.
    pub(crate) keyspace: Keyspace,
}

impl Issuer {
    /// Reads the issuer at `path` and its keys, or notes its mistakes.
    pub(crate) fn read(path: String, value: &Value, mistakes: &mut Mistakes) -> Option<(Self, KeySet)> {
        Fields::read(path, value, mistakes, |fields| {
            let name = fields.text("issuer").map(str::to_owned);
            if name.as_ref().is_some_and(|name| name.len() > MAX_ISSUER_BYTES || name.chars().any(char::is_control)) {
                let problem = format!("must be at most {MAX_ISSUER_BYTES} bytes without control characters");
                fields.wrong("issuer", problem);
            }
            let audiences = fields.texts("audiences").unwrap_or_default();
            let required_claims = RequiredClaims::read(fields);
            let algorithms = read_algorithms(fields);
            let keys_elsewhere = read_keys_elsewhere(fields);
            let (keys, unused_keys) = match keys_elsewhere {
                true => (KeySet::default(), Vec::new()),
                false => read_keys(&algorithms, fields),
            };
            let issuer = Self {
                name,
                audiences,
                required_claims,
                require_user: fields.boolean("require_user").unwrap_or(false),
                require_issued_at: fields.boolean("require_issued_at").unwrap_or(true),
                session_claim: read_session_claim(fields),
                token_lifetime: read_lifetime(fields),
                own_clock_skew: fields.value("clock_skew").is_some().then(|| read_clock_skew(fields)),
                clock_skew: 0,
                algorithms,
                try_all_keys: fields.boolean("try_all_keys").unwrap_or(false),
                unused_keys,
                keys_elsewhere,
                keyspace: Keyspace::from_bytes([0; 16]),
            };
            (issuer, keys)
        })
    }

    /// The issuer's part of every revocation key of its tokens.
    pub(crate) fn namespace(&self) -> &str {
        self.name.as_deref().unwrap_or("")
    }

    /// What both sides must agree on about this issuer. No name has a control character in it.
    pub(crate) fn agreed(&self) -> String {
        let lifetime = self.token_lifetime.map(|seconds| format!("\n{seconds}")).unwrap_or_default();
        let skew = self.own_clock_skew.map(|seconds| format!("\nclock_skew={seconds}")).unwrap_or_default();
        let session = self.own_session_claim().map(|claim| format!("\nsession_claim={claim}")).unwrap_or_default();
        format!("{}{lifetime}{skew}{session}", self.namespace())
    }

    /// The claim that names the session, if it is not [`SESSION_CLAIM`].
    pub(crate) fn own_session_claim(&self) -> Option<&str> {
        Some(&*self.session_claim).filter(|claim| *claim != SESSION_CLAIM)
    }
}

/// How far clocks may differ, in seconds: 5 s unless the fields say otherwise.
pub(crate) fn read_clock_skew(fields: &mut Fields<'_, '_>) -> i64 {
    seconds(fields, "clock_skew", DEFAULT_CLOCK_SKEW, Duration::ZERO, MAX_CLOCK_SKEW)
}

/// A duration in whole seconds, because NumericDates are compared in whole seconds.
pub(crate) fn seconds(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    default: Duration,
    least: Duration,
    most: Duration,
) -> i64 {
    let duration = fields.duration(name).unwrap_or(default);
    if duration < least || duration > most || duration.subsec_nanos() != 0 {
        let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
        fields.wrong(name, format!("must be whole seconds, from {least} to {most}"));
    }
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn read_session_claim(fields: &mut Fields<'_, '_>) -> String {
    let claim = fields.text("session_claim").unwrap_or(SESSION_CLAIM);
    if claim.is_empty() || claim.chars().any(char::is_control) {
        fields.wrong("session_claim", "must be the name of a claim, or a path such as realm.session");
    }
    claim.to_owned()
}

/// A whole number of seconds, as the times in tokens are.
fn read_lifetime(fields: &mut Fields<'_, '_>) -> Option<i64> {
    let lifetime = fields.duration("token_lifetime")?;
    let seconds = i64::try_from(lifetime.as_secs()).ok().filter(|_| lifetime.subsec_nanos() == 0);
    if seconds.is_none_or(|seconds| seconds == 0) {
        fields.wrong("token_lifetime", "must be whole seconds, at least one");
    }
    seconds
}

/// The algorithms of the issuer's tokens: `algorithms`, or the one `algorithm`.
fn read_algorithms(fields: &mut Fields<'_, '_>) -> Vec<Algorithm> {
    let one = fields.choice("algorithm", &Algorithm::ALL);
    let Some(names) = fields.texts("algorithms") else {
        return one.into_iter().collect();
    };
    if fields.has("algorithm") {
        fields.wrong("algorithms", "must not be given together with algorithm");
    }
    let known: Option<Vec<_>> = names.iter().map(|name| Algorithm::parse(name)).collect();
    known.unwrap_or_else(|| {
        let names: Vec<_> = Algorithm::ALL.iter().map(|(name, _)| *name).collect();
        fields.wrong("algorithms", format!("must be a list of: {}", names.join(", ")));
        Vec::new()
    })
}

/// The fields that hold keys.
const KEY_FIELDS: [&str; 3] = ["jwks", "secret", "secret_base64"];

/// True if the issuer's keys do not stand in the configuration: none are given, or `keys` says so.
fn read_keys_elsewhere(fields: &mut Fields<'_, '_>) -> bool {
    let given = KEY_FIELDS.iter().filter(|name| fields.value(name).is_some()).count() > 0;
    if fields.choice("keys", &[("control_plane", ())]).is_some() && given {
        fields.wrong("keys", "must not be given together with jwks, secret or secret_base64");
    }
    !given
}

/// The issuer's keys, and those that are not used. Empty if they are wrong, which has then been noted.
fn read_keys(algorithms: &[Algorithm], fields: &mut Fields<'_, '_>) -> (KeySet, Vec<Mistake>) {
    let sources = (fields.value("jwks"), fields.text("secret"), fields.text("secret_base64"));
    match sources {
        (Some(jwks), None, None) => return read_jwks(jwks, algorithms, fields),
        (None, Some(secret), None) => {
            return (read_secret(secret.as_bytes(), "secret", algorithms, fields), Vec::new());
        }
        (None, None, Some(encoded)) => match decode_secret(encoded) {
            Some(secret) => return (read_secret(&secret, "secret_base64", algorithms, fields), Vec::new()),
            None => fields.wrong("secret_base64", "must be base64"),
        },
        _ => {
            let given = KEY_FIELDS.iter().filter(|name| fields.has(name)).count();
            // A field that is present but wrong has been noted already.
            if given != 1 {
                fields.wrong("jwks", "only one of jwks, secret and secret_base64 may be given");
            }
        }
    }
    (KeySet::default(), Vec::new())
}

/// One key for each algorithm: an operator that names several wants the secret to serve them all.
fn read_secret(secret: &[u8], field: &str, algorithms: &[Algorithm], fields: &mut Fields<'_, '_>) -> KeySet {
    let algorithms = if algorithms.is_empty() { &[Algorithm::HS256] } else { algorithms };
    let mut keys = KeySet::default();
    for algorithm in algorithms {
        match KeySet::from_secret(*algorithm, secret) {
            Ok(key) => keys = keys.and(key),
            Err(problem) => fields.wrong(field, problem),
        }
    }
    keys
}

/// A configuration is written by its operator, so a private key in it is a mistake. In a set that was fetched, it would
/// be left out.
fn read_jwks(jwks: &Value, algorithms: &[Algorithm], fields: &mut Fields<'_, '_>) -> (KeySet, Vec<Mistake>) {
    let (keys, unused) = match KeySet::read(jwks, algorithms) {
        Ok(read) => read,
        Err(mistakes) => {
            fields.all_wrong("jwks", &mistakes);
            return (KeySet::default(), Vec::new());
        }
    };
    let private = private_keys(jwks);
    for place in &private {
        fields.wrong(&format!("jwks.{place}"), "is a private key; put only its public part here");
    }
    (keys, unused.iter().map(|mistake| fields.inside("jwks", mistake)).collect())
}

/// The places of private keys in a set.
fn private_keys(jwks: &Value) -> Vec<String> {
    let members = jwks.get("keys").and_then(Value::as_array).into_iter().flatten().enumerate();
    let private = members.filter(|(_, member)| member.as_object().is_some_and(is_private));
    private.map(|(index, _)| format!("keys[{index}]")).collect()
}

/// The bytes of a `secret_base64`: either alphabet, padded or not, because secrets are pasted from everywhere. Signer
/// and verifier must read it alike, so both call this.
pub fn decode_secret(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()
}
