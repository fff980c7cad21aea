//! The members of a JWK (RFC 7517 section 4), read so that each problem names its member.
//!
//! `null` is an absent member, and so is an empty text: some programs write every member that they know into every key
//! (`"crv":""` in an RSA key), and no key material is empty.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::{Object, base64url};

/// A text; `None` if it is absent.
pub(super) fn text<'a>(jwk: &'a Object, name: &str) -> Result<Option<&'a str>, String> {
    match jwk.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} is not a text")),
    }
}

/// The bytes of a member that must be there.
pub(super) fn bytes(jwk: &Object, name: &str) -> Result<Vec<u8>, String> {
    let text = text(jwk, name)?.ok_or_else(|| format!("{name} is missing"))?;
    let decoded = base64url::decode(text.as_bytes());
    decoded.ok_or_else(|| format!("{name} is not base64url: {}", why_not_base64url(text)))
}

/// The bytes of a member that must have this many.
pub(super) fn of_length(jwk: &Object, name: &str, length: usize) -> Result<Vec<u8>, String> {
    let bytes = bytes(jwk, name)?;
    if bytes.len() == length {
        return Ok(bytes);
    }
    Err(format!("{name} has {} bytes, and {length} are needed", bytes.len()))
}

fn why_not_base64url(text: &str) -> &'static str {
    if text.ends_with('=') {
        "it ends with '='"
    } else if text.contains(['+', '/']) {
        "it has a '+' or a '/', where base64url has '-' and '_'"
    } else if text.contains(char::is_whitespace) {
        "it has white space in it"
    } else if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        "it has a character that base64url does not have"
    } else if text.len() % 4 == 1 {
        "a character is missing or too many"
    } else {
        "the unused bits of its last character are not zero"
    }
}

/// The members that make a public key (RFC 7638 section 3.2), in the order of their names, each in its one spelling.
pub(super) struct PublicMembers(Vec<(&'static str, String)>);

impl PublicMembers {
    /// The key of these bytes.
    pub(super) fn new(kty: &'static str, crv: Option<&'static str>, bytes: &[(&'static str, &[u8])]) -> Self {
        let mut members = vec![("kty", kty.to_owned())];
        members.extend(crv.map(|crv| ("crv", crv.to_owned())));
        members.extend(bytes.iter().map(|(name, bytes)| (*name, URL_SAFE_NO_PAD.encode(bytes))));
        members.sort_by_key(|(name, _)| *name);
        Self(members)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, text)| (*name, text.as_str()))
    }

    /// The JSON that a thumbprint is computed over (RFC 7638 section 3): no white space, members in order. No text in it
    /// needs an escape.
    pub(super) fn to_text(&self) -> String {
        let members: Vec<_> = self.iter().map(|(name, text)| format!(r#""{name}":"{text}""#)).collect();
        format!("{{{}}}", members.join(","))
    }
}
