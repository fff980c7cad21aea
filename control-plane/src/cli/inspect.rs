//! `curfew token inspect`: what is in a token, and what this configuration makes of it.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use curfew_core::{ProvenToken, TokenError, verify_natively};
use serde_json::Value;

use super::{Failure, token_text};
use crate::clock::Clock;
use crate::config::{Environment, PolicyArgs, Tokens};

pub(super) const EXAMPLES: &str = "\
Examples:
  curfew token inspect < token.txt
  curfew token mint --user alice | curfew token inspect -

It exits with 1 if the token is not accepted. Whether it was logged out is not asked: see `curfew sessions`.";

/// The arguments of `curfew token inspect`. No `Debug`: they hold a token.
#[derive(Args)]
pub(super) struct InspectArgs {
    /// The token; - reads it from standard input
    #[arg(value_name = "TOKEN", default_value = "-")]
    token: String,
    #[command(flatten)]
    policy: PolicyArgs,
}

pub(super) fn inspect(args: &InspectArgs, environment: &Environment) -> Result<(), Failure> {
    let text = token_text::read(&args.token)?;
    let tokens = args.policy.resolve(environment)?;
    let mut stdout = std::io::stdout().lock();
    let mut parts = text.split('.');
    for name in ["header", "claims"] {
        writeln!(stdout, "{name} (unverified)\n{}", part(parts.next()))?;
    }
    match judge(&tokens, &text) {
        Ok(token) => {
            writeln!(stdout, "{}\naccepted", keys(&token, &tokens.user_claim))?;
            Ok(())
        }
        Err(error) => {
            writeln!(stdout, "not accepted: {error} ({})", error.reason())?;
            Err(Failure::NotAccepted)
        }
    }
}

fn judge(tokens: &Tokens, text: &str) -> Result<ProvenToken, TokenError> {
    tokens.policy.prove(text.as_bytes(), Clock::system().now(), &tokens.keys, verify_natively)
}

/// A part of a token for people to read, whether or not it would be accepted.
fn part(encoded: Option<&str>) -> String {
    let decoded = encoded.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    match decoded.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()) {
        Some(json) => format!("{json:#}"),
        None => "  not readable".to_owned(),
    }
}

fn keys(token: &ProvenToken, user_claim: &str) -> String {
    let mut lines = vec![
        format!("issuer namespace  {:?}", token.issuer),
        format!("expires           {}", date(token.times.expires_at)),
        format!("keyspace          {}", token.keyspace),
    ];
    let named = token.keys.iter().map(|(kind, key)| format!("{:<18}{key}", format!("{} key", kind.as_str())));
    lines.extend(named);
    if token.user.is_none() {
        lines.push(format!("names no user: there is no claim {user_claim:?}, so no logout of all devices reaches it"));
    }
    lines.join("\n")
}

/// A moment in the format of RFC 3339.
pub(super) fn date(seconds: i64) -> String {
    let moment = u64::try_from(seconds).ok().and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    // The formatter ends at the year 9999. Later moments are shown as numbers.
    match moment {
        Some(moment) if seconds < 253_402_300_800 => humantime::format_rfc3339_seconds(moment).to_string(),
        _ => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_readable_and_never_fail() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(1_700_000_000), "2023-11-14T22:13:20Z");
        for seconds in [-1, i64::MIN, i64::MAX, 253_402_300_800] {
            assert_eq!(date(seconds), seconds.to_string());
        }
    }
}
