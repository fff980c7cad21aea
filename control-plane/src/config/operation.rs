//! Intervals, rates and time limits of the server.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;
use curfew_core::Mistakes;

use crate::store::purge::Pace;

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
    /// How long a request's body may take to arrive, and after it the answer; a logout may take the length of a lease
    /// longer, and a filter's poll as long as it is held
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
    /// Listen beyond loopback with secrets that everybody knows: for trying Curfew out, on a network of your own
    #[arg(
        long,
        env = "CURFEW_ACCEPT_PUBLISHED_SECRETS",
        num_args = 0..=1,
        default_value = "false",
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        hide_env_values = true
    )]
    pub accept_published_secrets: bool,
}

/// The resolved settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) check_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) purge: Pace,
    pub(super) audit_retention: Duration,
}

/// A setting that is a duration such as `5s`, and the least and the most it may be.
struct Range {
    name: &'static str,
    least: Duration,
    most: Duration,
}

/// At a lower rate a busy system would never be rid of its rows; a higher one is no limit on any database that was measured.
const PURGE_RATES: RangeInclusive<u32> = 100..=1_000_000;

/// Ten years are more than any audit asks for.
const AUDIT_RETENTION: Range =
    Range { name: "CURFEW_AUDIT_RETENTION", least: Duration::ZERO, most: Duration::from_secs(10 * 31_557_600) };

/// A purge that runs much more often only holds logouts up; one that runs less often leaves too many rows for the next start.
const PURGE_INTERVAL: Range =
    Range { name: "CURFEW_PURGE_INTERVAL", least: Duration::from_secs(1), most: Duration::from_secs(24 * 3600) };

/// A shorter time fails every check, and no filter waits for a longer one.
const CHECK_TIMEOUT: Range =
    Range { name: "CURFEW_CHECK_TIMEOUT", least: Duration::from_millis(50), most: Duration::from_secs(10) };

/// A time shorter than a commit fails every logout; with a longer one, slow clients hold connections for too long.
const REQUEST_TIMEOUT: Range =
    Range { name: "CURFEW_REQUEST_TIMEOUT", least: Duration::from_millis(100), most: Duration::from_secs(60) };

impl OperationArgs {
    pub(super) fn resolve(&self, mistakes: &mut Mistakes) -> Option<Operation> {
        let check_timeout = CHECK_TIMEOUT.read(&self.check_timeout, mistakes);
        let purge = self.pace(mistakes);
        let audit_retention = AUDIT_RETENTION.read(&self.audit_retention, mistakes);
        let request_timeout = REQUEST_TIMEOUT.read(&self.request_timeout, mistakes);
        Some(Operation {
            check_timeout: check_timeout?,
            request_timeout: request_timeout?,
            purge: purge?,
            audit_retention: audit_retention?,
        })
    }

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
