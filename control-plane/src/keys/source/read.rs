//! Reads an issuer's source out of its entry in the configuration.
//!
//! The policy, in `curfew-core`, reads the rest of the entry, and knows nothing of fetching. It would call a misspelt
//! `jwks_ur` a misspelt `jwks`. So unknown fields are found here, beside all names that there are.

use std::path::PathBuf;
use std::time::Duration;

use curfew_core::{Fields, Mistakes};
use serde_json::Value;

use super::authority::read_authority;
use super::reach::Reach;
use super::terms::{DEFAULT_MAX_INTERVAL, DEFAULT_MIN_INTERVAL};
use super::{Discovery, FetchTerms, KeySource, KeyUrl, Source};

/// The fields that say where keys come from.
const PLACES: [&str; 3] = ["jwks_url", "jwks_file", "discovery"];

/// The fields that say how keys are fetched.
const TERMS: [&str; 7] =
    ["ca_file", "allow_private_network", "allow_http", "fetch_timeout", "min_interval", "max_interval", "keep_for"];

/// Keys in the entry itself.
const INLINE: [&str; 3] = ["jwks", "secret", "secret_base64"];

/// The other fields of an issuer that the policy reads. A test compares them with the policy's own.
const RULES: [&str; 12] = [
    "algorithm",
    "algorithms",
    "audiences",
    "clock_skew",
    "issuer",
    "keys",
    "require_issued_at",
    "require_user",
    "required_claims",
    "session_claim",
    "token_lifetime",
    "try_all_keys",
];

/// The fields that are taken out of an entry before this room sees it.
const TAKEN: [&str; 1] = ["logout_scope"];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// As the durations in a configuration count it.
const YEAR: Duration = Duration::from_secs(31_557_600);

/// Takes the fields about the source out of an issuer's entry, which stands at `path` in the configuration, and notes what
/// is wrong with them. The rest of the entry is for the policy; unknown fields are noted here and taken out too.
///
/// `None` if the entry has its keys or its secret in it, and if anything is wrong.
pub fn take_source(path: &str, entry: &mut Value, mistakes: &mut Mistakes) -> Option<KeySource> {
    // What is no object is the policy's to refuse.
    entry.as_object()?;
    let mut own = Mistakes::default();
    let source = Fields::read("", entry, &mut own, read).flatten();
    for mistake in own.iter() {
        mistakes.add(format!("{path}.{}", mistake.field), mistake.problem.clone());
    }
    if let Value::Object(object) = entry {
        object.retain(|name, _| INLINE.iter().chain(&RULES).any(|known| known == name));
    }
    source.filter(|_| own.is_empty())
}

fn read(fields: &mut Fields<'_, '_>) -> Option<KeySource> {
    for name in INLINE.iter().chain(&PLACES).chain(&TERMS).chain(&RULES).chain(&TAKEN) {
        fields.value(name);
    }
    let given: Vec<_> = INLINE.into_iter().chain(PLACES).filter(|name| is_given(name, fields)).collect();
    match given.as_slice() {
        [] => implied(fields).and_then(|source| fetched("issuer", source, fields)),
        ["jwks_url"] => {
            let source = url("jwks_url", fields).map(Source::Url);
            source.and_then(|source| fetched("jwks_url", source, fields))
        }
        ["discovery"] => {
            let source = discovery(fields).map(Source::Discovery);
            source.and_then(|source| fetched("discovery", source, fields))
        }
        [name] => {
            refuse_terms(name, fields);
            let file = fields.text("jwks_file").filter(|_| *name == "jwks_file")?;
            Some(KeySource::of_file(PathBuf::from(file)))
        }
        [first, others @ ..] => {
            fields.wrong(first, format!("is given, and so is {}: give one of them", others.join(" and ")));
            None
        }
    }
}

/// `"discovery": false` names no place.
fn is_given(name: &'static str, fields: &mut Fields<'_, '_>) -> bool {
    let value = fields.value(name);
    value.is_some() && !(name == "discovery" && value == Some(&Value::Bool(false)))
}

/// An issuer whose name is a URL publishes where its keys are.
fn implied(fields: &mut Fields<'_, '_>) -> Option<Source> {
    let name = fields.text("issuer").filter(|_| !fields.has("discovery"));
    let discovery = name.and_then(|name| Some(Discovery { issuer: name.to_owned(), at: KeyUrl::parse(name).ok()? }));
    if discovery.is_none() {
        let places = INLINE.into_iter().chain(PLACES).collect::<Vec<_>>().join(", ");
        let problem = format!("one of {places} must be given, or an issuer whose name is a URL that tells its keys");
        fields.wrong("jwks", problem);
    }
    discovery.map(Source::Discovery)
}

/// `true` asks at the issuer's own URL, and a URL asks there.
fn discovery(fields: &mut Fields<'_, '_>) -> Option<Discovery> {
    let Some(issuer) = fields.text("issuer").map(str::to_owned) else {
        fields.wrong("discovery", "needs the issuer's name (issuer), which the document must have too");
        return None;
    };
    let at = match fields.value("discovery")? {
        Value::String(_) => url("discovery", fields)?,
        Value::Bool(true) => {
            KeyUrl::parse(&issuer).map_err(|problem| fields.wrong("issuer", format!("{problem}, to be asked"))).ok()?
        }
        _ => {
            fields.wrong("discovery", "must be true, false or a URL");
            return None;
        }
    };
    Some(Discovery { issuer, at })
}

fn url(name: &'static str, fields: &mut Fields<'_, '_>) -> Option<KeyUrl> {
    let text = fields.text(name)?;
    KeyUrl::parse(text).map_err(|problem| fields.wrong(name, problem)).ok()
}

/// The source with its terms, if these allow what the field `name` says.
fn fetched(name: &str, source: Source, fields: &mut Fields<'_, '_>) -> Option<KeySource> {
    let terms = terms(fields);
    if let Some(own) = source.own_url()
        && let Err(refused) = Reach::new(own, &terms).check_url(own)
    {
        fields.wrong(name, format!("cannot be fetched: {refused}"));
    }
    Some(KeySource { source, terms })
}

fn terms(fields: &mut Fields<'_, '_>) -> FetchTerms {
    let second = Duration::from_secs(1);
    let min_interval = duration("min_interval", second, DAY, fields).unwrap_or(DEFAULT_MIN_INTERVAL);
    let max_interval = duration("max_interval", min_interval, DAY, fields);
    let max_interval = max_interval.unwrap_or(DEFAULT_MAX_INTERVAL.max(min_interval));
    FetchTerms {
        ca_file: authority(fields),
        allow_private_network: fields.boolean("allow_private_network").unwrap_or(false),
        allow_http: fields.boolean("allow_http").unwrap_or(false),
        timeout: duration("fetch_timeout", second / 10, second * 60, fields).unwrap_or(FetchTerms::default().timeout),
        min_interval,
        max_interval,
        // Shorter, and the keys would go between two fetches that both succeed.
        keep_for: duration("keep_for", max_interval, YEAR * 10, fields),
    }
}

fn authority(fields: &mut Fields<'_, '_>) -> Option<PathBuf> {
    let path = PathBuf::from(fields.text("ca_file")?);
    // Read to say now what is wrong with it. Each fetch reads it again, because an authority is replaced too.
    read_authority(&path).map_err(|problem| fields.wrong("ca_file", problem)).ok()?;
    Some(path)
}

fn duration(name: &'static str, least: Duration, most: Duration, fields: &mut Fields<'_, '_>) -> Option<Duration> {
    let duration = fields.duration(name)?;
    if !(least..=most).contains(&duration) {
        let bounds = [least, most].map(|bound| humantime::format_duration(bound).to_string());
        fields.wrong(name, format!("must be between {} and {}", bounds.first()?, bounds.last()?));
    }
    Some(duration)
}

/// A setting that has no effect is a mistake: an operator believes that it has.
fn refuse_terms(keys: &str, fields: &mut Fields<'_, '_>) {
    for name in TERMS {
        if fields.has(name) {
            fields.wrong(name, format!("is about keys that are fetched, and these come from {keys}"));
        }
    }
}

#[cfg(test)]
mod tests;
