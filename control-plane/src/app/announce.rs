//! What an operator is told at the start: the settings in the log, the addresses on standard output.

use std::io::Write;
use std::net::SocketAddr;

use tracing::{info, warn};

use crate::config::Config;

/// Logs the settings without their secrets, and warnings about them.
pub(super) fn tell_settings(config: &Config, (public, internal): (SocketAddr, SocketAddr)) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        %public,
        %internal,
        database = %config.database,
        issuers = config.policy.issuers().count(),
        clock_skew_seconds = config.policy.clock_skew(),
        max_token_ttl_seconds = config.policy.max_token_ttl(),
        check_timeout = ?config.check_timeout,
        purge_interval = ?config.purge.interval,
        purge_rate = config.purge.rows_per_second,
        audit_retention = ?config.audit_retention,
        request_timeout = ?config.request_timeout,
        failed_logouts_per_minute = config.limits.per_source,
        failed_logouts_per_token = config.limits.per_token,
        trusted_proxies = config.limits.trusted_proxies,
        "starting"
    );
    for warning in &config.warnings {
        warn!("{warning}");
    }
    if let Some(generated) = &config.generated {
        warn!(
            "using secrets generated for this machine, from {}: configure {} for anything else",
            generated.file.display(),
            generated.to_configure()
        );
    }
}

/// Prints the two lines that scripts wait for. From here on both listeners answer.
pub(super) fn print_addresses((public, internal): (SocketAddr, SocketAddr)) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "public  http://{public}")?;
    writeln!(stdout, "internal http://{internal}")?;
    stdout.flush()
}
