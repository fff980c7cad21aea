//! What a rule asks of a token beyond being good: claims with certain values.

use curfew_core::{Fields, Object};
use serde_json::Value;

use crate::claim_path::ClaimPath;

/// Claims that a token must have. It must meet all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Requirement(Vec<(ClaimPath, Wanted)>);

/// Which values of a claim will do. JSON's null stands for a claim that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// One of these. Of a list, as of `aud`, one member is enough (RFC 7519 section 4.1.3).
    OneOf(Vec<Value>),
    /// All of these, as members of a list, or as words of a text, as in `scope` (RFC 6749 section 3.3).
    Contains(Vec<Value>),
}

impl Requirement {
    /// True if a token with these claims meets it.
    pub(crate) fn is_met_by(&self, claims: &Object) -> bool {
        self.0.iter().all(|(path, wanted)| wanted.is_met_by(path.find(claims)))
    }

    /// Reads `claims` and `audiences`; `None` if nothing is asked.
    pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let mut wanted = Vec::new();
        match fields.value("claims") {
            None => {}
            Some(Value::Object(claims)) if !claims.is_empty() => {
                for (name, value) in claims {
                    let path = format!("{}.{name}", fields.at("claims"));
                    let read = Wanted::read(path, value, fields);
                    wanted.extend(read.map(|read| (ClaimPath::Named(name.clone()), read)));
                }
            }
            // Nothing required is what the operator certainly did not mean.
            Some(_) => fields.wrong("claims", "must be an object from names of claims to what they must be"),
        }
        if let Some(audiences) = fields.texts("audiences") {
            let audiences = audiences.into_iter().map(Value::String).collect();
            wanted.push((ClaimPath::Nested(vec!["aud".to_owned()]), Wanted::OneOf(audiences)));
        }
        (!wanted.is_empty()).then_some(Self(wanted))
    }
}

impl Wanted {
    fn is_met_by(&self, claim: Option<&Value>) -> bool {
        match (self, claim) {
            (Self::OneOf(values), None) => values.contains(&Value::Null),
            (Self::OneOf(values), Some(Value::Array(members))) => {
                members.iter().any(|member| !member.is_null() && values.contains(member))
            }
            (Self::OneOf(values), Some(claim)) => values.contains(claim),
            (Self::Contains(values), Some(claim)) => values.iter().all(|value| contains(claim, value)),
            (Self::Contains(_), None) => false,
        }
    }

    fn read(path: String, value: &Value, fields: &mut Fields<'_, '_>) -> Option<Self> {
        let wanted = match value {
            Value::Object(_) => {
                let read = |fields: &mut Fields<'_, '_>| match (fields.value("contains"), fields.value("one_of")) {
                    (Some(value), None) => Some(Self::Contains(listed(value))),
                    (None, Some(value)) => Some(Self::OneOf(listed(value))),
                    _ => None,
                };
                Fields::read(path.clone(), value, fields.mistakes(), read)?
            }
            value => Some(Self::OneOf(listed(value))),
        };
        match wanted {
            Some(wanted) if wanted.is_usable() => Some(wanted),
            _ => {
                let problem = "must be a text, an integer, true, false, null (for no such claim), a list of them, or an \
                               object with contains or one_of";
                fields.mistakes().add(path, problem);
                None
            }
        }
    }

    /// Texts, integers and booleans have one JSON value each. Fractions have several spellings, and a text with a space
    /// in it is contained in no scope.
    fn is_usable(&self) -> bool {
        let (Self::OneOf(values) | Self::Contains(values)) = self;
        let usable = |value: &Value| match value {
            Value::Null => matches!(self, Self::OneOf(_)),
            Value::Bool(_) => true,
            Value::Number(number) => !number.is_f64(),
            Value::String(text) => !text.is_empty() && (matches!(self, Self::OneOf(_)) || !text.contains(' ')),
            Value::Array(_) | Value::Object(_) => false,
        };
        !values.is_empty() && values.iter().all(usable)
    }
}

fn contains(claim: &Value, wanted: &Value) -> bool {
    match (claim, wanted) {
        (Value::Array(members), wanted) => members.contains(wanted),
        (Value::String(words), Value::String(word)) => words.split(' ').any(|own| own == word),
        (claim, wanted) => claim == wanted,
    }
}

fn listed(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values.clone(),
        value => vec![value.clone()],
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::Mistakes;
    use serde_json::json;

    use super::*;

    fn read(document: Value) -> (Option<Requirement>, Vec<String>) {
        let mut mistakes = Mistakes::default();
        let read = Fields::read("rules[0]", &document, &mut mistakes, Requirement::read).flatten();
        (read, mistakes.iter().map(ToString::to_string).collect())
    }

    fn is_met(document: Value, claims: Value) -> bool {
        let (requirement, mistakes) = read(document);
        assert_eq!(mistakes, Vec::<String>::new());
        requirement.unwrap().is_met_by(claims.as_object().unwrap())
    }

    #[test]
    fn claims_are_equal_or_one_of_several_or_contain_something() {
        for (claims, token) in [
            (json!({"role": "admin"}), json!({"role": "admin"})),
            (json!({"role": ["admin", "owner"]}), json!({"role": "owner"})),
            (json!({"role": {"one_of": ["admin", "owner"]}}), json!({"role": ["x", "admin"]})),
            (json!({"scope": {"contains": "orders.write"}}), json!({"scope": "orders.read orders.write"})),
            (json!({"scope": {"contains": ["a", "b"]}}), json!({"scope": ["b", "a", "c"]})),
            (json!({"realm_access.roles": {"contains": "a"}}), json!({"realm_access": {"roles": ["a"]}})),
            (json!({"level": 2, "mfa": true}), json!({"level": 2, "mfa": true})),
            (json!({"nonce": null}), json!({"sub": "7"})),
        ] {
            assert!(is_met(json!({ "claims": claims }), token.clone()), "{claims} {token}");
        }
        for (claims, token) in [
            (json!({"role": "admin"}), json!({"role": "Admin"})),
            (json!({"role": "admin"}), json!({"role": "admin user"})),
            (json!({"role": "admin"}), json!({})),
            (json!({"scope": {"contains": "orders.write"}}), json!({"scope": "orders.writer"})),
            (json!({"scope": {"contains": "orders.write"}}), json!({"scope": ["orders.write x"]})),
            (json!({"scope": {"contains": ["a", "b"]}}), json!({"scope": "a"})),
            (json!({"scope": {"contains": "a"}}), json!({"scope": {"a": true}})),
            (json!({"level": 2}), json!({"level": "2"})),
            (json!({"nonce": null}), json!({"nonce": "x"})),
            (json!({"a": "x", "b": "y"}), json!({"a": "x"})),
        ] {
            assert!(!is_met(json!({ "claims": claims }), token.clone()), "{claims} {token}");
        }
    }

    #[test]
    fn one_audience_is_enough() {
        let audiences = || json!({"audiences": ["orders", "shop"]});
        assert!(is_met(audiences(), json!({"aud": "shop"})));
        assert!(is_met(audiences(), json!({"aud": ["x", "orders"]})));
        assert!(!is_met(audiences(), json!({"aud": "Shop"})));
        assert!(!is_met(audiences(), json!({})));
    }

    #[test]
    fn wrong_requirements_are_named() {
        let problem = "must be a text, an integer, true, false, null (for no such claim), a list of them, or an object with \
                       contains or one_of";
        for claim in
            [json!(1.5), json!([]), json!(""), json!({"contains": null}), json!({"contains": "a b"}), json!({})]
        {
            let (_, mistakes) = read(json!({"claims": {"a": claim}}));
            assert_eq!(mistakes, [format!("rules[0].claims.a: {problem}")], "{claim}");
        }
        let (_, mistakes) = read(json!({"claims": {}, "audiences": []}));
        assert_eq!(
            mistakes,
            [
                "rules[0].claims: must be an object from names of claims to what they must be",
                "rules[0].audiences: must be a list of non-empty strings, at least one",
            ]
        );
        let (_, mistakes) = read(json!({"claims": {"a": {"contains": "x", "has": 1}}}));
        assert!(mistakes.first().is_some_and(|first| first.starts_with("rules[0].claims.a.has: is not a known field")));
    }
}
