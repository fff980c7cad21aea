//! Which tokens are accepted, and what this process may sign itself.
//!
//! The settings become a document like the one in the filter's configuration. Both sides read it with the same code and
//! refuse the same mistakes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use curfew_core::{KeySets, Mistake, Mistakes, Policy, read_document};
use serde_json::{Map, Value, json};

use super::default_scope::DefaultScope;
use super::environment::{Environment, read};
use super::generated::{GENERATED_ISSUER, Generated};
use super::key_source::{KeySourceArgs, setting_of};
use super::signer::{IssuerSecret, Signer, issuer_secrets, signers};
use crate::keys::{KeyIssuer, KeySource, KeyUrl, take_source};
use crate::secret::Secret;

/// Which tokens to accept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tokens")]
pub struct TokenArgs {
    /// File with the secret that tokens are signed with (JWT_SECRET holds the secret itself)
    #[arg(long, env = "JWT_SECRET_FILE", value_name = "FILE", hide_env_values = true)]
    jwt_secret_file: Option<PathBuf>,
    /// File with the public keys that verify tokens, a JWK Set
    #[arg(long, env = "JWKS_FILE", value_name = "FILE", hide_env_values = true)]
    jwks_file: Option<PathBuf>,
    /// What `iss` must be [default: anything]
    #[arg(long = "token-issuer", env = "CURFEW_ISSUER", value_name = "ISS", hide_env_values = true)]
    token_issuer: Option<String>,
    /// One of these must be in `aud`, with commas between them [default: anything]
    #[arg(long = "token-audiences", env = "CURFEW_AUDIENCES", value_name = "AUD,...", hide_env_values = true)]
    token_audiences: Option<String>,
    /// The algorithm that tokens must have [default: that of the keys]
    #[arg(long = "token-algorithm", env = "CURFEW_ALGORITHM", value_name = "ALG", hide_env_values = true)]
    token_algorithm: Option<String>,
    /// The algorithms that tokens may have, with commas between them [default: those of the keys]
    #[arg(long = "token-algorithms", env = "CURFEW_ALGORITHMS", value_name = "ALG,...", hide_env_values = true)]
    token_algorithms: Option<String>,
    /// Try a token without `kid` with each of up to eight keys: true or false [default: false]
    #[arg(long = "token-try-all-keys", env = "CURFEW_TRY_ALL_KEYS", value_name = "BOOL", hide_env_values = true)]
    token_try_all_keys: Option<String>,
    /// Claims that tokens must have, as JSON: {"token_type": "access"} [default: none]
    #[arg(long = "token-required-claims", env = "CURFEW_REQUIRED_CLAIMS", value_name = "JSON", hide_env_values = true)]
    token_required_claims: Option<String>,
    /// Refuse tokens that name no user: true or false [default: false]
    #[arg(long = "token-require-user", env = "CURFEW_REQUIRE_USER", value_name = "BOOL", hide_env_values = true)]
    token_require_user: Option<String>,
    /// Refuse tokens that name a user and not when they were issued: true or false [default: true]
    #[arg(
        long = "token-require-issued-at",
        env = "CURFEW_REQUIRE_ISSUED_AT",
        value_name = "BOOL",
        hide_env_values = true
    )]
    token_require_issued_at: Option<String>,
    /// How long tokens live, for tokens without `iat` [default: not known]
    #[arg(long, env = "CURFEW_TOKEN_LIFETIME", value_name = "DURATION", hide_env_values = true)]
    token_lifetime: Option<String>,
    /// The claim that names the session, or the path to it [default: sid]
    #[arg(long = "token-session-claim", env = "CURFEW_SESSION_CLAIM", value_name = "CLAIM", hide_env_values = true)]
    token_session_claim: Option<String>,
    /// What a logout without a scope logs out: token or session [default: token]
    #[arg(long, env = "CURFEW_LOGOUT_SCOPE", value_name = "SCOPE", hide_env_values = true)]
    logout_scope: Option<String>,
    /// File with several issuers: the JSON list "issuers" of the filter's configuration
    #[arg(long, env = "CURFEW_ISSUERS_FILE", value_name = "FILE", hide_env_values = true)]
    issuers_file: Option<PathBuf>,
    /// The claim that names the user
    #[arg(long, env = "CURFEW_USER_CLAIM", value_name = "CLAIM", default_value = "sub", hide_env_values = true)]
    user_claim: String,
    /// The claim that a logout of all devices compares with its own time: iat or auth_time
    #[arg(long, env = "CURFEW_ISSUED_AT_CLAIM", value_name = "CLAIM", default_value = "iat", hide_env_values = true)]
    issued_at_claim: String,
    /// The accepted values of `typ`, with commas between them
    #[arg(
        long,
        env = "CURFEW_TOKEN_TYPES",
        value_name = "TYP,...",
        default_value = "JWT,at+jwt",
        hide_env_values = true
    )]
    token_types: String,
    /// Accept tokens without `exp`: true or false
    #[arg(
        long,
        env = "CURFEW_ALLOW_MISSING_EXP",
        value_name = "BOOL",
        default_value = "false",
        hide_env_values = true
    )]
    allow_missing_exp: String,
    /// How far clocks may differ
    #[arg(long, env = "CURFEW_CLOCK_SKEW", value_name = "DURATION", default_value = "5s", hide_env_values = true)]
    clock_skew: String,
    /// The longest life a token may have
    #[arg(long, env = "CURFEW_MAX_TOKEN_TTL", value_name = "DURATION", default_value = "30d", hide_env_values = true)]
    max_token_ttl: String,
    /// The longest text of a token, in bytes
    #[arg(long, env = "CURFEW_MAX_TOKEN_BYTES", value_name = "BYTES", default_value = "16384", hide_env_values = true)]
    max_token_bytes: String,
    #[command(flatten)]
    key_source: KeySourceArgs,
}

/// The setting to name where nothing says where keys come from.
pub(super) const NO_KEYS: &str = "JWT_SECRET";

/// Where the keys come from.
pub(super) enum Keys {
    /// A list of issuers from a file.
    Issuers(Value),
    /// One issuer with a secret.
    Secret(Secret),
    /// One issuer with a JWK Set from a file.
    Jwks(Value),
    /// One issuer, whose keys are fetched.
    Fetched,
    /// Nothing was configured.
    Missing,
    /// What was configured is wrong and has been noted.
    Wrong,
}

impl Keys {
    /// The setting to name if keys are needed.
    pub(super) fn missing(&self) -> Option<&'static str> {
        matches!(self, Self::Missing).then_some(NO_KEYS)
    }
}

/// The resolved settings.
#[derive(Debug)]
pub struct Tokens {
    /// Which tokens are accepted.
    pub policy: Policy,
    /// The keys that stand in the settings.
    pub keys: KeySets,
    /// Where the keys of each issuer of the policy come from; `None` where they stand in the settings or are a secret. A
    /// JWK Set in `JWKS_FILE` is in `keys` and has its file here too.
    pub sources: Vec<Option<KeySource>>,
    /// Where the keys of each issuer come from, in the order of the policy.
    pub key_issuers: Vec<KeyIssuer>,
    /// How much a logout without a scope logs out, by issuer namespace.
    pub default_scopes: BTreeMap<String, DefaultScope>,
    /// The issuers whose tokens this process can make, in the order of the configuration.
    pub signers: Vec<Signer>,
    /// All secrets that sign tokens, each with the setting that holds it.
    pub signing_secrets: Vec<(String, IssuerSecret)>,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that cutoffs are compared with.
    pub issued_at_claim: String,
    /// What is unusual in the settings: keys that are not used, each with the setting that holds it.
    pub warnings: Vec<String>,
}

impl TokenArgs {
    /// Finds out where the keys come from: one place, or none.
    pub(super) fn keys(&self, environment: &Environment, mistakes: &mut Mistakes) -> Keys {
        let secret_given = environment.get("JWT_SECRET").is_some() || self.jwt_secret_file.is_some();
        let given = [
            ("JWT_SECRET", secret_given),
            ("JWKS_FILE", self.jwks_file.is_some()),
            ("CURFEW_ISSUERS_FILE", self.issuers_file.is_some()),
        ];
        let given: Vec<_> = given
            .into_iter()
            .chain(self.key_source.places())
            .filter(|(_, given)| *given)
            .map(|(name, _)| name)
            .collect();
        match given.as_slice() {
            [] if self.issuer_tells_its_keys() => return Keys::Fetched,
            [] if self.key_source.forbids_discovery() => {
                mistakes.add(
                    "CURFEW_DISCOVERY",
                    "is false, and nothing else says where the keys are: set JWT_SECRET, JWKS_FILE or JWKS_URL",
                );
                return Keys::Wrong;
            }
            [] => return Keys::Missing,
            ["JWKS_URL" | "CURFEW_DISCOVERY"] => return Keys::Fetched,
            [_] => {}
            [first, others @ ..] => {
                mistakes.add(*first, format!("is set, and so is {}: set one of them", others.join(" and ")));
                return Keys::Wrong;
            }
        }
        if self.issuers_file.is_some() {
            self.refuse_single_issuer_settings(mistakes);
        }
        let json = |name: &str, path: &Option<PathBuf>, mistakes: &mut Mistakes| {
            let text = read(name, path.as_deref()?, mistakes)?;
            read_document(text.as_bytes()).map_err(|problem| mistakes.add(name, problem)).ok()
        };
        let secret = environment.secret("JWT_SECRET", self.jwt_secret_file.as_deref(), mistakes).map(Keys::Secret);
        secret
            .or_else(|| json("JWKS_FILE", &self.jwks_file, mistakes).map(Keys::Jwks))
            .or_else(|| json("CURFEW_ISSUERS_FILE", &self.issuers_file, mistakes).map(Keys::Issuers))
            .unwrap_or(Keys::Wrong)
    }

    /// True if the issuer's name is a URL that may be asked for its keys.
    fn issuer_tells_its_keys(&self) -> bool {
        let is_url = self.token_issuer.as_deref().is_some_and(|issuer| KeyUrl::parse(issuer).is_ok());
        is_url && !self.key_source.forbids_discovery()
    }

    /// Refuses settings of a single issuer beside the file, which describes all issuers: neither should win silently.
    fn refuse_single_issuer_settings(&self, mistakes: &mut Mistakes) {
        let single = [
            ("CURFEW_ISSUER", &self.token_issuer),
            ("CURFEW_AUDIENCES", &self.token_audiences),
            ("CURFEW_ALGORITHM", &self.token_algorithm),
            ("CURFEW_ALGORITHMS", &self.token_algorithms),
            ("CURFEW_TRY_ALL_KEYS", &self.token_try_all_keys),
            ("CURFEW_REQUIRE_ISSUED_AT", &self.token_require_issued_at),
            ("CURFEW_TOKEN_LIFETIME", &self.token_lifetime),
            ("CURFEW_SESSION_CLAIM", &self.token_session_claim),
            ("CURFEW_LOGOUT_SCOPE", &self.logout_scope),
            ("CURFEW_REQUIRED_CLAIMS", &self.token_required_claims),
            ("CURFEW_REQUIRE_USER", &self.token_require_user),
        ];
        let given = single.into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name);
        for name in given.chain(self.key_source.given()) {
            mistakes.add(name, "is set, and so is CURFEW_ISSUERS_FILE, which has it for each issuer");
        }
    }

    /// Reads the policy from the settings, with the generated secret where no keys are configured.
    pub(super) fn resolve(&self, keys: Keys, generated: Option<&Generated>, mistakes: &mut Mistakes) -> Option<Tokens> {
        if self.user_claim.trim() != self.user_claim {
            // No token has such a claim, so no token would have a user.
            mistakes.add("CURFEW_USER_CLAIM", "must be a claim's name, without spaces around it");
        }
        let from_file = matches!(keys, Keys::Issuers(_));
        let file = match keys {
            Keys::Jwks(_) => self.jwks_file.clone().map(KeySource::of_file),
            _ => None,
        };
        let mut issuers = match keys {
            Keys::Issuers(issuers) => issuers,
            Keys::Secret(secret) => self.one_issuer(Some(("secret", secret.reveal().into())), None, mistakes),
            Keys::Jwks(jwks) => self.one_issuer(Some(("jwks", jwks)), None, mistakes),
            Keys::Fetched => self.one_issuer(None, None, mistakes),
            Keys::Missing => {
                let secret = generated?.jwt_secret.as_str().into();
                self.one_issuer(Some(("secret", secret)), Some(GENERATED_ISSUER), mistakes)
            }
            // The other settings are resolved all the same, with a key that is never used.
            Keys::Wrong => json!([{"secret": "0".repeat(64)}]),
        };
        let mut found = Mistakes::default();
        let scopes = default_scopes(&mut issuers, &mut found);
        let mut sources = sources(&mut issuers, &mut found);
        if file.is_some() {
            sources = vec![file];
        }
        note(&found, from_file, mistakes);
        let document = json!({
            "issuers": issuers,
            "user_claim": self.user_claim,
            "issued_at_claim": self.issued_at_claim,
            "token_types": list(&self.token_types),
            "allow_missing_exp": boolean(&self.allow_missing_exp),
            "clock_skew": self.clock_skew,
            "max_token_ttl": self.max_token_ttl,
            "max_token_bytes": number(&self.max_token_bytes),
        });
        match Policy::from_document(&document) {
            Ok((policy, keys)) => Some(Tokens {
                warnings: policy.warnings().map(|mistake| warning(mistake, from_file)).collect(),
                key_issuers: key_issuers(&policy, &keys, &document, from_file, &sources),
                default_scopes: policy.issuers().map(str::to_owned).zip(scopes).collect(),
                policy,
                keys,
                sources,
                signers: signers(&document),
                signing_secrets: named(issuer_secrets(&document), from_file),
                user_claim: self.user_claim.clone(),
                issued_at_claim: self.issued_at_claim.clone(),
            }),
            Err(found) => {
                note(&found, from_file, mistakes);
                None
            }
        }
    }

    fn one_issuer(&self, keys: Option<(&str, Value)>, default: Option<&str>, mistakes: &mut Mistakes) -> Value {
        let mut issuer = Map::new();
        issuer.extend(keys.map(|(name, value)| (name.to_owned(), value)));
        self.key_source.fill(&mut issuer);
        if let Some(name) = self.token_issuer.as_deref().or(default) {
            issuer.insert("issuer".to_owned(), name.into());
        }
        if let Some(audiences) = &self.token_audiences {
            issuer.insert("audiences".to_owned(), list(audiences).into());
        }
        if let Some(algorithm) = &self.token_algorithm {
            issuer.insert("algorithm".to_owned(), algorithm.as_str().into());
        }
        if let Some(claims) = &self.token_required_claims {
            match read_document(claims.as_bytes()) {
                Ok(claims) => drop(issuer.insert("required_claims".to_owned(), claims)),
                Err(problem) => mistakes.add("CURFEW_REQUIRED_CLAIMS", problem),
            }
        }
        if let Some(algorithms) = &self.token_algorithms {
            issuer.insert("algorithms".to_owned(), list(algorithms).into());
        }
        let texts = [
            ("token_lifetime", &self.token_lifetime),
            ("session_claim", &self.token_session_claim),
            ("logout_scope", &self.logout_scope),
        ];
        for (name, value) in texts {
            issuer.extend(value.as_deref().map(|value| (name.to_owned(), value.into())));
        }
        let booleans = [
            ("require_user", &self.token_require_user),
            ("try_all_keys", &self.token_try_all_keys),
            ("require_issued_at", &self.token_require_issued_at),
        ];
        for (name, value) in booleans {
            issuer.extend(value.as_deref().map(|value| (name.to_owned(), boolean(value))));
        }
        json!([issuer])
    }
}

/// Where the keys of each issuer come from.
fn key_issuers(
    policy: &Policy,
    keys: &KeySets,
    document: &Value,
    from_file: bool,
    sources: &[Option<KeySource>],
) -> Vec<KeyIssuer> {
    let from = if from_file { "CURFEW_ISSUERS_FILE" } else { "JWKS_FILE" };
    let issuers = document.get("issuers").unwrap_or(&Value::Null);
    let source = |place: usize| sources.get(place).and_then(Option::as_ref).map(KeySource::name);
    KeyIssuer::of_policy(policy, keys, issuers, from, source)
}

/// Where the keys of each of these issuers come from. What is about that is taken out of their entries.
fn sources(issuers: &mut Value, mistakes: &mut Mistakes) -> Vec<Option<KeySource>> {
    let entries = issuers.as_array_mut().into_iter().flatten().enumerate();
    entries.map(|(index, entry)| take_source(&format!("issuers[{index}]"), entry, mistakes)).collect()
}

/// What a logout without a scope logs out, for each entry.
fn default_scopes(issuers: &mut Value, mistakes: &mut Mistakes) -> Vec<DefaultScope> {
    let entries = issuers.as_array_mut().into_iter().flatten().enumerate();
    entries.map(|(index, entry)| DefaultScope::take(&format!("issuers[{index}]"), entry, mistakes)).collect()
}

/// Notes mistakes in the document by the settings that its fields came from.
fn note(found: &Mistakes, from_file: bool, mistakes: &mut Mistakes) {
    for mistake in found.iter() {
        let (name, problem) = by_setting(mistake, from_file);
        mistakes.add(name, problem);
    }
}

/// The JSON of a setting that is true or false; the reader of the document names what is neither.
pub(super) fn boolean(text: &str) -> Value {
    match text {
        "true" => true.into(),
        "false" => false.into(),
        other => other.into(),
    }
}

/// The JSON of a setting that is a number; the policy names what is none.
fn number(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| text.into(), Value::from)
}

/// Names each secret by its setting, as a mistake in it would be named.
fn named(secrets: Vec<IssuerSecret>, from_file: bool) -> Vec<(String, IssuerSecret)> {
    let name = |secret: &IssuerSecret| match (from_file, secret.field.as_str()) {
        (true, field) => format!("CURFEW_ISSUERS_FILE: issuers[{}].{field}", secret.issuer),
        (false, "secret") => "JWT_SECRET".to_owned(),
        (false, field) => format!("JWKS_FILE: {field}"),
    };
    secrets.into_iter().map(|secret| (name(&secret), secret)).collect()
}

fn list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).collect()
}

fn warning(mistake: &Mistake, from_file: bool) -> String {
    let (name, problem) = by_setting(mistake, from_file);
    format!("{name}: {problem}")
}

/// Names a mistake in the document by the setting that the document's field came from.
fn by_setting(mistake: &Mistake, from_file: bool) -> (String, String) {
    let (field, problem) = (mistake.field.as_str(), mistake.problem.as_str());
    if from_file && field.starts_with("issuers") {
        return ("CURFEW_ISSUERS_FILE".to_owned(), format!("{field}: {problem}"));
    }
    match field.strip_prefix("issuers[0].") {
        Some("secret") => ("JWT_SECRET".to_owned(), problem.to_owned()),
        Some("jwks") => ("JWKS_FILE".to_owned(), problem.to_owned()),
        Some(part) if part.starts_with("required_claims.") => {
            ("CURFEW_REQUIRED_CLAIMS".to_owned(), format!("{part}: {problem}"))
        }
        Some(part) if part.starts_with("jwks.") => {
            ("JWKS_FILE".to_owned(), format!("{}: {problem}", part.trim_start_matches("jwks.")))
        }
        Some(part) => {
            let own = || format!("CURFEW_{}", part.to_uppercase());
            (setting_of(part).map_or_else(own, str::to_owned), problem.to_owned())
        }
        None => (format!("CURFEW_{}", field.to_uppercase()), problem.to_owned()),
    }
}
