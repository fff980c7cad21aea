//! Any bytes as the filter's configuration.
//!
//! An accepted configuration keeps every promise that the rest of the filter relies on. A refusal consists of lines
//! that an operator can read and that show no secret.

use anyhow::{Result, ensure};
use curfew_core::Mistakes;
use curfew_filter::config::{Config, Consistency};
use curfew_filter::request::Request;
use curfew_filter::rules::Action;
use curfew_filter::sources::{Source, Sources, extract};
use serde_json::Value;
use std::time::Duration;

use super::{Outcome, readers};

/// The text that replaces every secret, so that a leak can be found.
const MARK: &str = "Zq7xW2kvZq7xW2kv";

/// The longest line about one mistake, and the largest number of lines.
const LONGEST_LINE: usize = 1024;
const MOST_LINES: usize = 100;

/// Judges a configuration.
///
/// # Errors
/// The property that it breaks.
pub fn check(bytes: &[u8]) -> Result<Outcome> {
    let outcome = judge(bytes)?;
    if let Ok(mut document) = serde_json::from_slice::<Value>(bytes) {
        mark_secrets(&mut document);
        let marked = document.to_string();
        let shown = match Config::parse(marked.as_bytes()) {
            Ok(config) => format!("{config:?}"),
            Err(mistakes) => format!("{mistakes} {mistakes:?}"),
        };
        ensure!(!shown.contains(MARK), "a secret is shown: {shown}");
    }
    Ok(outcome)
}

fn judge(bytes: &[u8]) -> Result<Outcome> {
    match Config::parse(bytes) {
        Ok(config) => {
            keeps_its_promises(&config)?;
            every_place_is_read(&config)?;
            Ok("accepted")
        }
        Err(mistakes) => {
            is_readable(&mistakes)?;
            let only = mistakes.iter().all(|mistake| mistake.field == "configuration");
            Ok(if only { "not JSON" } else { "refused" })
        }
    }
}

fn is_readable(mistakes: &Mistakes) -> Result<()> {
    ensure!(!mistakes.is_empty(), "refused without a reason");
    ensure!(mistakes.iter().count() <= MOST_LINES, "{} lines", mistakes.iter().count());
    for mistake in mistakes.iter() {
        let line = mistake.to_string();
        ensure!(!mistake.problem.is_empty() && line.len() <= LONGEST_LINE, "a line of {} bytes", line.len());
        ensure!(!line.chars().any(char::is_control), "a line with control characters: {line:?}");
    }
    Ok(())
}

/// The documented limits of the fields, and the assumptions of the code that uses them.
fn keeps_its_promises(config: &Config) -> Result<()> {
    let plane = &config.control_plane;
    ensure!(
        (Duration::from_millis(1)..=Duration::from_secs(60)).contains(&plane.timeout),
        "timeout {:?}",
        plane.timeout
    );
    match config.consistency {
        Consistency::Bounded { max_staleness } => {
            ensure!(max_staleness <= Duration::from_secs(3600), "max_staleness {max_staleness:?}");
        }
        Consistency::Strict { replica_bytes } => {
            ensure!((64 << 10..=512 << 20).contains(&replica_bytes), "replica_bytes {replica_bytes}");
        }
    }
    ensure!((1 << 16..=1 << 28).contains(&config.cache_bytes), "cache_bytes {}", config.cache_bytes);
    let secret = plane.authorization.strip_prefix("Bearer ").unwrap_or_default();
    ensure!(secret.len() >= 16 && visible(secret), "a secret that no header carries");
    ensure!(!plane.cluster.is_empty() && visible(&plane.authority), "cluster or authority: {plane:?}");
    ensure!(config.policy.issuers().next().is_some(), "no issuer");
    ensure!((0..=300).contains(&config.policy.clock_skew()), "clock_skew {}", config.policy.clock_skew());
    ensure!((1..=315_576_000).contains(&config.policy.max_token_ttl()), "max_token_ttl");
    for issuer in config.policy.issuers() {
        ensure!(config.policy.knows(config.policy.keyspace(issuer)), "an issuer without a keyspace");
    }
    identity_headers(config)?;
    for path in ["//", "/%2e", "/..", "", "*", "/a//b"] {
        let headers = [(&b":path"[..], path.as_bytes())];
        ensure!(config.rules.action(&Request::new(&headers)) == Action::Require, "{path:?} is open");
    }
    Ok(())
}

fn identity_headers(config: &Config) -> Result<()> {
    let headers = &config.identity_headers;
    for (index, header) in headers.iter().enumerate() {
        let plain =
            |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
        ensure!(!header.name.is_empty() && header.name.bytes().all(plain), "an identity header {:?}", header.name);
        let reserved = ["authorization", "cookie", "host", "content-length", "transfer-encoding", "connection"];
        ensure!(!reserved.contains(&&*header.name), "the identity header {}", header.name);
        let mut others = headers.iter().skip(index + 1);
        let twice = others.any(|other| readers::same_header(other.name.as_bytes(), &header.name));
        ensure!(!twice, "two identity headers {}", header.name);
    }
    Ok(())
}

/// A token in a configured place is found there.
fn every_place_is_read(config: &Config) -> Result<()> {
    ensure!(!config.sources.places.is_empty(), "no place for a token");
    for source in &config.sources.places {
        let (name, value) = match source {
            Source::Header(source) => {
                let prefix = source.prefixes.first().map_or("Bearer", String::as_str);
                (source.name.clone(), format!("{prefix} a.b.c"))
            }
            Source::Cookie(name) => ("cookie".to_owned(), format!("a=1; {name}=a.b.c; b=2")),
            Source::Query(name) => (":path".to_owned(), format!("/?a=1&{name}=a.b.c&b=2")),
            Source::Subprotocol(name) => ("sec-websocket-protocol".to_owned(), format!("chat, {name}.a.b.c")),
        };
        let headers = [(name.as_bytes(), value.as_bytes())];
        let taken = extract(&Sources::new(vec![source.clone()]), &Request::new(&headers));
        ensure!(taken == Ok(Some(b"a.b.c")), "a token in {source:?} gives {taken:?}");
    }
    Ok(())
}

fn visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Replaces every secret that is longer than the mark by one that contains the mark.
fn mark_secrets(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(mark_secrets),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if ["secret", "secret_base64", "k"].contains(&name.as_str()) => {
                        *text = MARK.chars().cycle().take(text.len().max(MARK.len())).collect();
                    }
                    value => mark_secrets(value),
                }
            }
        }
        _ => {}
    }
}
