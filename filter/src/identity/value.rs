//! What an identity header carries, and how a claim becomes the value of a header.
//!
//! A value must not break out of its header: the issuer signed the claim, but a user may have chosen its text. What a
//! header cannot carry unchanged is left out; it is never cut or replaced.

use curfew_core::{Fields, Object, claim_text};
use serde_json::Value;

use crate::claim_path::ClaimPath;

/// The longest text of a claim that is written into a header.
const MAX_TEXT_BYTES: usize = 1024;

/// The longest list or object. Envoy takes 60 KiB of headers in all.
const MAX_JSON_BYTES: usize = 8192;

/// What a header carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// The text of a claim that is a string, an integer or a boolean.
    Text(ClaimPath),
    /// A claim as JSON, whatever its type; a string, an integer or a boolean as its text.
    Json(ClaimPath),
    /// A list of strings, integers and booleans, with commas between them.
    Comma(ClaimPath),
    /// The whole payload, as the token has it.
    Payload {
        /// True for `=` at the end (RFC 4648 section 4), which a token does not have.
        padded: bool,
    },
}

impl Carried {
    /// The value for a token with these claims and this text of its payload; `None` if there is none that a header can
    /// carry.
    pub(super) fn value(&self, claims: &Object, payload: &str) -> Option<String> {
        match self {
            Self::Text(path) => text(path.find(claims)?),
            Self::Json(path) => path.find(claims).and_then(|claim| text(claim).or_else(|| json(claim))),
            Self::Comma(path) => match path.find(claims)? {
                Value::Array(members) => joined(members),
                claim => text(claim).filter(|text| !text.contains(',')),
            },
            Self::Payload { padded: false } => Some(payload.to_owned()),
            Self::Payload { padded: true } => {
                let padding = payload.len().next_multiple_of(4).saturating_sub(payload.len());
                Some(format!("{payload}{}", "=".repeat(padding)))
            }
        }
    }

    /// True if the header carries nothing but this claim, in whatever form.
    pub(super) fn is_of(&self, claim: &str) -> bool {
        match self {
            Self::Text(path) | Self::Json(path) | Self::Comma(path) => path.is_of(claim),
            Self::Payload { .. } => false,
        }
    }

    /// Reads the object form: `claim` with `list`, or `payload`.
    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let claim = ClaimPath::read(fields, "claim");
        let list = fields.choice("list", &[("json", false), ("comma", true)]);
        let payload = fields.choice("payload", &[("base64url", false), ("base64url_padded", true)]);
        match (claim, payload) {
            (Some(claim), None) if list == Some(true) => Some(Self::Comma(claim)),
            (Some(claim), None) => Some(Self::Json(claim)),
            (None, Some(padded)) if !fields.has("list") && !fields.has("claim") => Some(Self::Payload { padded }),
            _ if fields.has("claim") && !fields.has("payload") => None,
            _ => {
                fields.wrong("claim", "exactly one of claim and payload must be given; list belongs to claim");
                None
            }
        }
    }
}

fn text(claim: &Value) -> Option<String> {
    claim_text(claim).filter(|text| is_header_text(text))
}

/// True if a header carries the text unchanged. Control characters break out of a header. Readers cut off the spaces
/// around a value (RFC 9110 section 5.5), which would make two users one.
fn is_header_text(text: &str) -> bool {
    (1..=MAX_TEXT_BYTES).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control)
}

/// JSON in ASCII: everything else stands in strings, where it can be escaped.
fn json(claim: &Value) -> Option<String> {
    if matches!(claim, Value::String(_)) {
        return None;
    }
    let mut ascii = String::new();
    for character in claim.to_string().chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            ascii.push(character);
        } else {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units);
            ascii.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    Some(ascii).filter(|json| json.len() <= MAX_JSON_BYTES)
}

/// The members with commas between them; `None` if one of them has no text, or would be read as several or as another.
fn joined(members: &[Value]) -> Option<String> {
    let texts: Option<Vec<String>> = members.iter().map(text).collect();
    let texts = texts?;
    let separate = texts.iter().all(|text| !text.contains(','));
    let joined = texts.join(",");
    (separate && (1..=MAX_JSON_BYTES).contains(&joined.len())).then_some(joined)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(carried: Carried, claim: Value) -> Option<String> {
        carried.value(json!({ "c": claim }).as_object().unwrap(), "eyJhIjoxfQ")
    }

    fn path() -> ClaimPath {
        ClaimPath::Named("c".to_owned())
    }

    #[test]
    fn texts_lists_and_payloads_become_values() {
        let carried = |carried: fn(ClaimPath) -> Carried, claim: Value| value(carried(path()), claim);
        assert_eq!(carried(Carried::Text, json!(42)).as_deref(), Some("42"));
        assert_eq!(carried(Carried::Text, json!(["a"])), None);
        assert_eq!(carried(Carried::Json, json!("a")).as_deref(), Some("a"));
        assert_eq!(
            carried(Carried::Json, json!(["a", 1, {"é": "🎉\r\n"}])).as_deref(),
            Some(r#"["a",1,{"\u00e9":"\ud83c\udf89\r\n"}]"#)
        );
        assert_eq!(carried(Carried::Json, json!([])).as_deref(), Some("[]"));
        assert_eq!(carried(Carried::Json, json!(1.5)).as_deref(), Some("1.5"));
        assert_eq!(carried(Carried::Comma, json!(["a", 1, true])).as_deref(), Some("a,1,true"));
        assert_eq!(carried(Carried::Comma, json!("a")).as_deref(), Some("a"));
        assert_eq!(value(Carried::Payload { padded: false }, json!(1)).as_deref(), Some("eyJhIjoxfQ"));
        assert_eq!(value(Carried::Payload { padded: true }, json!(1)).as_deref(), Some("eyJhIjoxfQ=="));
    }

    #[test]
    fn what_a_header_cannot_carry_is_left_out() {
        for claim in [
            json!(""),
            json!(null),
            json!(" a"),
            json!("a\r\nx-role: admin"),
            json!("a\u{85}b"),
            json!("x".repeat(1025)),
        ] {
            assert_eq!(value(Carried::Text(path()), claim.clone()), None, "{claim}");
            assert_eq!(value(Carried::Json(path()), claim.clone()), None, "{claim}");
            assert_eq!(value(Carried::Comma(path()), claim.clone()), None, "{claim}");
            assert_eq!(value(Carried::Comma(path()), json!(["a", claim])), None);
        }
        for list in
            [json!([]), json!(["a,b"]), json!([["a"]]), json!({"a": 1}), json!("a,b"), json!(vec!["x".repeat(1000); 9])]
        {
            assert_eq!(value(Carried::Comma(path()), list.clone()), None, "{list}");
        }
        assert_eq!(value(Carried::Json(path()), json!(vec!["x".repeat(1000); 9])), None);
        let smuggled = value(Carried::Json(path()), json!(["a\r\nx-role: admin\u{7f}\u{85}\0"])).unwrap();
        assert!(smuggled.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{smuggled}");
    }
}
