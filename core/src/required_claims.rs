//! Claims that an issuer's tokens must have, with these values: what tells its access tokens from its other tokens.
//!
//! Some issuers sign refresh tokens and ID tokens with the key of their access tokens and with the same `typ`, so that a
//! claim is all that differs (RFC 8725 section 3.12): `token_type` of Simple JWT, `token_use` of Cognito, `typ` in the
//! claims of Keycloak.

use std::fmt;

use serde_json::Value;

use crate::document::Fields;
use crate::{Object, TokenError};

const FIELD: &str = "required_claims";

/// The claims, each with the values of which it must have one. JSON's null stands for a claim that is not there.
#[derive(Debug, Default)]
pub(crate) struct RequiredClaims(Vec<(String, Vec<Value>)>);

impl RequiredClaims {
    /// Reads the field `required_claims`, or notes its mistakes.
    pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let Some(value) = fields.value(FIELD) else { return Self::default() };
        let claims = match value {
            // Nothing required is what the operator certainly did not mean.
            Value::Object(claims) if !claims.is_empty() => claims,
            _ => {
                fields.wrong(FIELD, "must be an object from names of claims to the values that they must have");
                return Self::default();
            }
        };
        let mut required = Vec::new();
        for (name, value) in claims {
            let values = match value {
                Value::Array(values) => values.clone(),
                value => vec![value.clone()],
            };
            if values.is_empty() || !values.iter().all(is_comparable) {
                let problem = "must be a text, an integer, true, false, null (for no such claim), or a list of them";
                fields.wrong(&format!("{FIELD}.{name}"), problem);
            }
            required.push((name.clone(), values));
        }
        Self(required)
    }

    /// True if a token that has all of these has all that `others` ask for.
    pub(crate) fn imply(&self, others: &Self) -> bool {
        let implied = |(name, values): &(String, Vec<Value>)| {
            self.0.iter().any(|(own, wanted)| own == name && wanted.iter().all(|value| values.contains(value)))
        };
        others.0.iter().all(implied)
    }

    /// Checks that a token with these claims has all of them.
    pub(crate) fn check(&self, claims: &Object) -> Result<(), TokenError> {
        let has = |(name, values): &(String, Vec<Value>)| has_one_of(claims.get(name), values);
        if self.0.iter().all(has) { Ok(()) } else { Err(TokenError::RequiredClaim) }
    }
}

/// The names with their values, as JSON.
impl fmt::Display for RequiredClaims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims: Object = self.0.iter().map(|(name, values)| (name.clone(), values.clone().into())).collect();
        write!(formatter, "{}", Value::Object(claims))
    }
}

/// Texts, integers and booleans have one JSON value each. Fractions have several spellings.
fn is_comparable(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => true,
        Value::Number(number) => !number.is_f64(),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// True if the claim has one of the values. Of a list, as of `aud`, one member is enough (RFC 7519 section 4.1.3).
fn has_one_of(claim: Option<&Value>, values: &[Value]) -> bool {
    match claim {
        None => values.contains(&Value::Null),
        Some(Value::Array(members)) => members.iter().any(|member| !member.is_null() && values.contains(member)),
        Some(claim) => values.contains(claim),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Mistakes;

    fn required(claims: Value) -> (RequiredClaims, Vec<String>) {
        let document = json!({ FIELD: claims });
        let mut mistakes = Mistakes::default();
        let read = Fields::read("issuers[0]", &document, &mut mistakes, RequiredClaims::read).unwrap();
        (read, mistakes.iter().map(ToString::to_string).collect())
    }

    fn check(rule: Value, claims: Value) -> Result<(), TokenError> {
        let (required, mistakes) = required(rule);
        assert_eq!(mistakes, Vec::<String>::new());
        required.check(claims.as_object().unwrap())
    }

    #[test]
    fn a_claim_has_one_of_the_values() {
        for (rule, claims) in [
            (json!({"token_type": "access"}), json!({"token_type": "access", "sub": "7"})),
            (json!({"token_use": ["access", "sliding"]}), json!({"token_use": "sliding"})),
            (json!({"version": 2, "mfa": true}), json!({"version": 2, "mfa": true})),
            (json!({"scp": "orders"}), json!({"scp": ["profile", "orders"]})),
            (json!({"nonce": null}), json!({"sub": "7"})),
            (json!({"nonce": null}), json!({"nonce": null})),
            (json!({"token_type": [null, "access"]}), json!({"sub": "7"})),
        ] {
            assert_eq!(check(rule.clone(), claims.clone()), Ok(()), "{rule} {claims}");
        }
    }

    #[test]
    fn every_other_claim_is_refused() {
        for (rule, claims) in [
            (json!({"token_type": "access"}), json!({"token_type": "refresh"})),
            (json!({"token_type": "access"}), json!({"token_type": "Access"})),
            (json!({"token_type": "access"}), json!({"token_type": "access "})),
            (json!({"token_type": "access"}), json!({"token_type": null})),
            (json!({"token_type": "access"}), json!({"token_type": {"access": true}})),
            (json!({"token_type": "access"}), json!({"token_type": ["refresh"]})),
            (json!({"token_type": "access"}), json!({"token_type": []})),
            (json!({"token_type": "access"}), json!({})),
            (json!({"token_type": "access", "use": 1}), json!({"token_type": "access"})),
            (json!({"version": 2}), json!({"version": "2"})),
            (json!({"version": 2}), json!({"version": 2.0})),
            (json!({"mfa": true}), json!({"mfa": "true"})),
            (json!({"scope": "orders"}), json!({"scope": "profile orders"})),
            (json!({"nonce": null}), json!({"nonce": "n"})),
            (json!({"nonce": null}), json!({"nonce": []})),
            (json!({"nonce": null}), json!({"nonce": [null]})),
        ] {
            assert_eq!(check(rule.clone(), claims.clone()), Err(TokenError::RequiredClaim), "{rule} {claims}");
        }
    }

    #[test]
    fn what_cannot_be_required_is_named() {
        let object =
            "issuers[0].required_claims: must be an object from names of claims to the values that they must have";
        for wrong in [json!({}), json!([]), json!("token_type")] {
            assert_eq!(required(wrong).1, [object]);
        }
        let value = "must be a text, an integer, true, false, null (for no such claim), or a list of them";
        let wrong = json!({"a": 1.5, "b": {}, "c": [], "d": ["x", []], "e": "", "f": "good"});
        let expected = ["a", "b", "c", "d", "e"].map(|name| format!("issuers[0].required_claims.{name}: {value}"));
        assert_eq!(required(wrong).1, expected);
    }
}
