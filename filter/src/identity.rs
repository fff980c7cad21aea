//! The headers that tell the upstream about the token, and the removal of such headers that a client has sent.

mod value;

use std::sync::Arc;

use curfew_core::{Fields, Mistakes, ProvenToken, TokenError};
use serde_json::Value;

use crate::claim_path::ClaimPath;
use crate::names::alike;
use crate::request::Request;
use crate::sources::is_name;

pub use value::Carried;

/// Headers that mean something to proxies or carry credentials: overwriting one would change more than an identity.
const RESERVED: [&str; 15] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "forwarded",
    "host",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
];

/// Envoy's own headers: it acts on some of them, such as a timeout.
const RESERVED_PREFIX: &str = "x-envoy-";

/// A header that carries a claim to the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityHeader {
    /// The header's name, in lower case.
    pub name: Arc<str>,
    /// What it carries.
    pub carried: Carried,
}

impl IdentityHeader {
    pub(crate) fn read_all(fields: &mut Fields<'_, '_>) -> Vec<Self> {
        let Some(value) = fields.value("identity_headers") else {
            return Vec::new();
        };
        let Value::Object(object) = value else {
            fields.wrong("identity_headers", "must be an object from header names to claims");
            return Vec::new();
        };
        let path = fields.at("identity_headers");
        let mut headers: Vec<Self> = Vec::new();
        for (name, claim) in object {
            let lower = name.to_ascii_lowercase();
            let at = format!("{path}.{name}");
            match name_problem(name, &lower, &headers) {
                Some(problem) => fields.mistakes().add(at, problem),
                None => headers.extend(
                    read_carried(at, claim, fields.mistakes()).map(|carried| Self { name: lower.into(), carried }),
                ),
            }
        }
        headers
    }
}

/// What is wrong with a header's name.
fn name_problem(name: &str, lower: &str, headers: &[IdentityHeader]) -> Option<&'static str> {
    if !is_name(name) {
        return Some("must be a header's name");
    }
    if RESERVED.contains(&lower) || lower.starts_with(RESERVED_PREFIX) {
        return Some("is not a header that may be overwritten");
    }
    let twice = headers.iter().any(|header| alike(header.name.as_bytes(), lower.as_bytes()));
    twice.then_some("is given twice")
}

fn read_carried(path: String, value: &Value, mistakes: &mut Mistakes) -> Option<Carried> {
    match value {
        Value::String(claim) if !claim.is_empty() => Some(Carried::Text(ClaimPath::Named(claim.clone()))),
        Value::Object(_) => Fields::read(path, value, mistakes, Carried::read).flatten(),
        _ => {
            mistakes.add(path, "must be the name of a claim, or an object with claim or payload");
            None
        }
    }
}

/// The values of the identity headers for a token of this text, in the order of the headers. A value is `None` if the
/// token has nothing for it that a header can carry.
///
/// # Errors
/// The user claim, if a header is to carry it and cannot. Without its header, the upstream would take the request for
/// one of no user. No other claim decides about admission.
pub fn values(
    headers: &[IdentityHeader],
    user_claim: &str,
    token: &ProvenToken,
    text: &[u8],
) -> Result<Vec<Option<Arc<str>>>, TokenError> {
    let payload = text.split(|&byte| byte == b'.').nth(1).and_then(|payload| std::str::from_utf8(payload).ok());
    let value = |header: &IdentityHeader| match header.carried.value(token.claims(), payload.unwrap_or_default()) {
        None if header.carried.is_of(user_claim) && token.user.is_some() => Err(TokenError::Claim("identity header")),
        value => Ok(value.map(Arc::from)),
    };
    headers.iter().map(value).collect()
}

/// The names, as the client wrote them, of headers that an upstream may take for identity headers; see [`alike`].
pub fn forged<'a>(headers: &[IdentityHeader], request: &Request<'a>) -> Vec<&'a [u8]> {
    let ours = |name: &[u8]| headers.iter().any(|header| alike(header.name.as_bytes(), name));
    let mut names: Vec<_> = request.headers().map(|(name, _)| name).filter(|name| ours(name)).collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use curfew_core::Mistakes;
    use serde_json::json;

    use super::*;

    #[test]
    fn client_copies_are_found_in_any_spelling() {
        let headers =
            [IdentityHeader { name: "x-user-id".into(), carried: Carried::Text(ClaimPath::Named("sub".into())) }];
        let sent: [(&[u8], &[u8]); 6] = [
            (b"x.user.id", b"0"),
            (b"x-user-id", b"1"),
            (b"X-USER-ID", b"2"),
            (b"x_user_id", b"3"),
            (b"x-user_id", b"4"),
            (b"x-user", b"5"),
        ];
        let expected: [&[u8]; 5] = [b"x.user.id", b"x-user-id", b"X-USER-ID", b"x_user_id", b"x-user_id"];
        assert_eq!(forged(&headers, &Request::new(&sent)), expected);
    }

    #[test]
    fn wrong_headers_are_named() {
        let document = json!({"identity_headers": {
                "Host": "sub", "a b": "sub", "x-id": 7, "x-user": "sub", "x_user": "sub",
                "x-a": {"claim": "a", "lists": "comma"}, "x-b": {"claim": "b", "payload": "base64url"}, "x-c": {"claim": []}}});
        let mut mistakes = Mistakes::default();
        let headers = Fields::read("", &document, &mut mistakes, IdentityHeader::read_all);
        assert_eq!(
            headers.unwrap().last(),
            Some(&IdentityHeader { name: "x-user".into(), carried: Carried::Text(ClaimPath::Named("sub".into())) })
        );
        let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "identity_headers.Host: is not a header that may be overwritten",
                "identity_headers.a b: must be a header's name",
                "identity_headers.x-a.lists: is not a known field here; did you mean list? (known: claim, list, payload)",
                "identity_headers.x-b.claim: exactly one of claim and payload must be given; list belongs to claim",
                "identity_headers.x-c.claim: must be a list of non-empty strings, at least one",
                "identity_headers.x-id: must be the name of a claim, or an object with claim or payload",
                "identity_headers.x_user: is given twice",
            ]
        );
    }
}
