//! The claims that Curfew reads (RFC 7519 section 4.1), and what a token is once its signature has been checked.

use serde_json::Value;

use crate::issuer::SESSION_CLAIM;
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
    /// The session, by the issuer's session claim.
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

/// The claim of this very name, else the one at this path: `user.id` is `id` inside `user`. The name comes first, because
/// many issuers put URLs into names. `null` is absent.
pub fn claim_at<'a>(claims: &'a Object, path: &str) -> Option<&'a Value> {
    let present = |value: &&Value| !value.is_null();
    claims.get(path).filter(present).or_else(|| {
        let (first, rest) = path.split_once('.')?;
        let inner = rest.split('.').try_fold(claims.get(first)?, |value, name| value.get(name));
        inner.filter(present)
    })
}

/// The user of a token, by the claim of this name or at this path.
pub(crate) fn user(claims: &Object, claim: &str) -> Result<Option<String>, TokenError> {
    claim_at(claims, claim).map(|value| identifier_text("user", value)).transpose()
}

/// The session of a token, by the claim of this name or at this path.
pub(crate) fn session(claims: &Object, claim: &str) -> Result<Option<String>, TokenError> {
    let name = if claim == SESSION_CLAIM { SESSION_CLAIM } else { "session" };
    claim_at(claims, claim).map(|value| identifier_text(name, value)).transpose()
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
    /// The session, by the issuer's session claim.
    pub session_id: Option<String>,
    /// When it would be valid.
    pub times: Times,
}

/// The NumericDates of a token, in seconds of Unix time; fractions are floored. And how exactly they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Times {
    /// `iat`, or `exp` less the issuer's `token_lifetime` for a token without it.
    pub issued_at: Option<i64>,
    /// The time that is compared with a subject revocation's cutoff: `iat`, or `auth_time` where that is configured.
    /// `None` means that a cutoff covers the token, unless the token was registered after it.
    pub cutoff_time: Option<i64>,
    /// `nbf`.
    pub not_before: Option<i64>,
    /// `exp`. For a token without `exp`, where that is allowed, `iat` plus the longest life that is accepted.
    pub expires_at: i64,
    /// How far its issuer's clock may differ from ours, in seconds.
    pub clock_skew: i64,
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
/// numbers). `null` is absent.
///
/// Empty and overlong identifiers are refused, and so are control characters: identifiers end up in headers, logs and
/// databases, and a control character can split an entry in any of them.
pub(crate) fn identifier(claims: &Object, name: &'static str) -> Result<Option<String>, TokenError> {
    let value = claims.get(name).filter(|value| !value.is_null());
    value.map(|value| identifier_text(name, value)).transpose()
}

fn identifier_text(name: &'static str, value: &Value) -> Result<String, TokenError> {
    let text = if value.is_boolean() { None } else { claim_text(value) };
    text.filter(|text| is_identifier(text)).ok_or(TokenError::Claim(name))
}

/// True if `text` can identify a user, a session or a token: 1 to 256 bytes without control characters.
pub fn is_identifier(text: &str) -> bool {
    (1..=MAX_IDENTIFIER_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A NumericDate (RFC 7519 section 2): a number, not negative, floored to whole seconds.
pub(crate) fn numeric_date(claims: &Object, name: &'static str, claim: &str) -> Result<Option<i64>, TokenError> {
    let Some(value) = claims.get(claim).filter(|value| !value.is_null()) else {
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
        None | Some(Value::Null) => Vec::new(),
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
            assert_eq!(identifier(&claims, "sub"), Ok(Some(expected.to_owned())));
        }
    }

    #[test]
    fn null_is_absent() {
        let claims = object(json!({"sub": null, "jti": null, "exp": null, "aud": null}));
        assert_eq!((identifier(&claims, "jti"), user(&claims, "sub")), (Ok(None), Ok(None)));
        assert_eq!(numeric_date(&claims, "exp", "exp"), Ok(None));
        assert_eq!(check_audience(&claims, &[]), Ok(()));
        assert_eq!(check_audience(&claims, &["shop".to_owned()]), Err(TokenError::Audience));
    }

    #[test]
    fn the_claim_of_the_very_name_comes_before_the_one_at_the_path() {
        let named = |claims: Value, claim: &str| user(&object(claims), claim);
        assert_eq!(named(json!({"user": {"id": 7, "x": {"y": "z"}}}), "user.id"), Ok(Some("7".to_owned())));
        assert_eq!(named(json!({"user": {"x": {"y": "z"}}}), "user.x.y"), Ok(Some("z".to_owned())));
        assert_eq!(named(json!({"user.id": "a", "user": {"id": "b"}}), "user.id"), Ok(Some("a".to_owned())));
        assert_eq!(named(json!({"user.id": null, "user": {"id": "b"}}), "user.id"), Ok(Some("b".to_owned())));
        let url = "https://example.com/id";
        assert_eq!(named(json!({"https://example.com/id": "a"}), url), Ok(Some("a".to_owned())));
        for absent in
            [json!({}), json!({"user": 7}), json!({"user": {}}), json!({"user": {"id": null}}), json!({"user": ["id"]})]
        {
            assert_eq!(named(absent, "user.id"), Ok(None));
        }
        for empty in [json!({"user": {"id": ""}}), json!({"user.id": ""}), json!({"user": {"id": {}}})] {
            assert_eq!(named(empty, "user.id"), Err(TokenError::Claim("user")));
        }
    }

    #[test]
    fn unusable_identifiers_are_refused() {
        let long = "x".repeat(MAX_IDENTIFIER_BYTES + 1);
        for claim in [
            json!(""),
            json!(true),
            json!(1.5),
            json!([1]),
            json!({}),
            json!(long),
            json!("a\0"),
            json!("a\r\nx-role: admin"),
        ] {
            let claims = object(json!({ "sub": claim }));
            assert_eq!(identifier(&claims, "sub"), Err(TokenError::Claim("sub")), "{claim}");
        }
    }

    #[test]
    fn dates_are_floored_and_bounded() {
        for (claim, expected) in
            [(json!(7), 7), (json!(7.9), 7), (json!(0), 0), (json!(MAX_NUMERIC_DATE), MAX_NUMERIC_DATE)]
        {
            assert_eq!(numeric_date(&object(json!({ "exp": claim })), "exp", "exp"), Ok(Some(expected)));
        }
        for claim in [json!(-1), json!("7"), json!(true), json!([7]), json!(1e300), json!(-0.5), json!(u64::MAX)] {
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
