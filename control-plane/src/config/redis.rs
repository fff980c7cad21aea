//! Settings for Redis.

use std::path::PathBuf;

use clap::Args;
use curfew_core::Mistakes;

use super::environment::{Environment, read};
use crate::log::retention::Retention;
use crate::redis::{EntryRules, Settings, Target};

const URL: &str = "REDIS_URL";
const EXPIRY: &str = "REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC";
const AUTHORITY: &str = "CURFEW_REDIS_CA_FILE";
const PREFIX: &str = "CURFEW_REDIS_PREFIX";

/// In bytes. Every key begins with the prefix.
const LONGEST_PREFIX: usize = 64;

/// Settings for Redis. Its URL has no flag, because it may hold a password.
#[derive(Debug, Args)]
#[command(next_help_heading = "Redis")]
pub struct RedisArgs {
    /// File with the URL of Redis (REDIS_URL holds the URL itself)
    #[arg(long, env = "REDIS_URL_FILE", value_name = "FILE", hide_env_values = true)]
    redis_url_file: Option<PathBuf>,
    /// Certificate authority (PEM) that signed for Redis, instead of those that the system trusts
    #[arg(long, env = "CURFEW_REDIS_CA_FILE", value_name = "FILE", hide_env_values = true)]
    redis_ca_file: Option<PathBuf>,
    /// What the names of all keys in Redis begin with
    #[arg(long, env = "CURFEW_REDIS_PREFIX", value_name = "TEXT", default_value = "curfew:", hide_env_values = true)]
    redis_prefix: String,
    /// The least life of an entry in Redis, in seconds; entries live for as long as their tokens need in any case
    #[arg(long, env = "REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC", value_name = "SECONDS", hide_env_values = true)]
    redis_blacklist_object_expiry_in_sec: Option<String>,
}

impl RedisArgs {
    /// The settings, if Redis is configured.
    pub(super) fn resolve(&self, environment: &Environment, mistakes: &mut Mistakes) -> Option<Settings> {
        let url = environment.secret(URL, self.redis_url_file.as_deref(), mistakes);
        let target = url.and_then(|url| Target::parse(url.reveal()).map_err(|problem| mistakes.add(URL, problem)).ok());
        // The clock skew comes from the settings for tokens, which are not resolved yet.
        let rules = EntryRules { prefix: self.prefix(mistakes), least_life: self.least_life(mistakes), clock_skew: 0 };
        let authority = self.redis_ca_file.as_ref().and_then(|path| {
            if target.as_ref().is_some_and(|target| !target.is_encrypted()) {
                mistakes.add(AUTHORITY, "is set, but REDIS_URL asks for no TLS: rediss://");
            }
            read(AUTHORITY, path, mistakes).map(String::into_bytes)
        });
        target.map(|target| Settings { target, authority, rules })
    }

    fn prefix(&self, mistakes: &mut Mistakes) -> String {
        let prefix = &self.redis_prefix;
        let is_plain = prefix.bytes().all(|byte| byte.is_ascii_graphic()) && !prefix.contains(['{', '}']);
        if !is_plain || prefix.is_empty() || prefix.len() > LONGEST_PREFIX {
            // In a Cluster, braces would put all keys on one node.
            mistakes.add(PREFIX, "must be 1 to 64 visible ASCII characters without spaces and braces");
        }
        prefix.clone()
    }

    fn least_life(&self, mistakes: &mut Mistakes) -> Option<i64> {
        let text = self.redis_blacklist_object_expiry_in_sec.as_deref()?;
        let seconds = text.parse::<i64>().ok().filter(|seconds| *seconds > 0);
        if seconds.is_none() {
            mistakes.add(EXPIRY, "must be a whole number of seconds over zero");
        }
        seconds
    }

    /// A warning about a configured life that has no effect.
    pub(super) fn warning(&self, settings: Option<&Settings>, retention: Retention) -> Option<String> {
        let configured = self.redis_blacklist_object_expiry_in_sec.as_ref()?;
        let Some(settings) = settings else {
            return Some(format!("{EXPIRY} has no effect without REDIS_URL"));
        };
        let needed = retention.subject_until(0);
        settings.rules.least_life.filter(|life| *life < needed).map(|_| {
            format!(
                "{EXPIRY}={configured} is shorter than tokens may live: entries live for as long as their tokens need, \
                 up to {needed} seconds (CURFEW_MAX_TOKEN_TTL, clock skew and a margin)"
            )
        })
    }
}
