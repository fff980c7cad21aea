//! The headers that tell the upstream about the token, and the removal of such headers that a client has sent.

use std::sync::Arc;

use curfew_core::{Fields, ProvenToken, TokenError};
use serde_json::Value;

use crate::names::alike;
use crate::request::Request;
use crate::sources::is_name;

/// The longest claim that is written into a header.
const MAX_VALUE_BYTES: usize = 1024;

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
    /// The claim whose text it carries.
    pub claim: String,
}

impl IdentityHeader {
    pub(crate) fn read_all(fields: &mut Fields<'_, '_>) -> Vec<Self> {
        let Some(value) = fields.value("identity_headers") else {
            return Vec::new();
        };
        let Value::Object(object) = value else {
            fields.wrong("identity_headers", "must be an object from header names to claim names");
            return Vec::new();
        };
        let path = fields.at("identity_headers");
        let mut headers: Vec<Self> = Vec::new();
        for (name, claim) in object {
            let lower = name.to_ascii_lowercase();
            let mut wrong = |problem: &str| fields.mistakes().add(format!("{path}.{name}"), problem);
            match claim {
                _ if !is_name(name) => wrong("must be a header's name"),
                _ if RESERVED.contains(&lower.as_str()) || lower.starts_with(RESERVED_PREFIX) => {
                    wrong("is not a header that may be overwritten")
                }
                _ if headers.iter().any(|header| alike(header.name.as_bytes(), lower.as_bytes())) => {
                    wrong("is given twice")
                }
                Value::String(claim) if !claim.is_empty() => {
                    headers.push(Self { name: lower.into(), claim: claim.clone() })
                }
                _ => wrong("must be the name of a claim"),
            }
        }
        headers
    }
}

/// The values of the identity headers for a token, in the order of the headers. A value is `None` if the token lacks
/// the claim, or if the type of the claim has no text.
///
/// # Errors
/// A claim that a header cannot carry unchanged. Control characters break out of a header. Readers cut off the spaces
/// around a value (RFC 9110 section 5.5), which would make two users one. The issuer signed the claim, but a user may
/// have chosen its text.
pub fn values(headers: &[IdentityHeader], token: &ProvenToken) -> Result<Vec<Option<Arc<str>>>, TokenError> {
    let value = |header: &IdentityHeader| match token.claim_text(&header.claim) {
        Some(text) if !is_header_value(&text) => Err(TokenError::Claim("identity header")),
        text => Ok(text.map(Arc::from)),
    };
    headers.iter().map(value).collect()
}

fn is_header_value(text: &str) -> bool {
    (1..=MAX_VALUE_BYTES).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control)
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
        let headers = [IdentityHeader { name: "x-user-id".into(), claim: "sub".into() }];
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
        let document =
            json!({"identity_headers": {"Host": "sub", "a b": "sub", "x-id": 7, "x-user": "sub", "x_user": "sub"}});
        let mut mistakes = Mistakes::default();
        let headers = Fields::read("", &document, &mut mistakes, IdentityHeader::read_all);
        assert_eq!(headers, Some(vec![IdentityHeader { name: "x-user".into(), claim: "sub".into() }]));
        let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "identity_headers.Host: is not a header that may be overwritten",
                "identity_headers.a b: must be a header's name",
                "identity_headers.x-id: must be the name of a claim",
                "identity_headers.x_user: is given twice",
            ]
        );
    }
}
