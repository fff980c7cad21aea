//! Configuration: from flags and environment to values that cannot be wrong.
//!
//! Every mistake is collected and named by its setting, so an operator mends them in one go. Secrets come from the
//! environment or from files and never from flags: a flag shows in the list of processes.

mod access;
mod commands;
mod database;
mod environment;
mod generated;
mod limits;
mod listen;
mod log;
mod names;
mod redis;
mod signer;
mod tokens;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use curfew_core::{KeySets, Mistakes, Policy};

use crate::secret::{AppCredentials, Secret};
use crate::store::purge::Pace;
use crate::store::{Database, Settings};

pub use access::AccessArgs;
pub use commands::{AdoptArgs, Adoption, ClientArgs, MigrateArgs, PolicyArgs};
pub use database::DatabaseArgs;
pub use environment::Environment;
pub use generated::GENERATED_FILE;
pub use limits::{LimitArgs, Limits};
pub use listen::{Listen, ListenArgs};
pub use log::{LogArgs, LogFormat, LogSettings};
pub use redis::RedisArgs;
pub use signer::{Signer, SigningSecret};
pub use tokens::{TokenArgs, Tokens};

use generated::Generated;
#[cfg(test)]
pub(crate) use names::is_setting;

/// Where the data directory is, and with it the generated secrets.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Directory of the embedded database and of generated secrets
    #[arg(long, env = "CURFEW_DATA_DIR", value_name = "DIR", default_value = "./curfew-data", hide_env_values = true)]
    pub data_dir: PathBuf,
}

/// How the server behaves in time.
#[derive(Debug, Args)]
#[command(next_help_heading = "Operation")]
pub struct OperationArgs {
    /// How often expired rows are removed
    #[arg(long, env = "CURFEW_PURGE_INTERVAL", value_name = "DURATION", default_value = "60s", hide_env_values = true)]
    pub purge_interval: String,
    /// How long a check may take, Redis and the database together: less than the filter's control_plane.timeout
    #[arg(
        long,
        env = "CURFEW_CHECK_TIMEOUT",
        value_name = "DURATION",
        default_value = "400ms",
        hide_env_values = true
    )]
    pub check_timeout: String,
    /// How many expired rows a second are removed at most
    #[arg(long, env = "CURFEW_PURGE_RATE", value_name = "ROWS", default_value = "5000", hide_env_values = true)]
    pub purge_rate: String,
    /// How much longer than needed rows about tokens are kept, for audits
    #[arg(long, env = "CURFEW_AUDIT_RETENTION", value_name = "DURATION", default_value = "0s", hide_env_values = true)]
    pub audit_retention: String,
    /// How long a request's body may take to arrive
    #[arg(
        long,
        env = "CURFEW_REQUEST_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s",
        hide_env_values = true
    )]
    pub request_timeout: String,
    /// Start though logouts of all devices were made under names of issuers or claims that are no longer configured
    #[arg(
        long,
        env = "CURFEW_ACCEPT_NEW_KEYSPACE",
        value_name = "BOOL",
        num_args = 0..=1,
        default_value = "false",
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        hide_env_values = true
    )]
    pub accept_new_keyspace: bool,
}

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
    /// The keys to start with.
    pub keys: KeySets,
    /// What callers of the internal listener must know.
    pub internal_secret: Secret,
    /// What callers of `lgt-all` must know.
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
    /// Whether to start though logouts of all devices would reach nobody.
    pub accept_new_keyspace: bool,
    /// How often logouts may fail.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: LogSettings,
    /// What the operator should hear about settings that are not wrong, but do not do what they seem to.
    pub warnings: Vec<String>,
    /// The file whose generated secrets are in use, if any are.
    pub generated: Option<PathBuf>,
}

impl ServeArgs {
    /// Resolves the settings. Makes the data directory and the secrets in it where they are needed, though only if
    /// nothing is wrong with the rest.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, by the name of its setting.
    pub fn resolve(&self, environment: &Environment) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        let redis = self.redis.resolve(environment, &mut mistakes);
        let listen = self.listen.resolve(&mut mistakes);
        let log = self.log.resolve(&mut mistakes);
        let check_timeout = CHECK_TIMEOUT.read(&self.operation.check_timeout, &mut mistakes);
        let purge = self.operation.pace(&mut mistakes);
        let audit_retention = AUDIT_RETENTION.read(&self.operation.audit_retention, &mut mistakes);
        let request_timeout = REQUEST_TIMEOUT.read(&self.operation.request_timeout, &mut mistakes);
        let limits = self.limits.resolve(&mut mistakes);
        let database = self.database.resolve(&self.data.data_dir, &mut mistakes);
        let keys = self.tokens.keys(environment, &mut mistakes);
        let access = self.access.resolve(environment, &mut mistakes);

        let missing = [keys.missing(), access.missing_internal_secret(), access.missing_app()];
        let generated = match missing.into_iter().flatten().collect::<Vec<_>>().as_slice() {
            [] => None,
            missing => self.generated(missing, listen, &mut mistakes),
        };
        let tokens = self.tokens.resolve(keys, generated.as_ref(), &mut mistakes);
        if let Some(tokens) = &tokens {
            access.refuse_signing_secret(&tokens.signers, &mut mistakes);
        }
        let retention = tokens.as_ref().map(|tokens| Settings::of(&tokens.policy).retention);
        let warning = retention.and_then(|retention| self.redis.warning(redis.as_ref(), retention));
        let mut warnings: Vec<_> = warning.into_iter().collect();
        let unknown = environment.unknown();
        if !unknown.is_empty() {
            warnings.push(format!("settings that this version does not know: {}", unknown.join(", ")));
        }
        let internal_secret = access.internal_secret(generated.as_ref());
        let app = access.app(generated.as_ref());
        match (
            listen,
            log,
            purge.zip(audit_retention),
            check_timeout,
            request_timeout,
            limits,
            database,
            tokens,
            internal_secret,
            app,
        ) {
            (
                Some(listen),
                Some(log),
                Some((purge, audit_retention)),
                Some(check_timeout),
                Some(request_timeout),
                Some(limits),
                Some(database),
                Some(tokens),
                Some(internal_secret),
                Some(app),
            ) if mistakes.is_empty() => Ok(Config {
                listen,
                database,
                redis: redis.map(|redis| redis.with_clock_skew(Settings::of(&tokens.policy).retention.clock_skew)),
                policy: tokens.policy,
                keys: tokens.keys,
                internal_secret,
                app,
                check_timeout,
                purge,
                audit_retention,
                request_timeout,
                accept_new_keyspace: self.operation.accept_new_keyspace,
                limits,
                log,
                warnings,
                generated: generated.map(|_| self.data.data_dir.join(GENERATED_FILE)),
            }),
            _ => Err(mistakes),
        }
    }

    /// Secrets for what was not configured: made once, and only for a machine of one's own.
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

/// A setting that is a duration such as `5s`, and the least and the most it may be.
struct Range {
    name: &'static str,
    least: Duration,
    most: Duration,
}

impl OperationArgs {
    fn pace(&self, mistakes: &mut Mistakes) -> Option<Pace> {
        let interval = PURGE_INTERVAL.read(&self.purge_interval, mistakes);
        let rate = self.purge_rate.parse().ok().filter(|rate| PURGE_RATES.contains(rate));
        if rate.is_none() {
            let (least, most) = (PURGE_RATES.start(), PURGE_RATES.end());
            mistakes.add("CURFEW_PURGE_RATE", format!("must be a number from {least} to {most}"));
        }
        Some(Pace { interval: interval?, rows_per_second: rate? })
    }
}

/// Fewer, and a busy system would never be rid of its rows; more is no limit on any database that we measured.
const PURGE_RATES: std::ops::RangeInclusive<u32> = 100..=1_000_000;

/// Ten years are more than any audit asks for.
const AUDIT_RETENTION: Range =
    Range { name: "CURFEW_AUDIT_RETENTION", least: Duration::ZERO, most: Duration::from_secs(10 * 31_557_600) };

/// Much more often, the purge would do nothing but hold logouts up; less often, a start would find a mountain.
const PURGE_INTERVAL: Range =
    Range { name: "CURFEW_PURGE_INTERVAL", least: Duration::from_secs(1), most: Duration::from_secs(24 * 3600) };

/// Less than a check takes would fail every one; more, and no filter waits for it.
const CHECK_TIMEOUT: Range =
    Range { name: "CURFEW_CHECK_TIMEOUT", least: Duration::from_millis(50), most: Duration::from_secs(10) };

/// Less than a commit takes would fail every logout; more, and slow clients could hold what they like.
const REQUEST_TIMEOUT: Range =
    Range { name: "CURFEW_REQUEST_TIMEOUT", least: Duration::from_millis(100), most: Duration::from_secs(60) };

impl Range {
    fn read(&self, text: &str, mistakes: &mut Mistakes) -> Option<Duration> {
        let parsed = humantime::parse_duration(text).ok();
        let duration = parsed.filter(|duration| (self.least..=self.most).contains(duration));
        if duration.is_none() {
            let [least, most] = [self.least, self.most].map(humantime::format_duration);
            mistakes.add(self.name, format!(r#"must be a duration from {least} to {most}, such as "5s""#));
        }
        duration
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
