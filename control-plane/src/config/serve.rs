//! The settings of `curfew serve`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use curfew_core::{KeySets, Mistakes, Policy};

use super::DataArgs;
use super::access::AccessArgs;
use super::browsers::{BrowserArgs, ClearSiteData};
use super::database::DatabaseArgs;
use super::default_scope::DefaultScope;
use super::environment::Environment;
use super::frameworks::redis_hint;
use super::generated::{GENERATED_FILE, Generated};
use super::limits::{LimitArgs, Limits};
use super::listen::{Listen, ListenArgs};
use super::log::{LogArgs, LogSettings};
use super::operation::OperationArgs;
use super::redis::RedisArgs;
use super::tokens::{NO_KEYS, TokenArgs};
use crate::keys::{KeyIssuer, KeySource};
use crate::log::retention::Retention;
use crate::secret::{AppCredentials, Secret};
use crate::store::purge::Pace;
use crate::store::{Database, Settings};

/// The settings of `curfew serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    browsers: BrowserArgs,
    #[command(flatten)]
    operation: OperationArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// The resolved settings of `curfew serve`.
#[derive(Debug)]
pub struct Config {
    /// The two addresses.
    pub listen: Listen,
    /// The database.
    pub database: Database,
    /// Which tokens are accepted.
    pub policy: Policy,
    /// How much a logout without a scope logs out, by issuer namespace.
    pub default_scopes: BTreeMap<String, DefaultScope>,
    /// The keys to start with.
    pub keys: KeySets,
    /// Where the keys of each issuer come from, if not from the settings.
    pub sources: Vec<Option<KeySource>>,
    /// Where the keys of each issuer come from.
    pub key_issuers: Vec<KeyIssuer>,
    /// The secret of callers of the internal listener.
    pub internal_secret: Secret,
    /// The credentials of callers of `lgt-all`.
    pub app: AppCredentials,
    /// Redis, if it is used.
    pub redis: Option<crate::redis::Settings>,
    /// How long a check may take.
    pub check_timeout: Duration,
    /// When expired rows are removed, and how fast.
    pub purge: Pace,
    /// How much longer than needed rows about tokens are kept.
    pub audit_retention: Duration,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// Whether to start although logouts of all devices would no longer cover any token.
    pub accept_new_keyspace: bool,
    /// What browsers are told to delete at a logout.
    pub clear_site_data: ClearSiteData,
    /// How often logouts may fail.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Warnings about settings that are valid and do not do what they seem to do.
    pub warnings: Vec<String>,
    /// The generated secrets that are in use, if any are.
    pub generated: Option<InUse>,
}

/// Generated secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// Their file.
    pub file: PathBuf,
    /// The settings that are not given, and that the file has secrets for.
    pub instead_of: Vec<&'static str>,
}

impl InUse {
    /// What to set instead, for people.
    pub fn to_configure(&self) -> String {
        let words = |name: &&'static str| match *name {
            NO_KEYS => "CURFEW_ISSUER with its URL, JWKS_FILE or JWT_SECRET",
            other => other,
        };
        self.instead_of.iter().map(words).collect::<Vec<_>>().join(", ")
    }
}

impl ServeArgs {
    /// Resolves the settings. Makes the data directory and its secrets if they are needed, but only if all other
    /// settings are right.
    ///
    /// # Errors
    ///
    /// All mistakes, each with the name of its setting.
    pub fn resolve(&self, environment: &Environment) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        let config = self.judge(environment, &mut mistakes);
        if mistakes.is_empty() {
            self.database.make_directory(&self.data.data_dir, &mut mistakes);
        }
        config.filter(|_| mistakes.is_empty()).ok_or(mistakes)
    }

    /// Resolves every setting even after a mistake, so that all mistakes are found at once.
    fn judge(&self, environment: &Environment, mistakes: &mut Mistakes) -> Option<Config> {
        let redis = self.redis.resolve(environment, mistakes);
        let listen = self.listen.resolve(mistakes);
        let log = self.log.resolve(mistakes);
        let operation = self.operation.resolve(mistakes);
        let limits = self.limits.resolve(mistakes);
        let clear_site_data = self.browsers.resolve(mistakes);
        let database = self.database.named(&self.data.data_dir, mistakes);
        let keys = self.tokens.keys(environment, mistakes);
        let access = self.access.resolve(environment, mistakes);

        let missing = [keys.missing(), access.missing_internal_secret(), access.missing_app()];
        let missing: Vec<_> = missing.into_iter().flatten().collect();
        let generated = match missing.as_slice() {
            [] => None,
            missing => self.generated(missing, listen, mistakes),
        };
        let tokens = self.tokens.resolve(keys, generated.as_ref(), mistakes)?;
        access.refuse_shared_secrets(generated.as_ref(), &tokens.signing_secrets, mistakes);
        let open = listen.and_then(Listen::beyond_loopback).filter(|_| !self.operation.accept_published_secrets);
        if let Some(open) = open {
            access.refuse_weak_secrets(open, &tokens.signing_secrets, mistakes);
        }
        let retention = Settings::of(&tokens.policy).retention;
        let mut warnings = self.warnings(redis.as_ref(), retention, environment);
        warnings.extend(tokens.warnings);
        let operation = operation?;
        Some(Config {
            listen: listen?,
            database: database?,
            redis: redis.map(|redis| redis.with_clock_skew(retention.clock_skew)),
            policy: tokens.policy,
            default_scopes: tokens.default_scopes,
            keys: tokens.keys,
            sources: tokens.sources,
            key_issuers: tokens.key_issuers,
            internal_secret: access.internal_secret(generated.as_ref())?,
            app: access.app(generated.as_ref())?,
            check_timeout: operation.check_timeout,
            purge: operation.purge,
            audit_retention: operation.audit_retention,
            request_timeout: operation.request_timeout,
            accept_new_keyspace: self.operation.accept_new_keyspace,
            clear_site_data: clear_site_data?,
            limits: limits?,
            log: log?,
            warnings,
            generated: generated.map(|_| InUse { file: self.data.data_dir.join(GENERATED_FILE), instead_of: missing }),
        })
    }

    fn warnings(
        &self,
        redis: Option<&crate::redis::Settings>,
        retention: Retention,
        environment: &Environment,
    ) -> Vec<String> {
        let unknown = environment.unknown();
        let unknown =
            (!unknown.is_empty()).then(|| format!("settings that this version does not know: {}", unknown.join(", ")));
        let redis_hint = redis.is_none().then(|| redis_hint(environment)).flatten();
        let hints = self.database.hint(environment).into_iter().chain(redis_hint);
        self.redis.warning(redis, retention).into_iter().chain(unknown).chain(hints).collect()
    }

    /// Generates the secrets that were not configured, once, and only if no other machine can reach the listeners.
    fn generated(&self, missing: &[&str], listen: Option<Listen>, mistakes: &mut Mistakes) -> Option<Generated> {
        if let Some(open) = listen.and_then(Listen::beyond_loopback) {
            for name in missing {
                mistakes.add(*name, format!("must be set, because {open} is not a loopback address"));
            }
        }
        if !mistakes.is_empty() {
            return None;
        }
        Generated::load_or_create(&self.data.data_dir).map_err(|problem| mistakes.add("CURFEW_DATA_DIR", problem)).ok()
    }
}
