//! The claims that Curfew reads (RFC 7519 section 4.1), and what a token is once its signature has been checked.

use serde_json::Value;

use crate::{IssuerKey, Keyspace, Object, RevocationKey, TokenError, TokenKeys};

/// The longest `jti`, `sid` or user, in bytes.
const MAX_IDENTIFIER_BYTES: usize = 256;

/// The largest NumericDate that is accepted: the last second of the year 9999.
const MAX_NUMERIC_DATE: i64 = 253_402_300_799;

/// A token whose form, issuer, audience and signature are right. It may still be out of time, or revoked.
///
/// Only [`crate::Policy::prove`] makes one, so the value is the proof.
#[derive(Clone)]
pub struct ProvenToken {
    /// The keys under which it can be revoked.
    pub keys: TokenKeys,
    /// The rule by which the keys were computed.
    pub keyspace: Keyspace,
    /// The issuer namespace of its keys: the configured issuer, or "" where none is configured.
    pub issuer: String,
    /// The user claim; an integer as its decimal text.
    pub user: Option<String>,
    /// The `sid` claim.
    pub session_id: Option<String>,
    /// When it is valid.
    pub times: Times,
    /// The key that its signature verified with. When the issuer's keys are replaced by others, this proof counts only
    /// as long as [`crate::KeySets::contains`] it.
    pub key: IssuerKey,
    pub(crate) claims: Object,
}

/// Shows the token id alone: the claims are personal data.
impl std::fmt::Debug for ProvenToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ProvenToken({})", self.keys.token)
    }
}

impl ProvenToken {
    /// All claims.
    pub fn claims(&self) -> &Object {
        &self.claims
    }

    /// A claim as header text, see [`claim_text`].
    pub fn claim_text(&self, name: &str) -> Option<String> {
        self.claims.get(name).and_then(claim_text)
    }
}

/// The claims of a token, read without any proof: see [`crate::Policy::read_unproven`]. No `Debug`: the claims are
/// personal data.
#[derive(Clone)]
pub struct UnprovenToken {
    /// The keys under which it would be revoked.
    pub keys: TokenKeys,
    /// The issuer namespace of its keys.
    pub issuer: String,
    /// The user claim; an integer as its decimal text.
    pub user: Option<String>,
    /// The `sid` claim.
    pub session_id: Option<String>,
    /// When it would be valid.
    pub times: Times,
}

/// The NumericDates of a token, in seconds of Unix time; fractions are floored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Times {
    /// `iat`.
    pub issued_at: Option<i64>,
    /// The time that is compared with a subject revocation's cutoff: `iat`, or `auth_time` where that is configured.
    /// `None` means that every cutoff covers the token.
    pub cutoff_time: Option<i64>,
    /// `nbf`.
    pub not_before: Option<i64>,
    /// `exp`. For a token without `exp`, where that is allowed, `iat` plus the longest life that is accepted.
    pub expires_at: i64,
}

/// A string, integer or boolean claim as text. Other types have no obvious text and give `None`.
pub fn claim_text(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// A claim that identifies something: a string, or an integer, which means its decimal text (many issuers write
/// numbers).
///
/// Empty and overlong identifiers are refused, and so are control characters: identifiers end up in headers, logs and
/// databases, and a control character can split an entry in any of them.
pub(crate) fn identifier(claims: &Object, name: &'static str, claim: &str) -> Result<Option<String>, TokenError> {
    let text = match claims.get(claim) {
        None => return Ok(None),
        Some(Value::Bool(_)) => None,
        Some(value) => claim_text(value),
    };
    match text {
        Some(text) if is_identifier(&text) => Ok(Some(text)),
        _ => Err(TokenError::Claim(name)),
    }
}

/// True if `text` can identify a user, a session or a token: 1 to 256 bytes without control characters.
pub fn is_identifier(text: &str) -> bool {
    (1..=MAX_IDENTIFIER_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A NumericDate (RFC 7519 section 2): a number, not negative, floored to whole seconds.
pub(crate) fn numeric_date(claims: &Object, name: &'static str, claim: &str) -> Result<Option<i64>, TokenError> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    let seconds = match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(floor)),
        _ => None,
    };
    match seconds {
        Some(seconds) if (0..=MAX_NUMERIC_DATE).contains(&seconds) => Ok(Some(seconds)),
        _ => Err(TokenError::Claim(name)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked on the line before")]
fn floor(seconds: f64) -> Option<i64> {
    let fits = (0.0..1e12).contains(&seconds);
    fits.then(|| seconds.floor() as i64)
}

/// Checks that `aud` names one of `audiences` (RFC 7519 section 4.1.3). Without configured audiences any `aud` passes,
/// but one that is neither a string nor a list of strings is malformed in any case.
pub(crate) fn check_audience(claims: &Object, audiences: &[String]) -> Result<(), TokenError> {
    let named: Vec<&str> = match claims.get("aud") {
        None => Vec::new(),
        Some(Value::String(audience)) => vec![audience],
        Some(Value::Array(values)) => {
            let texts: Option<Vec<_>> = values.iter().map(Value::as_str).collect();
            texts.ok_or(TokenError::Claim("aud"))?
        }
        Some(_) => return Err(TokenError::Claim("aud")),
    };
    let accepted = audiences.is_empty() || named.iter().any(|name| audiences.iter().any(|audience| audience == name));
    if accepted { Ok(()) } else { Err(TokenError::Audience) }
}

/// The revocation keys of a token with these identifiers.
pub(crate) fn keys(
    signing_input: &[u8],
    issuer: &str,
    jti: Option<&str>,
    session: Option<&str>,
    user: Option<&str>,
) -> TokenKeys {
    TokenKeys {
        token: RevocationKey::token(signing_input),
        jti: jti.map(|jti| RevocationKey::jti(issuer, jti)),
        session: session.map(|session| RevocationKey::session(issuer, session)),
        subject: user.map(|user| RevocationKey::subject(issuer, user)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        let Value::Object(object) = value else { panic!("an object") };
        object
    }

    #[test]
    fn an_integer_identifier_is_its_decimal_text() {
        for (claim, expected) in [
            (json!("42"), "42"),
            (json!(42), "42"),
            (json!(-7), "-7"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(" Émile "), " Émile "),
        ] {
            let claims = object(json!({ "sub": claim }));
            assert_eq!(identifier(&claims, "sub", "sub"), Ok(Some(expected.to_owned())));
        }
    }

    #[test]
    fn unusable_identifiers_are_refused() {
        let long = "x".repeat(MAX_IDENTIFIER_BYTES + 1);
        for claim in [
            json!(""),
            json!(null),
            json!(true),
            json!(1.5),
            json!([1]),
            json!({}),
            json!(long),
            json!("a\0"),
            json!("a\r\nx-role: admin"),
        ] {
            let claims = object(json!({ "sub": claim }));
            assert_eq!(identifier(&claims, "sub", "sub"), Err(TokenError::Claim("sub")), "{claim}");
        }
    }

    #[test]
    fn dates_are_floored_and_bounded() {
        for (claim, expected) in
            [(json!(7), 7), (json!(7.9), 7), (json!(0), 0), (json!(MAX_NUMERIC_DATE), MAX_NUMERIC_DATE)]
        {
            assert_eq!(numeric_date(&object(json!({ "exp": claim })), "exp", "exp"), Ok(Some(expected)));
        }
        for claim in
            [json!(-1), json!("7"), json!(null), json!(true), json!([7]), json!(1e300), json!(-0.5), json!(u64::MAX)]
        {
            let claims = object(json!({ "exp": claim }));
            assert_eq!(numeric_date(&claims, "exp", "exp"), Err(TokenError::Claim("exp")), "{claim}");
        }
    }

    #[test]
    fn an_audience_must_be_named() {
        let audiences = ["shop".to_owned()];
        let check = |aud: Value| check_audience(&object(json!({ "aud": aud })), &audiences);
        assert_eq!(check(json!("shop")), Ok(()));
        assert_eq!(check(json!(["other", "shop"])), Ok(()));
        assert_eq!(check(json!("Shop")), Err(TokenError::Audience));
        assert_eq!(check(json!([])), Err(TokenError::Audience));
        assert_eq!(check(json!(["shop", 1])), Err(TokenError::Claim("aud")));
        assert_eq!(check(json!({"shop": 1})), Err(TokenError::Claim("aud")));
        assert_eq!(check_audience(&Object::new(), &audiences), Err(TokenError::Audience));
        assert_eq!(check_audience(&Object::new(), &[]), Ok(()));
    }
}
