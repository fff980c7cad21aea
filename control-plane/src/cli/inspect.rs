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

It exits with 1 if the token is not accepted, and with 2 if there are no keys to verify it with: then it shows the token \
as it is, unverified. Whether it was logged out is not asked: see `curfew sessions`.";

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
    let mut stdout = std::io::stdout().lock();
    let mut parts = text.split('.');
    let (header, claims) = (decoded(parts.next()), decoded(parts.next()));
    writeln!(stdout, "header (unverified)\n{}", shown(header.as_ref()))?;
    writeln!(stdout, "claims (unverified)\n{}", shown(claims.as_ref()))?;
    write!(stdout, "{}", times(claims.as_ref(), Clock::system().now()))?;
    let tokens = match args.policy.resolve(environment) {
        Ok(tokens) => tokens,
        Err(mistakes) => {
            writeln!(
                stdout,
                "not verified: anybody could have made this token, because these settings do not say with what to \
                              check it"
            )?;
            return Err(mistakes.into());
        }
    };
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

/// A part of a token, whether or not it would be accepted.
fn decoded(encoded: Option<&str>) -> Option<Value> {
    let bytes = encoded.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())?;
    serde_json::from_slice(&bytes).ok()
}

fn shown(part: Option<&Value>) -> String {
    part.map_or_else(|| "  not readable".to_owned(), |json| format!("{json:#}"))
}

/// The times in the claims as dates, and how far they are from `now`.
fn times(claims: Option<&Value>, now: i64) -> String {
    let Some(claims) = claims else { return String::new() };
    let mut lines = String::new();
    for name in ["iat", "auth_time", "nbf", "exp"] {
        let Some(seconds) = claims.get(name).and_then(Value::as_i64) else { continue };
        let distance = humantime::format_duration(Duration::from_secs(now.abs_diff(seconds)));
        let relation = if seconds > now { format!("in {distance}") } else { format!("{distance} ago") };
        lines.push_str(&format!("  {name:<10}{}  {relation}\n", date(seconds)));
    }
    if lines.is_empty() { lines } else { format!("times (unverified)\n{lines}") }
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
    fn times_are_told_as_dates_and_as_distances() {
        let claims = serde_json::json!({"iat": 1_700_000_000, "exp": 1_700_003_600, "nbf": "soon"});
        assert_eq!(
            times(Some(&claims), 1_700_000_060),
            "times (unverified)\n  iat       2023-11-14T22:13:20Z  1m ago\n  exp       2023-11-14T23:13:20Z  in 59m\n"
        );
        assert_eq!(times(Some(&serde_json::json!({"sub": "alice"})), 0), "");
        assert!(times(Some(&serde_json::json!({"exp": i64::MAX})), i64::MIN).contains(" in "));
    }

    #[test]
    fn dates_are_readable_and_never_fail() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(1_700_000_000), "2023-11-14T22:13:20Z");
        for seconds in [-1, i64::MIN, i64::MAX, 253_402_300_800] {
            assert_eq!(date(seconds), seconds.to_string());
        }
    }
}
