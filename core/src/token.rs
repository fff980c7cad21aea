//! A strict reader of compact JWS (RFC 7515 section 7.1, hardened as RFC 8725 asks).
//!
//! The token that it returns has a form that every parser reads alike. Nothing in it is verified.

use serde_json::Value;

use crate::credential::is_token_text;
use crate::{Object, TokenError, base64url, json};

/// The longest token that can be configured to be read. Envoy's own limit for all headers is 60 KiB by default, and the
/// control plane's for the head of an HTTP/1 request is 64 KiB.
pub const MAX_TOKEN_BYTES: usize = 48 * 1024;

/// The longest token that is read where nothing else is configured: tokens with many roles have 9 KiB and more.
pub const DEFAULT_MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The least bound that can be configured. Tokens of RSA keys have 500 bytes and more.
pub(crate) const MIN_MAX_TOKEN_BYTES: usize = 1024;

/// The longest decoded header that is read. A chain of certificates in `x5c` has some KiB.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;

const MAX_KID_BYTES: usize = 128;

/// Header parameters that change what was signed or how it is encoded (RFC 7515 section 4.1.11, RFC 7797, RFC 7516).
/// Curfew implements none of them, and a verifier that ignored them would read another token than its issuer wrote.
///
/// Parameters that bring or name a key (`jku`, `jwk`, `x5u`, `x5c`) are ignored like all others that are not known:
/// [`UnverifiedHeader`] has no place for them, so that nothing can follow them. Keys come from the configuration of the
/// issuer alone.
const REFUSED_PARAMETERS: [&str; 4] = ["crit", "b64", "zip", "enc"];

/// A token whose form is right and in which nothing is verified. No `Debug`: it holds the token.
pub struct UnverifiedToken<'a> {
    /// `header.payload`, the bytes that were signed.
    pub(crate) signing_input: &'a [u8],
    pub(crate) signature: Vec<u8>,
    pub(crate) header: UnverifiedHeader,
    pub(crate) claims: Object,
}

/// The header parameters that Curfew reads.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(crate) struct UnverifiedHeader {
    pub(crate) alg: String,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
}

impl<'a> UnverifiedToken<'a> {
    /// Takes a token's text of at most `longest` bytes apart.
    ///
    /// # Errors
    /// The first rule of form that the text breaks.
    pub fn parse(text: &'a [u8], longest: usize) -> Result<Self, TokenError> {
        if text.len() > longest {
            return Err(TokenError::TooLong);
        }
        let (signing_input, parts) = split(text)?;
        let [Some(header), Some(payload), Some(signature)] = parts.map(base64url::decode) else {
            return Err(undecodable(text, parts));
        };
        Ok(Self {
            signing_input,
            signature,
            header: UnverifiedHeader::parse(&header)?,
            claims: json::read_object(&payload).ok_or(TokenError::Claims)?,
        })
    }

    /// The header and the claims as JSON, to show them to a person.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn to_json(text: &'a [u8]) -> Result<(Value, Value), TokenError> {
        let token = Self::parse(text, MAX_TOKEN_BYTES)?;
        let (_, [header, ..]) = split(text)?;
        let header = base64url::decode(header).and_then(|bytes| json::read_object(&bytes));
        let header = header.ok_or(TokenError::Header)?;
        Ok((Value::Object(header), Value::Object(token.claims)))
    }
}

/// The signing input, and the three parts around the first two dots. If each part decodes, the text is a compact JWS:
/// no other byte stands before, between or after the parts, and a third dot would not decode.
fn split(text: &[u8]) -> Result<(&[u8], [&[u8]; 3]), TokenError> {
    let after = |start: usize| Some(start + 1 + text.get(start + 1..)?.iter().position(|byte| *byte == b'.')?);
    let first = text.iter().position(|byte| *byte == b'.').ok_or(TokenError::NotCompact)?;
    let second = after(first).ok_or(TokenError::NotCompact)?;
    match (text.get(..first), text.get(first + 1..second), text.get(second + 1..), text.get(..second)) {
        (Some(header), Some(payload), Some(signature), Some(signing_input))
            if !(header.is_empty() || payload.is_empty() || signature.is_empty()) =>
        {
            Ok((signing_input, [header, payload, signature]))
        }
        _ => Err(TokenError::NotCompact),
    }
}

/// The rule that is broken by a text with three parts, of which one does not decode.
fn undecodable(text: &[u8], [_, _, signature]: [&[u8]; 3]) -> TokenError {
    let compact = is_token_text(text) && !signature.contains(&b'.');
    if compact { TokenError::Encoding } else { TokenError::NotCompact }
}

impl UnverifiedHeader {
    fn parse(bytes: &[u8]) -> Result<Self, TokenError> {
        if bytes.len() > MAX_HEADER_BYTES {
            return Err(TokenError::Header);
        }
        let object = json::read_object(bytes).ok_or(TokenError::Header)?;
        if REFUSED_PARAMETERS.iter().any(|name| object.contains_key(*name)) || nests_a_token(&object) {
            return Err(TokenError::HeaderParameter);
        }
        Ok(Self {
            alg: text(&object, "alg")?.ok_or(TokenError::Header)?,
            kid: text(&object, "kid")?.map(plain_kid).transpose()?,
            typ: text(&object, "typ")?,
        })
    }
}

/// `cty: JWT` says that the payload is another token (RFC 7519 section 5.2). Other media types are ignored.
fn nests_a_token(header: &Object) -> bool {
    match header.get("cty") {
        None => false,
        Some(Value::String(cty)) => cty.to_ascii_lowercase().contains("jwt"),
        Some(_) => true,
    }
}

/// `null` is absent, as in the claims: a header that says so names no key and no type.
fn text(header: &Object, name: &str) -> Result<Option<String>, TokenError> {
    match header.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::Header),
    }
}

/// Curfew only compares a `kid` with those of its keys, but upstreams may write it into logs and databases. So only
/// short plain text passes that no program takes for a path, a query or markup.
fn plain_kid(kid: String) -> Result<String, TokenError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=+/@~#".contains(&byte);
    if kid.is_empty() || kid.len() > MAX_KID_BYTES || !kid.bytes().all(plain) || kid.contains("..") {
        return Err(TokenError::Header);
    }
    Ok(kid)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn encode(part: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(part)
    }

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.{}", encode(header), encode(payload), encode([0; 32]))
    }

    fn outcome(text: &str) -> Result<(), TokenError> {
        UnverifiedToken::parse(text.as_bytes(), DEFAULT_MAX_TOKEN_BYTES).map(|_| ())
    }

    #[test]
    fn a_plain_token_is_taken_apart() {
        let text = token(r#"{"alg":"HS256","kid":"k1","typ":"JWT"}"#, r#"{"sub":"1"}"#);
        let token = UnverifiedToken::parse(text.as_bytes(), DEFAULT_MAX_TOKEN_BYTES).ok().unwrap();
        let header = UnverifiedHeader { alg: "HS256".into(), kid: Some("k1".into()), typ: Some("JWT".into()) };
        assert_eq!(token.header, header);
        assert_eq!(Value::Object(token.claims), serde_json::json!({"sub": "1"}));
        assert_eq!(token.signature, [0; 32]);
        assert!(text.as_bytes().starts_with(token.signing_input));
        assert_eq!(token.signing_input.iter().filter(|byte| **byte == b'.').count(), 1);
    }

    #[test]
    fn framing_has_one_form() {
        let good = token(r#"{"alg":"HS256"}"#, "{}");
        assert_eq!(outcome(&good), Ok(()));
        let (signing_input, signature) = good.rsplit_once('.').unwrap();
        let bad = [
            String::new(),
            ".".into(),
            "..".into(),
            signing_input.into(),
            format!("{signing_input}."),
            format!(".{good}"),
            format!("{good}."),
            format!("{signing_input}..{signature}"),
            format!("{good}.{signature}"),
            format!("{good}.{signature}.{signature}"),
            format!("{good}="),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{good}\0"),
            good.replace('.', ","),
            r#"{"payload":"e30","signatures":[]}"#.into(),
        ];
        for text in bad {
            assert_eq!(outcome(&text), Err(TokenError::NotCompact), "{text:?}");
        }
        let endless = format!("{signing_input}.{}", "A".repeat(DEFAULT_MAX_TOKEN_BYTES));
        assert_eq!(outcome(&endless), Err(TokenError::TooLong));
    }

    #[test]
    fn trailing_bits_are_no_second_spelling() {
        let good = token(r#"{"alg":"HS256"}"#, "{}");
        // 32 bytes end in a character with two unused bits.
        let respelled = format!("{}B", &good[..good.len() - 1]);
        assert_eq!(outcome(&respelled), Err(TokenError::Encoding));
    }

    #[test]
    fn a_header_is_a_small_object_with_an_algorithm() {
        let padded = format!(r#"{{"alg":"HS256","x":"{}"}}"#, "x".repeat(MAX_HEADER_BYTES));
        let headers = [
            "{}",
            "[]",
            "null",
            r#" {"alg":"HS256"}"#,
            r#"["HS256"]"#,
            r#"{"alg":null}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"alg":"HS256","alg":"none"}"#,
            r#"{"alg":"HS256","kid":1}"#,
            r#"{"alg":"HS256","kid":""}"#,
            r#"{"alg":"HS256","kid":"../../dev/null"}"#,
            r#"{"alg":"HS256","kid":"' OR 1=1"}"#,
            r#"{"alg":"HS256","kid":"a\u0000"}"#,
            r#"{"alg":"HS256","typ":1}"#,
            r#"{"alg":"HS256","x":"\ud800"}"#,
            &padded,
        ];
        for header in headers {
            assert_eq!(outcome(&token(header, "{}")), Err(TokenError::Header), "{header}");
        }
    }

    #[test]
    fn null_names_no_key_and_no_type() {
        let text = token(r#"{"alg":"HS256","kid":null,"typ":null}"#, "{}");
        let read = UnverifiedToken::parse(text.as_bytes(), DEFAULT_MAX_TOKEN_BYTES).ok().unwrap();
        assert_eq!(read.header, UnverifiedHeader { alg: "HS256".into(), kid: None, typ: None });
        for parameter in [r#""crit":null"#, r#""b64":null"#, r#""zip":null"#, r#""enc":null"#, r#""cty":null"#] {
            let header = format!(r#"{{"alg":"HS256",{parameter}}}"#);
            assert_eq!(outcome(&token(&header, "{}")), Err(TokenError::HeaderParameter), "{header}");
        }
    }

    #[test]
    fn parameters_that_bring_or_name_a_key_are_ignored() {
        let parameters = [
            r#""jku":"https://issuer.example.com/token_keys""#,
            r#""x5u":"x""#,
            r#""x5c":["MIIB"]"#,
            r#""jwk":{"kty":"oct","k":"AA"}"#,
            r#""jku":null"#,
            r#""x5t":"AA","new":{"a":[1]}"#,
        ];
        for parameter in parameters {
            let text = token(&format!(r#"{{"alg":"HS256","kid":"k1",{parameter}}}"#), "{}");
            let read = UnverifiedToken::parse(text.as_bytes(), DEFAULT_MAX_TOKEN_BYTES).ok().unwrap();
            let header = UnverifiedHeader { alg: "HS256".into(), kid: Some("k1".into()), typ: None };
            assert_eq!(read.header, header, "{parameter}");
        }
    }

    #[test]
    fn parameters_that_change_what_was_signed_are_refused() {
        let parameters = [
            r#""crit":[]"#,
            r#""crit":["exp"]"#,
            r#""b64":true"#,
            r#""zip":"DEF""#,
            r#""enc":"A128GCM""#,
            r#""cty":"JWT""#,
            r#""cty":"jwt""#,
            r#""cty":7"#,
        ];
        for parameter in parameters {
            let header = format!(r#"{{"alg":"HS256",{parameter}}}"#);
            assert_eq!(outcome(&token(&header, "{}")), Err(TokenError::HeaderParameter), "{header}");
        }
    }

    #[test]
    fn claims_are_one_strict_object() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(40), "]".repeat(40));
        for payload in ["[]", "1", " {}", "{}x", r#"{"a":1,"a":2}"#, &deep] {
            assert_eq!(outcome(&token(r#"{"alg":"HS256"}"#, payload)), Err(TokenError::Claims), "{payload}");
        }
    }
}
