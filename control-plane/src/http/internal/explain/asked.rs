//! Reads which filter and which request a caller means, within limits. No error quotes the request.

use curfew_filter::sources::Head;
use serde::Deserialize;
use serde_json::Value;

use crate::http::problem::ApiError;

/// The most bytes of a filter's configuration.
const MOST_CONFIGURATION: usize = 256 * 1024;

/// The most bytes of a request's head, as of Envoy's by default.
const MOST_HEAD: usize = 60 * 1024;

/// The most headers, as of Envoy's by default.
const MOST_HEADERS: usize = 100;

/// The word for a request without the token.
const NOWHERE: &str = "none";

/// The request that a caller means.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct Sent {
    method: Option<String>,
    path: Option<String>,
    host: Option<String>,
    headers: Vec<Line>,
    source: Option<String>,
}

/// A header of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    value: String,
}

/// Where the token goes.
pub(super) enum Place {
    /// Where the filter looks for it first.
    First,
    /// Into this place of the filter's.
    Wanted(String),
    /// The request has none.
    Nowhere,
}

/// A filter's configuration, and a request's head without the token. No `Debug`: both may hold secrets.
pub(super) struct Asked {
    pub(super) configuration: String,
    pub(super) head: Head,
    pub(super) place: Place,
}

impl Asked {
    /// `None` if no filter is asked about.
    pub(super) fn read(filter: Option<Value>, request: Option<Sent>) -> Result<Option<Self>, ApiError> {
        let configuration = match (filter, &request) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(malformed("request needs filter, a filter's configuration.")),
            (Some(Value::String(text)), _) => text,
            (Some(document @ Value::Object(_)), _) => document.to_string(),
            (Some(_), _) => return Err(malformed("filter is neither an object nor a text.")),
        };
        if configuration.len() > MOST_CONFIGURATION {
            return Err(ApiError::Malformed(format!("filter has more than {MOST_CONFIGURATION} bytes.")));
        }
        let Sent { method, path, host, headers, source } = request.unwrap_or_default();
        let head = head(method, path, host, headers)?;
        let place = match source {
            None => Place::First,
            Some(source) if source == NOWHERE => Place::Nowhere,
            Some(source) => Place::Wanted(source),
        };
        Ok(Some(Self { configuration, head, place }))
    }
}

/// The pseudo-headers and the headers, as Envoy hands them to a filter.
fn head(
    method: Option<String>,
    path: Option<String>,
    host: Option<String>,
    headers: Vec<Line>,
) -> Result<Head, ApiError> {
    let method = method.unwrap_or_else(|| "GET".to_owned());
    let path = path.unwrap_or_else(|| "/".to_owned());
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    if !is_token(&method) {
        return Err(malformed("request.method is no method."));
    }
    if !(path.starts_with('/') || path == "*") || !is_visible(&path) {
        return Err(malformed("request.path does not begin with a slash, or has a space or a control character."));
    }
    if host.is_empty() || !is_visible(&host) {
        return Err(malformed("request.host is empty, or has a space or a control character."));
    }
    if headers.len() > MOST_HEADERS {
        return Err(ApiError::Malformed(format!("request.headers has more than {MOST_HEADERS} headers.")));
    }
    let pseudo = [(":method", method), (":path", path), (":scheme", "https".to_owned()), (":authority", host)];
    let mut head: Head = pseudo.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    for (index, Line { name, value }) in headers.into_iter().enumerate() {
        head.push(
            line(&name, value).map_err(|problem| ApiError::Malformed(format!("request.headers[{index}]{problem}")))?,
        );
    }
    let bytes: usize = head.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
    if bytes > MOST_HEAD {
        return Err(ApiError::Malformed(format!("The request's head has more than {MOST_HEAD} bytes.")));
    }
    Ok(head)
}

fn line(name: &str, value: String) -> Result<(String, Vec<u8>), &'static str> {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "host" => return Err(": request.host is the place for it."),
        name if !is_token(name) => return Err(".name is no header's name."),
        _ => {}
    }
    if value.chars().any(|character| character.is_control() && character != '\t') {
        return Err(".value has a control character.");
    }
    Ok((name, value.into_bytes()))
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() || !byte.is_ascii())
}

fn malformed(detail: &str) -> ApiError {
    ApiError::Malformed(detail.to_owned())
}
