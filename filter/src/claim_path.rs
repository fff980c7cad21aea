//! Where a claim stands in a token: at the top level, or inside objects.

use curfew_core::{Fields, Object};
use serde_json::Value;

/// The place of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimPath {
    /// The claim of exactly this name. If the token has none, the dots in the name lead into objects:
    /// `realm_access.roles`.
    Named(String),
    /// The names on the way, where a name has dots in it that lead nowhere.
    Nested(Vec<String>),
}

impl ClaimPath {
    /// The claim there. JSON's null is no claim.
    pub fn find<'c>(&self, claims: &'c Object) -> Option<&'c Value> {
        let found = match self {
            Self::Named(name) => {
                let named = claims.get(name).filter(|value| !value.is_null());
                named.or_else(|| step_down(claims, name.split('.')))
            }
            Self::Nested(names) => step_down(claims, names.iter().map(String::as_str)),
        };
        found.filter(|value| !value.is_null())
    }

    /// True if it leads to the claim that is configured by this name.
    pub(crate) fn is_of(&self, claim: &str) -> bool {
        match self {
            Self::Named(name) => name == claim,
            Self::Nested(names) => names.join(".") == claim,
        }
    }

    /// Reads a name, or a list of names.
    pub(crate) fn read(fields: &mut Fields<'_, '_>, name: &'static str) -> Option<Self> {
        if fields.value(name).is_some_and(Value::is_array) {
            return fields.texts(name).map(Self::Nested);
        }
        fields.text(name).map(|text| Self::Named(text.to_owned()))
    }
}

fn step_down<'c, 'n>(claims: &'c Object, mut names: impl Iterator<Item = &'n str>) -> Option<&'c Value> {
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |value, name| value.as_object()?.get(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_found_by_its_name_or_by_the_way_to_it() {
        let claims = json!({
            "sub": "7", "a.b": 1, "a.c": null, "a": {"b": 2, "c": {"d": [3]}, "e": null}, "https://example.com/app": {"roles": 4},
        });
        let find = |path: ClaimPath| path.find(claims.as_object().unwrap()).cloned();
        let named = |name: &str| find(ClaimPath::Named(name.to_owned()));
        assert_eq!(named("sub"), Some(json!("7")));
        assert_eq!(named("a.b"), Some(json!(1)), "a claim of that very name comes first");
        assert_eq!(named("a.c.d"), Some(json!([3])));
        assert_eq!(named("a.c"), Some(json!({"d": [3]})), "null is no claim of that name");
        for missing in ["a.e", "a.x", "sub.x", "a.c.d.0", "", "."] {
            assert_eq!(named(missing), None, "{missing}");
        }
        let nested = |names: &[&str]| find(ClaimPath::Nested(names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!(nested(&["https://example.com/app", "roles"]), Some(json!(4)));
        assert_eq!(nested(&["a", "b"]), Some(json!(2)));
        assert_eq!(nested(&["a.b"]), Some(json!(1)));
    }
}
