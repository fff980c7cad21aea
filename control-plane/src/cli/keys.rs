//! `curfew keys`: which keys tokens are proven with, and how an operator takes one out of force.
//!
//! The names of keys are their issuers', and may hold anything. What could do something to a terminal is not printed: such a
//! key is named by its thumbprint.

use std::io::Write;

use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::calls::InternalUrl;
use super::inspect::date;
use crate::cli::client::{Call, CallFailure};
use crate::config::{ClientArgs, Environment};
use crate::keys::{KeyReport, LastFetch, SetReport, SetReports, shown};

pub(super) const EXAMPLES: &str = "\
Examples:
  curfew keys list
  curfew keys refresh
  curfew keys remove 2026-05
  curfew keys distrust https://issuer.example.com 2026-05
  curfew keys trust https://issuer.example.com 2026-05

A key is named by its kid or its thumbprint. ISSUER may be left out where there is only one. When a command that changes \
keys ends with 0, no worker proves tokens by the old keys any more.

It calls the internal listener with CURFEW_INTERNAL_SECRET, or with the secret that a server with the same data \
directory has generated.";

/// What is told of a name that may be mistyped.
const UNKNOWN: &str = "no key of this name is or was known; it will be refused if it is published. If the name is mistyped, \
                       curfew keys trust ends this, and curfew keys list shows the names";

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// List the keys of each issuer: which are in force, and when its source gave them
    #[command(after_help = EXAMPLES)]
    List(ListArgs),
    /// Have the keys of an issuer fetched now
    #[command(after_help = EXAMPLES)]
    Refresh(RefreshArgs),
    /// Take a key out of force, until its issuer has ceased to list it
    #[command(after_help = EXAMPLES)]
    Remove(KeyArgs),
    /// Take a key out of force, and all that ever carry its kid, until it is trusted again
    #[command(after_help = EXAMPLES)]
    Distrust(KeyArgs),
    /// End the distrust or the removal of a key
    #[command(after_help = EXAMPLES)]
    Trust(KeyArgs),
}

/// What all of them take.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    internal: InternalUrl,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct RefreshArgs {
    /// The issuer; it may be left out where there is only one
    #[arg(value_name = "ISSUER")]
    issuer: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// The issuer, which may be left out where there is only one, and the key's kid or thumbprint
    #[arg(value_names = ["ISSUER", "KID"], num_args = 1..=2, required = true, allow_hyphen_values = true)]
    names: Vec<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(command: &KeysCommand, environment: &Environment) -> Result<(), Failure> {
    match command {
        KeysCommand::List(args) => list(&args.common, environment).await,
        KeysCommand::Refresh(RefreshArgs { issuer, common }) => {
            let body = issuer.as_ref().map_or_else(|| json!({}), |issuer| json!({ "issuer": issuer }));
            change(common, "/internal/v1/keys/refresh", body, environment).await
        }
        KeysCommand::Remove(args) => hold(args, "/internal/v1/keys/remove", environment).await,
        KeysCommand::Distrust(args) => hold(args, "/internal/v1/keys/distrust", environment).await,
        KeysCommand::Trust(args) => hold(args, "/internal/v1/keys/trust", environment).await,
    }
}

async fn hold(args: &KeyArgs, path: &str, environment: &Environment) -> Result<(), Failure> {
    let body = match args.names.as_slice() {
        [issuer, key] => json!({"issuer": issuer, "key": key}),
        names => json!({"key": names.first()}),
    };
    change(&args.common, path, body, environment).await
}

async fn change(common: &Common, path: &str, body: Value, environment: &Environment) -> Result<(), Failure> {
    let answer = call(common, Method::POST, path, Some(body), environment).await?;
    let changed = answer.get("changed").and_then(Value::as_bool);
    let mut stdout = std::io::stdout().lock();
    match changed {
        _ if common.json => writeln!(stdout, "{}", ascii(&answer))?,
        Some(true) => writeln!(stdout, "other keys are in force now")?,
        Some(false) => writeln!(stdout, "the keys in force are what they were: curfew keys list shows them")?,
        None => return Err(CallFailure::Stranger(common.internal.internal_url.clone()).into()),
    }
    if answer.get("known") == Some(&Value::Bool(false)) {
        writeln!(std::io::stderr(), "warning: {UNKNOWN}")?;
    }
    Ok(())
}

async fn call(
    common: &Common,
    method: Method,
    path: &str,
    body: Option<Value>,
    environment: &Environment,
) -> Result<Value, Failure> {
    let secret = common.client.internal_secret(environment)?;
    let base = common.internal.internal_url.as_str();
    Ok(Call { base, method, path, bearer: Some(secret.reveal()), body }.send().await?)
}

async fn list(common: &Common, environment: &Environment) -> Result<(), Failure> {
    let answer = call(common, Method::GET, "/internal/v1/keys/sets", None, environment).await?;
    let mut stdout = std::io::stdout().lock();
    if common.json {
        writeln!(stdout, "{}", ascii(&answer))?;
        return Ok(());
    }
    let base = || CallFailure::Stranger(common.internal.internal_url.clone());
    let reports: SetReports = serde_json::from_value(answer).map_err(|_| base())?;
    reports.sets.iter().flat_map(lines).try_for_each(|line| writeln!(stdout, "{line}"))?;
    Ok(())
}

/// The JSON with nothing in it but plain characters: a terminal may obey others.
fn ascii(value: &Value) -> String {
    let mut text = String::new();
    for character in format!("{value:#}").chars() {
        match character {
            '\n' | ' '..='~' => text.push(character),
            other => {
                let mut units = [0; 2];
                other.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
            }
        }
    }
    text
}

fn lines(set: &SetReport) -> Vec<String> {
    let issuer = if set.issuer.is_empty() { "(no name)".to_owned() } else { ascii_word(&set.issuer) };
    let mut lines = vec![format!("{issuer}  from {}", ascii_word(&set.source))];
    match &set.keys {
        _ if set.secret => lines.push("  not listed: it is a secret".to_owned()),
        None => lines.push("  no keys are known yet".to_owned()),
        Some(keys) if keys.is_empty() => lines.push("  no key, so no token is accepted".to_owned()),
        Some(keys) => lines.extend(keys.iter().map(key_line)),
    }
    if !set.distrusted.is_empty() {
        let names: Vec<_> = set.distrusted.iter().map(|name| shown(name)).collect();
        lines.push(format!("  distrusted names: {}", names.join(", ")));
    }
    lines.extend(set.changed_at.map(|changed| format!("  changed {}", date(changed))));
    lines.extend(set.fetch.as_ref().map(fetch_line));
    lines
}

fn key_line(key: &KeyReport) -> String {
    let state = match (key.state.as_str(), key.since) {
        ("in_force", _) => "in force".to_owned(),
        ("removed", Some(since)) => format!("removed since {}", date(since)),
        ("distrusted", Some(since)) => format!("distrusted since {}", date(since)),
        _ => "in a state that this version does not know".to_owned(),
    };
    let kid = key.kid.as_deref().map_or("(no kid)", shown);
    let algorithms: Vec<_> = key.algorithms.iter().map(|name| shown(name)).collect();
    format!("  {kid}  {}  {}  {state}", shown(&key.thumbprint), algorithms.join(" "))
}

fn fetch_line(fetch: &LastFetch) -> String {
    let good = fetch.good_age.map_or_else(|| "never listed".to_owned(), |age| format!("last listed {age} s ago"));
    let next = fetch.next_at.map(|next| format!(", next asked at {}", date(next))).unwrap_or_default();
    let failures = match fetch.failures {
        1 => "1 failure".to_owned(),
        more => format!("{more} failures, the last"),
    };
    let failed = match (&fetch.error_code, &fetch.error) {
        (Some(code), Some(error)) => {
            format!("; {failures}: {} ({})", ascii_word(error), shown(code))
        }
        (Some(code), None) => format!("; {failures}: {}", shown(code)),
        (None, _) => String::new(),
    };
    format!("  {good}{next}{failed}")
}

/// The text with a question mark for each character that a terminal may obey.
fn ascii_word(text: &str) -> String {
    text.chars().map(|character| if (' '..='~').contains(&character) { character } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: Option<&str>, state: &str, since: Option<i64>) -> KeyReport {
        let (thumbprint, algorithms) = ("abc".to_owned(), vec!["RS256".to_owned(), "PS256".to_owned()]);
        KeyReport { kid: kid.map(str::to_owned), thumbprint, algorithms, state: state.to_owned(), since }
    }

    #[test]
    fn an_issuer_is_a_block_of_lines_and_nothing_in_it_reaches_the_terminal_raw() {
        let fetch = LastFetch {
            started_at: None,
            finished_at: None,
            good_at: None,
            good_age: Some(12),
            next_at: Some(1_800_000_300),
            failures: 2,
            error_code: Some("no_answer".into()),
            error: Some("no answer\u{7} in time".into()),
        };
        let set = SetReport {
            issuer: "https://issuer.example.com".into(),
            source: "a\u{1b}[31m URL".into(),
            secret: false,
            keys: Some(vec![
                key(Some("k1"), "in_force", None),
                key(Some("k\u{1b}[2J"), "removed", Some(1_800_000_000)),
                key(None, "distrusted", Some(1_800_000_000)),
            ]),
            distrusted: vec!["k9".into(), "\u{202e}x".into()],
            changed_at: Some(1_800_000_000),
            listed_at: None,
            fetch: Some(fetch),
        };
        let (since, next) = (date(1_800_000_000), date(1_800_000_300));
        assert_eq!(
            lines(&set),
            [
                "https://issuer.example.com  from a?[31m URL",
                "  k1  abc  RS256 PS256  in force",
                &format!("  (unusual)  abc  RS256 PS256  removed since {since}"),
                &format!("  (no kid)  abc  RS256 PS256  distrusted since {since}"),
                "  distrusted names: k9, (unusual)",
                &format!("  changed {since}"),
                &format!(
                    "  last listed 12 s ago, next asked at {next}; 2 failures, the last: no answer? in time (no_answer)"
                ),
            ]
        );
        let once = LastFetch { failures: 1, good_age: None, next_at: None, ..set.fetch.clone().unwrap() };
        assert_eq!(fetch_line(&once), "  never listed; 1 failure: no answer? in time (no_answer)");
        let secret = SetReport { secret: true, keys: None, distrusted: vec![], changed_at: None, fetch: None, ..set };
        assert_eq!(lines(&secret)[1..], ["  not listed: it is a secret"]);
    }

    #[test]
    fn json_is_printed_in_plain_characters() {
        let value = json!({"kid": "é\u{9b}\u{1f511}\u{7f}\n"});
        let text = ascii(&value);
        assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
