//! Judges answers on the wire by what a row expects.

use serde_json::Value;

use super::{Expected, Row};
use crate::http::{Answer, Request};

/// The judgement of an answer, with a short text for the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// True if it is the answer that the row must get.
    pub met: bool,
    /// The answer in short.
    pub answer: String,
}

impl Row {
    /// The answer that this request must get over HTTP. A value with control characters is not HTTP (RFC 9110 section
    /// 5.5), whatever the verdict on the token in it is natively.
    pub fn expected_of(&self, request: &Request) -> Expected {
        let control = |byte: &u8| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f;
        let malformed = request.headers.iter().any(|(_, value)| value.iter().any(control));
        if malformed { Expected::NotHttp } else { self.expected }
    }

    /// Judges an answer through Envoy, where the upstream echoes the request as it saw it.
    pub fn judge_at_filter(&self, request: &Request, answer: &Answer) -> Verdict {
        let echo = answer.json();
        let expected = self.behind_envoy.map_or_else(|| self.expected_of(request), |(expected, _)| expected);
        let met = match expected {
            Expected::Admitted => answer.status == 200 && one_identity(&echo) && one_credential(&echo),
            Expected::Nameless => {
                answer.status == 200 && echoed(&echo, "x-user-id").is_empty() && one_credential(&echo)
            }
            Expected::Open => answer.status == 200,
            Expected::Closed => answer.status != 200 || stays_public(&echo),
            other => refused_as(other, answer),
        };
        Verdict { met, answer: summary(answer) }
    }

    /// Judges an answer of the logout endpoint.
    pub fn judge_at_control_plane(&self, request: &Request, answer: &Answer) -> Verdict {
        let met = match self.expected_of(request) {
            Expected::Admitted => answer.status == 200,
            other => refused_as(other, answer),
        };
        Verdict { met, answer: summary(answer) }
    }
}

fn refused_as(expected: Expected, answer: &Answer) -> bool {
    match expected {
        Expected::Breaks(error) => answer.status == 401 && answer.code() == error.denial().code(),
        Expected::Refused(denial) => answer.status == 401 && answer.code() == denial.code(),
        Expected::NotHttp => answer.status == 400,
        Expected::Admitted | Expected::Nameless | Expected::Closed | Expected::Open => false,
    }
}

/// The upstream saw exactly one identity, and not the one that the client wrote.
fn one_identity(echo: &Value) -> bool {
    let values = echoed(echo, "x-user-id");
    values.len() == 1 && !values.contains(&"root")
}

/// The Authorization header that the upstream saw is the one that the filter judged: at most one, with one token.
fn one_credential(echo: &Value) -> bool {
    let values = echoed(echo, "authorization");
    values.len() <= 1 && !values.iter().any(|value| value.contains([',', '\r']))
}

/// All values of a header as the upstream saw them, under every spelling of its name.
fn echoed<'a>(echo: &'a Value, name: &str) -> Vec<&'a str> {
    let part = |pair: &'a Value, index: usize| pair.get(index).and_then(Value::as_str).unwrap_or_default();
    let headers = echo.get("headers").and_then(Value::as_array).into_iter().flatten();
    headers.filter(|pair| part(pair, 0).replace('_', "-") == name).map(|pair| part(pair, 1)).collect()
}

/// True if every program reads the reached path as public: nothing in it can be read as anything else.
fn stays_public(echo: &Value) -> bool {
    let path = echo.get("path").and_then(Value::as_str).unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte);
    path.starts_with("/public/") && !path.contains("//") && path.bytes().all(plain)
}

/// Status, and the code or the sentence that came with it.
fn summary(answer: &Answer) -> String {
    let code = answer.code();
    let text = answer.text();
    let words = match (answer.status, code.as_str()) {
        (200, _) => "",
        (_, "") => text.lines().next().unwrap_or_default(),
        (_, code) => code,
    };
    format!("{} {words}", answer.status).trim_end().to_owned()
}
