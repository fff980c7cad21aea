//! Any head of a request, before the filter takes the token out of it.
//!
//! No program behind the filter may find another token than the filter took: that would be a credential that was never
//! checked. If one would, the filter must refuse the request.

use anyhow::{Result, ensure};
use curfew_filter::request::Request;
use curfew_filter::sources::{Source, Sources, extract};

use super::{Outcome, head, readers};

/// The configured places: the default, all kinds, and names that need care.
fn configured() -> [Sources; 4] {
    let header = Source::header;
    let (cookie, query) = (|name: &str| Source::Cookie(name.to_owned()), |name: &str| Source::Query(name.to_owned()));
    let all = [
        vec![header("authorization")],
        vec![header("x-token"), query("t"), cookie("__Host-jwt")],
        vec![header("authorization"), cookie("access_token"), query("access_token")],
        vec![header("authorization"), cookie("access_token"), Source::Subprotocol("access_token".to_owned())],
    ];
    let mut all = all.map(Sources::new);
    if let Some(last) = all.last_mut() {
        last.ignore_other_schemes = true;
    }
    all
}

/// Judges a head: lines of `name:value`.
///
/// # Errors
/// The property that it breaks.
pub fn check(lines: &[u8]) -> Result<Outcome> {
    let pairs = head::read(lines);
    let headers = head::borrowed(&pairs);
    let request = Request::new(&headers);
    let mut outcome = "none";
    for sources in configured() {
        let taken = extract(&sources, &request);
        outcome = match taken {
            Ok(Some(token)) if !token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte)) => {
                // The gate refuses it, whatever other readers find in it.
                "no token"
            }
            Ok(taken) => {
                no_reader_finds_another_token(&sources, &request, taken.unwrap_or_default())?;
                if taken.is_some() { "one" } else { "none" }
            }
            Err(_) => "ambiguous",
        };
    }
    Ok(outcome)
}

/// Every reader finds the token that was taken, or none.
fn no_reader_finds_another_token(sources: &Sources, request: &Request<'_>, taken: &[u8]) -> Result<()> {
    for source in &sources.places {
        for (reader, found) in found(source, request) {
            let (shown, ours) = (found.escape_ascii(), taken.escape_ascii());
            let foreign = sources.ignore_other_schemes && !found.contains(&b'.');
            ensure!(
                found.is_empty() || found == taken || foreign,
                "{reader} finds {shown} in {source:?}, and {ours} was taken"
            );
        }
    }
    Ok(())
}

/// Each reader and what it finds.
fn found(source: &Source, request: &Request<'_>) -> Vec<(&'static str, Vec<u8>)> {
    let lists = |list: &[u8], readers: &[(&'static str, readers::Find)], name: &str| -> Vec<(&'static str, Vec<u8>)> {
        let values = readers.iter().map(|(reader, find)| (*reader, find(list, name)));
        values.flat_map(|(reader, found)| found.into_iter().map(move |value| (reader, value))).collect()
    };
    match source {
        Source::Header(source) => {
            let values = request.headers().filter(|(own, _)| readers::same_header(own, &source.name));
            let credentials = values.flat_map(|(_, value)| readers::credentials(value));
            credentials.map(|credential| ("a reader of headers", credential)).collect()
        }
        Source::Cookie(name) => {
            request.values("cookie").flat_map(|header| lists(header, &readers::COOKIE, name)).collect()
        }
        Source::Query(name) => {
            let query = request.target().iter().position(|&byte| byte == b'?');
            let query = query.and_then(|mark| request.target().get(mark + 1..)).unwrap_or_default();
            lists(query, &readers::QUERY, name)
        }
        Source::Subprotocol(name) => {
            let values = request.headers().filter(|(own, _)| readers::same_header(own, "sec-websocket-protocol"));
            let entries = values.flat_map(|(_, value)| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
            let marked = |entry: &[u8]| Some(entry.strip_prefix(name.as_bytes())?.strip_prefix(b".")?.to_vec());
            entries.filter_map(marked).map(|token| ("a reader of subprotocols", token)).collect()
        }
    }
}
