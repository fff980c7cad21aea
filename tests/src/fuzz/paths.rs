//! Any rules, and any head of a request that they decide about.
//!
//! A request may pass without a token only if a rule that opens names its path literally, if every program reads the
//! same path, and if no rule before that one requires a token by the reading of a lenient router.

use anyhow::{Context as _, Result, ensure};
use curfew_filter::config::Config;
use curfew_filter::request::Request;
use curfew_filter::rules::Action;
use serde_json::{Value, json};

use super::{Outcome, head, readers};

/// Headers from which some program takes the path or the method.
const REPLACING: [&str; 13] = [
    "x-original-url",
    "x-rewrite-url",
    "x-original-uri",
    "x-original-path",
    "x-forwarded-uri",
    "x-forwarded-path",
    "x-forwarded-method",
    "x-original-method",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "path-info",
    "x-path-info",
];

/// Headers whose value some program cuts off the path.
const CUTTING: [&str; 5] =
    ["script-name", "x-script-name", "x-forwarded-script-name", "x-forwarded-prefix", "x-traversal-path"];

/// Judges the rules in the first line, as JSON, by the head in the other lines (see [`head::read`]).
///
/// # Errors
/// The property that they break.
pub fn check(input: &[u8]) -> Result<Outcome> {
    let (first, lines) = input.split_at(input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len()));
    let Some((rules, config)) = configured(first) else { return Ok("no rules") };
    let pairs = head::read(lines);
    let headers = head::borrowed(&pairs);
    let request = Request::new(&headers);
    let action = config.rules.action(&request);
    if action == Action::Require {
        return Ok("require");
    }
    let path = request.target().split(|&byte| byte == b'?').next().unwrap_or_default();
    every_program_reads_it_alike(path)?;
    it_asks_for_nothing_else(&request)?;
    let method = request.method();
    ensure!(rules.iter().any(|rule| rule.opens_literally(method, path, action)), "{action:?} without a rule for it");
    let closed = rules.iter().take_while(|rule| rule.action == Action::Require);
    let decoded = unescaped(path);
    let ascii: Vec<u8> = decoded.iter().copied().filter(u8::is_ascii).collect();
    for rule in closed {
        for reading in [path, &decoded, &ascii] {
            ensure!(!rule.covers_leniently(method, reading), "{action:?}, but a lenient router knows it as {rule:?}");
        }
    }
    Ok(if action == Action::Skip { "skip" } else { "optional" })
}

/// The rules as the second reader reads them, and as the filter does if it accepts them.
fn configured(text: &[u8]) -> Option<(Vec<Rule>, Config)> {
    let rules: Value = serde_json::from_slice(text).ok()?;
    let read = rules.as_array()?.iter().map(Rule::read).collect::<Option<Vec<_>>>();
    let document = json!({
        "issuers": [{"secret": "a secret that guards nothing, 32 bytes"}],
        "control_plane": {"cluster": "curfew", "secret": "0123456789abcdef"},
        "rules": rules,
    });
    let config = Config::parse(document.to_string().as_bytes()).ok()?;
    Some((read?, config))
}

/// True for a path that means the same resource to every program, whether it decodes escapes, decodes them twice, or
/// does not.
fn every_program_reads_it_alike(path: &[u8]) -> Result<()> {
    ensure!(path.iter().all(u8::is_ascii_graphic), "opened with blanks or other scripts: {}", path.escape_ascii());
    let decoded = unescaped(path);
    ensure!(unescaped(&decoded) == decoded && !decoded.contains(&b'%'), "opened, and escaped twice");
    for reading in [path, &decoded] {
        let text = std::str::from_utf8(reading).context("opened, and not UTF-8")?;
        has_one_structure(text)?;
        let trimmed: String = text.split('/').map(str::trim).collect::<Vec<_>>().join("/");
        has_one_structure(&trimmed)?;
        for segment in trimmed.split('/') {
            let seen: String = segment.chars().filter(char::is_ascii_graphic).collect();
            ensure!(!matches!(seen.as_str(), "." | ".."), "opened with dots and what nobody sees: {text:?}");
        }
    }
    let text = String::from_utf8_lossy(&decoded);
    ensure!(!text.contains(STRUCTURING), "opened with a character that turns into another: {text:?}");
    Ok(())
}

/// Characters that Unicode's compatible forms or Windows' best fit turn into dots, slashes, blanks and the like.
const STRUCTURING: [char; 24] = [
    '\u{a0}',
    '\u{a5}',
    '\u{37e}',
    '\u{1fef}',
    '\u{2024}',
    '\u{2025}',
    '\u{2026}',
    '\u{2044}',
    '\u{2100}',
    '\u{2105}',
    '\u{2215}',
    '\u{2216}',
    '\u{2488}',
    '\u{3000}',
    '\u{33c2}',
    '\u{fe30}',
    '\u{fe52}',
    '\u{fe54}',
    '\u{fe68}',
    '\u{ff0e}',
    '\u{ff0f}',
    '\u{ff1b}',
    '\u{ff3c}',
    '\u{1f100}',
];

fn has_one_structure(text: &str) -> Result<()> {
    ensure!(text.starts_with('/'), "opened without a slash before it: {text:?}");
    ensure!(!text.contains([';', '\\', '#', '?']), "opened with a second reading: {text:?}");
    ensure!(!text.contains(char::is_control), "opened with a control character: {text:?}");
    let last = text.split('/').count() - 1;
    for (index, segment) in text.split('/').enumerate() {
        ensure!(!matches!(segment, "." | ".."), "opened with dots: {text:?}");
        ensure!(!segment.is_empty() || index == 0 || index == last, "opened with two slashes: {text:?}");
    }
    ensure!(text == "/" || !text.ends_with("//"), "opened with slashes at the end: {text:?}");
    Ok(())
}

/// Decodes once. What is no escape stays as it is.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).filter(|_| byte == b'%');
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(unescaped) => {
                decoded.push(unescaped);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

/// True if no header and no parameter makes a framework take another path or method.
fn it_asks_for_nothing_else(request: &Request<'_>) -> Result<()> {
    for (name, value) in request.headers() {
        let is_one_of = |headers: &[&str]| headers.iter().any(|header| readers::same_header(name, header));
        let harmless = value == request.target() || value == request.method();
        ensure!(!is_one_of(&CUTTING), "opened with {}", name.escape_ascii());
        ensure!(!is_one_of(&REPLACING) || harmless, "opened with {}: {}", name.escape_ascii(), value.escape_ascii());
    }
    for (reader, find) in readers::QUERY {
        ensure!(find(request.query(), "_method").is_empty(), "opened, and {reader} finds another method");
    }
    Ok(())
}

/// A rule as the second reader reads it.
#[derive(Debug)]
struct Rule {
    action: Action,
    methods: Vec<String>,
    path: String,
    prefix: bool,
}

impl Rule {
    fn read(rule: &Value) -> Option<Self> {
        let text = |name: &str| rule.get(name).and_then(Value::as_str).map(str::to_owned);
        let action = match text("action")?.as_str() {
            "require" => Action::Require,
            "optional" => Action::Optional,
            _ => Action::Skip,
        };
        let methods = rule.get("methods").and_then(Value::as_array).into_iter().flatten();
        let methods = methods.filter_map(Value::as_str).map(str::to_owned).collect();
        let (path, prefix) = (text("path"), text("prefix"));
        Some(Self { action, methods, prefix: prefix.is_some(), path: path.or(prefix)? })
    }

    fn opens_literally(&self, method: &[u8], path: &[u8], action: Action) -> bool {
        let asked = self.methods.is_empty() || self.methods.iter().any(|own| own.as_bytes() == method);
        self.action == action && asked && self.covers(path, self.path.as_bytes())
    }

    /// Compares whole segments.
    fn covers(&self, path: &[u8], own: &[u8]) -> bool {
        let below = if own.ends_with(b"/") { own.to_vec() } else { [own, b"/"].concat() };
        path == own || (self.prefix && path.starts_with(&below))
    }

    /// Ignores case, a slash at the end and a format's suffix; GET also means HEAD.
    fn covers_leniently(&self, method: &[u8], path: &[u8]) -> bool {
        let method = method.to_ascii_uppercase();
        let asked = |own: &String| own.as_bytes() == method || (own == "GET" && method == b"HEAD");
        let own = self.path.to_ascii_lowercase().into_bytes();
        let own = own.strip_suffix(b"/").unwrap_or(&own);
        let path = path.to_ascii_lowercase();
        let plain = path.strip_suffix(b"/").unwrap_or(&path);
        let readings = [&path, plain, without_suffix(&path), without_suffix(plain)];
        (self.methods.is_empty() || self.methods.iter().any(asked))
            && readings.iter().any(|path| self.covers(path, own))
    }
}

/// Without the part after a dot in the last segment.
fn without_suffix(path: &[u8]) -> &[u8] {
    let segment = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let dot = path.iter().skip(segment).position(|&byte| byte == b'.').filter(|dot| *dot > 0);
    dot.and_then(|dot| path.get(..segment + dot)).unwrap_or(path)
}
