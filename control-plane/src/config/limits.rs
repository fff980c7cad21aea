//! The limits on failed logouts, and the number of proxies that are trusted to name a client's address.

use clap::Args;
use curfew_core::Mistakes;

/// The highest limit on failures in a minute. 0 means no limit.
const MOST_FAILURES: u32 = 1_000_000;

/// More proxies in a row than any installation has.
const MOST_PROXIES: usize = 16;

/// More connections than a listener has.
const MOST_CONNECTIONS: u32 = 1_000_000;

/// Limits on failed logouts and on connections.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Failed logouts a minute from one address after which more are answered 429; 0 for no limit
    #[arg(
        long,
        env = "CURFEW_FAILED_LOGOUTS_PER_MINUTE",
        value_name = "COUNT",
        default_value = "60",
        hide_env_values = true
    )]
    failed_logouts_per_minute: String,
    /// Failed logouts a minute with one token after which more are answered 429; 0 for no limit
    #[arg(
        long,
        env = "CURFEW_FAILED_LOGOUTS_PER_TOKEN",
        value_name = "COUNT",
        default_value = "10",
        hide_env_values = true
    )]
    failed_logouts_per_token: String,
    /// Proxies of your own before the public listener, each of which writes X-Forwarded-For
    #[arg(long, env = "CURFEW_TRUSTED_PROXIES", value_name = "COUNT", default_value = "0", hide_env_values = true)]
    trusted_proxies: String,
    /// Connections of one address to a listener, beyond which another is taken only while there is room: a quarter of the
    /// listener's without this; 0 for no limit
    #[arg(long, env = "CURFEW_CONNECTIONS_PER_ADDRESS", value_name = "COUNT", hide_env_values = true)]
    connections_per_address: Option<String>,
}

/// The resolved limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failures in a minute from one source; 0 for no limit.
    pub per_source: u32,
    /// Failures in a minute with one token; 0 for no limit.
    pub per_token: u32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: usize,
    /// Connections of one address to a listener; 0 for no limit, `None` for a quarter of the listener's.
    pub connections_per_address: Option<u32>,
}

impl LimitArgs {
    pub(super) fn resolve(&self, mistakes: &mut Mistakes) -> Option<Limits> {
        let per_source =
            number("CURFEW_FAILED_LOGOUTS_PER_MINUTE", &self.failed_logouts_per_minute, MOST_FAILURES, mistakes);
        let per_token =
            number("CURFEW_FAILED_LOGOUTS_PER_TOKEN", &self.failed_logouts_per_token, MOST_FAILURES, mistakes);
        let trusted_proxies = number("CURFEW_TRUSTED_PROXIES", &self.trusted_proxies, MOST_PROXIES, mistakes);
        let share = self.connections_per_address.as_deref();
        let share = share.map(|text| number("CURFEW_CONNECTIONS_PER_ADDRESS", text, MOST_CONNECTIONS, mistakes));
        Some(Limits {
            per_source: per_source?,
            per_token: per_token?,
            trusted_proxies: trusted_proxies?,
            connections_per_address: share.flatten(),
        })
    }
}

fn number<N>(name: &str, text: &str, most: N, mistakes: &mut Mistakes) -> Option<N>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = text.parse().ok().filter(|number| *number <= most);
    if number.is_none() {
        mistakes.add(name, format!("must be a number from 0 to {most}"));
    }
    number
}
