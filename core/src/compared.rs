//! In what a filter's policy differs from a control plane's, with the values, for operators that have both.
//!
//! This decides nothing. What the two sides must agree on is in the keyspaces ([`Policy::keyspace`]), and hashes of its
//! parts travel between them ([`crate::Agreement`]).

use std::fmt;
use std::time::Duration;

use crate::Policy;
use crate::issuer::Issuer;

/// A setting, and its two values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differing {
    /// The filter's field, such as `user_claim` or `clock_skew of the issuer "https://issuer.example.com"`.
    pub field: String,
    /// The filter's value.
    pub filter: String,
    /// The control plane's value.
    pub control_plane: String,
}

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// The two sides would compute other revocation keys, or other times, for a token: a filter's questions about such tokens
    /// are refused.
    pub keyspace: Vec<Differing>,
    /// The filter accepts tokens that the control plane refuses. They cannot be logged out one by one.
    pub laxer: Vec<Differing>,
}

impl fmt::Display for Differing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, filter, control_plane } = self;
        write!(formatter, "{field} is {filter} in the filter and {control_plane} in the control plane")
    }
}

impl Policy {
    /// In what the policy of a filter differs from this one, of a control plane. A control plane may have more issuers than a
    /// filter, and a filter may accept fewer tokens.
    pub fn compared_with(&self, filter: &Self) -> Compared {
        let mut compared = Compared::default();
        self.compare_shared(filter, &mut compared);
        for issuer in &filter.issuers {
            let name = issuer.namespace();
            match self.issuers.iter().find(|own| own.namespace() == name) {
                Some(own) => compare_issuers(own, issuer, &mut compared),
                None => compared.keyspace.push(Differing {
                    field: format!("the issuer {name:?}"),
                    filter: "known".to_owned(),
                    control_plane: "unknown".to_owned(),
                }),
            }
        }
        compared
    }

    fn compare_shared(&self, filter: &Self, compared: &mut Compared) {
        let Compared { keyspace, laxer } = compared;
        note(keyspace, "user_claim", [filter, self].map(|side| format!("{:?}", side.user_claim)));
        note(keyspace, "issued_at_claim", [filter, self].map(|side| side.cutoff_claim.as_str().to_owned()));
        note(keyspace, "max_token_ttl", [filter, self].map(|side| seconds(Some(side.max_token_ttl))));
        note(keyspace, "allow_missing_exp", [filter, self].map(|side| side.allow_missing_exp.to_string()));
        let is_type = |own: &String, other: &String| own.eq_ignore_ascii_case(other);
        if !filter.token_types.iter().all(|other| self.token_types.iter().any(|own| is_type(own, other))) {
            note(laxer, "token_types", [filter, self].map(|side| side.token_types.join(", ")));
        }
        if filter.max_token_bytes > self.max_token_bytes {
            note(laxer, "max_token_bytes", [filter, self].map(|side| side.max_token_bytes.to_string()));
        }
    }
}

fn compare_issuers(own: &Issuer, filter: &Issuer, compared: &mut Compared) {
    let Compared { keyspace, laxer } = compared;
    let field = |name: &str| format!("{name} of the issuer {:?}", own.namespace());
    note(keyspace, &field("clock_skew"), [filter, own].map(|side| seconds(Some(side.clock_skew))));
    note(keyspace, &field("token_lifetime"), [filter, own].map(|side| seconds(side.token_lifetime)));
    note(keyspace, &field("session_claim"), [filter, own].map(|side| format!("{:?}", side.session_claim)));
    let is_within = |some: &[String], all: &[String]| !some.is_empty() && some.iter().all(|one| all.contains(one));
    if !own.audiences.is_empty() && !is_within(&filter.audiences, &own.audiences) {
        note(laxer, &field("audiences"), [filter, own].map(|side| list(&side.audiences)));
    }
    if !filter.required_claims.imply(&own.required_claims) {
        note(laxer, &field("required_claims"), [filter, own].map(|side| side.required_claims.to_string()));
    }
    // Where one side names no algorithms, those of its keys count, and they are not compared here.
    if !own.algorithms.is_empty() && !filter.algorithms.iter().all(|one| own.algorithms.contains(one)) {
        let names = |side: &Issuer| side.algorithms.iter().map(|one| one.as_str().to_owned()).collect::<Vec<_>>();
        note(laxer, &field("algorithms"), [filter, own].map(|side| list(&names(side))));
    }
    let required = [
        ("require_user", [filter.require_user, own.require_user]),
        ("require_issued_at", [filter.require_issued_at, own.require_issued_at]),
    ];
    for (name, values) in required {
        if values == [false, true] {
            note(laxer, &field(name), values.map(|value| value.to_string()));
        }
    }
    if filter.try_all_keys && !own.try_all_keys {
        note(laxer, &field("try_all_keys"), [filter, own].map(|side| side.try_all_keys.to_string()));
    }
}

fn note(found: &mut Vec<Differing>, field: &str, [filter, control_plane]: [String; 2]) {
    if filter != control_plane {
        found.push(Differing { field: field.to_owned(), filter, control_plane });
    }
}

fn seconds(seconds: Option<i64>) -> String {
    let duration = seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    duration.map_or_else(|| "not set".to_owned(), |duration| humantime::format_duration(duration).to_string())
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "not set".to_owned() } else { format!("{names:?}") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A policy with one issuer that has these members, and these members besides.
    fn policy(issuer: Value, more: Value) -> Policy {
        let mut entry = json!({"issuer": "a"});
        let mut document = json!({});
        for (object, changes) in [(&mut entry, issuer), (&mut document, more)] {
            object.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        }
        document["issuers"] = json!([entry]);
        Policy::from_document(&document).unwrap().0
    }

    fn told(found: &[Differing]) -> Vec<String> {
        found.iter().map(Differing::to_string).collect()
    }

    #[test]
    fn what_makes_other_keys_is_told_with_both_values() {
        for (issuer, more, expected) in [
            (json!({}), json!({"user_claim": "uid"}), r#"user_claim is "uid" in the filter and "sub""#),
            (json!({}), json!({"issued_at_claim": "auth_time"}), "issued_at_claim is auth_time in the filter and iat"),
            (json!({}), json!({"max_token_ttl": "1h"}), "max_token_ttl is 1h in the filter and 30days"),
            (json!({}), json!({"allow_missing_exp": true}), "allow_missing_exp is true in the filter and false"),
            (json!({}), json!({"clock_skew": "9s"}), r#"clock_skew of the issuer "a" is 9s in the filter and 5s"#),
            (json!({"clock_skew": "0s"}), json!({}), r#"clock_skew of the issuer "a" is 0s in the filter and 5s"#),
            (
                json!({"token_lifetime": "1h"}),
                json!({}),
                r#"token_lifetime of the issuer "a" is 1h in the filter and not set"#,
            ),
            (
                json!({"session_claim": "session_state"}),
                json!({}),
                r#"session_claim of the issuer "a" is "session_state" in the filter and "sid""#,
            ),
            (json!({"issuer": "b"}), json!({}), r#"the issuer "b" is known in the filter and unknown"#),
        ] {
            let filter = policy(issuer, more);
            let compared = policy(json!({}), json!({})).compared_with(&filter);
            assert_eq!(told(&compared.keyspace), [format!("{expected} in the control plane")]);
            assert_eq!(compared.laxer, []);
            assert!(!policy(json!({}), json!({})).knows(filter.keyspaces().next().unwrap()), "{expected}");
        }
        let own = policy(json!({"clock_skew": "9s"}), json!({}));
        assert_eq!(own.compared_with(&policy(json!({}), json!({"clock_skew": "9s"}))), Compared::default());
    }

    #[test]
    fn a_filter_may_accept_less_and_is_told_where_it_accepts_more() {
        for (wide, narrow, field) in [
            (json!({"audiences": ["x", "y"]}), json!({"audiences": ["x"]}), "audiences"),
            (json!({}), json!({"audiences": ["x"]}), "audiences"),
            (json!({}), json!({"required_claims": {"use": "access"}}), "required_claims"),
            (
                json!({"required_claims": {"use": ["access", "id"]}}),
                json!({"required_claims": {"use": "access", "a": 1}}),
                "required_claims",
            ),
            (json!({}), json!({"require_user": true}), "require_user"),
            (json!({"require_issued_at": false}), json!({}), "require_issued_at"),
            (json!({"algorithms": ["RS256", "PS256"]}), json!({"algorithms": ["RS256"]}), "algorithms"),
            (json!({"try_all_keys": true}), json!({}), "try_all_keys"),
        ] {
            let [wide, narrow] = [wide, narrow].map(|issuer| policy(issuer, json!({})));
            assert_eq!(wide.compared_with(&narrow), Compared::default(), "{field}");
            let Compared { keyspace, laxer } = narrow.compared_with(&wide);
            assert_eq!((keyspace.as_slice(), laxer.len()), ([].as_slice(), 1), "{field}");
            assert!(laxer[0].field.starts_with(field), "{laxer:?}");
        }
        let [wide, narrow] =
            [json!({"token_types": ["JWT", "x"]}), json!({"token_types": ["jwt"]})].map(|more| policy(json!({}), more));
        assert_eq!(wide.compared_with(&narrow), Compared::default());
        let expected = "token_types is JWT, x in the filter and jwt in the control plane";
        assert_eq!(told(&narrow.compared_with(&wide).laxer), [expected]);
        let [long, short] = [20_000, 10_000].map(|bytes| policy(json!({}), json!({"max_token_bytes": bytes})));
        assert_eq!(long.compared_with(&short), Compared::default());
        assert_eq!(short.compared_with(&long).laxer[0].field, "max_token_bytes");
        let all = policy(json!({"try_all_keys": true}), json!({}));
        let told = told(&policy(json!({}), json!({})).compared_with(&all).laxer);
        assert_eq!(told, [r#"try_all_keys of the issuer "a" is true in the filter and false in the control plane"#]);
    }
}
