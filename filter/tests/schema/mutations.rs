//! Thousands of configurations, each wrong or changed in one place: what the parser accepts the schema accepts, and what it
//! refuses the schema refuses, but for the kinds of mistakes that the page lists.

use std::collections::{BTreeMap, BTreeSet};

use curfew_filter::config::Config;
use serde_json::{Map, Value, json};

use super::{file, judged};

/// The kinds of mistakes that only the parser finds, by their names on the page, and words of its messages.
const ONLY_THE_PARSER: [(&str, &[&str]); 6] = [
    (
        "The form of a text",
        &[
            "must be a duration",
            "must be a path in canonical form",
            "must be a header's name",
            "must be a name that every program reads alike",
            "must be 1 to 64 visible ASCII",
            "must be methods in upper case",
            "must be host names",
            "must be printable ASCII",
            "must be base64",
            "must be at most 1024 bytes",
            "must have at least 16 bytes",
            "must be some of: ",
            "is not a header that may be overwritten",
            "each segment must be text",
            "must be a text, an integer, true, false, null (for no such claim), a list of them, or an object with contains",
        ],
    ),
    ("The length of a duration", &["must be whole seconds", "must be from 1ms to 60s", "must be from 0ns to 3600s"]),
    (
        "Keys",
        &[
            "is too short for",
            "takes a JWK Set, not a secret",
            "must be a JWK Set",
            "holds no key",
            "is not used: alg is",
        ],
    ),
    (
        "Names that belong together",
        &[
            "is given twice",
            "must be given where there is more than one issuer",
            "names the issuer",
            "must be the same in all",
        ],
    ),
    ("Lengths that belong together", &["must not be longer than max_token_ttl"]),
    ("The environment", &["names a variable that the VM does not have"]),
];

/// A configuration with every field, or with what cannot stand beside the other.
fn configurations() -> [Value; 2] {
    let jwk = json!({"kty": "oct", "alg": "HS256", "kid": "a", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"});
    let secret = "0123456789abcdef0123456789abcdef";
    let strict = json!({
        "$schema": "filter-configuration.schema.json",
        "issuers": [
            {
                "issuer": "https://a.example.com", "audiences": ["shop"], "required_claims": {"typ": "a", "n": [null, 1]},
                "require_user": true, "jwks": {"keys": [jwk]}, "algorithms": ["HS256"], "require_issued_at": false,
                "token_lifetime": "1h", "session_claim": "realm.session", "clock_skew": "1s", "try_all_keys": true,
            },
            {"issuer": "https://b.example.com", "secret": secret, "algorithm": "HS256"},
            {"issuer": "https://c.example.com", "keys": "control_plane"},
        ],
        "sources": [
            {"header": "x-token", "prefix": "JWT", "issuers": ["https://a.example.com"]}, {"cookie": "a"}, {"query": "b"},
            {"subprotocol": "c"},
        ],
        "other_schemes": "ignore", "forward": false, "trusted_headers": ["x-forwarded-prefix"], "cors_preflight": true,
        "rules": [
            {"path": "/a", "hosts": ["a.example.com"], "methods": ["GET"], "action": "skip"},
            {"prefix": "/b", "action": "optional", "report_only": true},
            {
                "template": "/c/{id}", "action": "require", "audiences": ["x"],
                "claims": {"a": "b", "c": [1, null], "d": {"contains": ["e", true]}, "f": {"one_of": [1, "g"]}, "h": null},
            },
        ],
        "identity_headers": {
            "x-a": "sub", "x-b": {"claim": "b", "list": "comma"}, "x-c": {"claim": ["c", "d"]},
            "x-d": {"payload": "base64url_padded"},
        },
        "control_plane": {"cluster": "curfew", "secret": secret, "authority": "a", "timeout": "1s"},
        "consistency": "strict", "replica_bytes": 65536, "on_unavailable": "allow", "user_claim": "sub",
        "issued_at_claim": "auth_time", "token_types": ["JWT"], "allow_missing_exp": true, "clock_skew": "5s",
        "max_token_ttl": "30d", "max_token_bytes": 1024, "cache_bytes": 65536, "report_only": true, "filter_state": true,
    });
    let bounded = json!({
        "issuers": [{"secret_base64": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}],
        "control_plane": {"cluster": "curfew", "secret_env": "SECRET"},
        "consistency": "bounded", "max_staleness": "0s",
    });
    [strict, bounded]
}

/// What any value may be changed into.
fn values() -> Vec<Value> {
    let numbers = [json!(0), json!(-1), json!(1), json!(1.5), json!(65536), json!(65536.0), json!(1_u64 << 60)];
    let texts =
        ["", "x", "GET", "get", "/x", "/x/../y", "x y", "5s", "1500ms", "1000d", "10m", "HS256", "RS256", "skip"];
    let others = [
        json!(null),
        json!(true),
        json!(false),
        json!([]),
        json!([[]]),
        json!([1]),
        json!([null]),
        json!(["x"]),
        json!([""]),
        json!(["x", 1]),
        json!({}),
        json!({"x": 1}),
        json!({"x": "y"}),
        json!({"contains": "x"}),
        json!({"contains": null}),
        json!({"one_of": []}),
    ];
    let texts = texts.into_iter().map(Value::from).chain([json!("x".repeat(2000)), json!("bounded"), json!("strict")]);
    numbers.into_iter().chain(texts).chain(others).collect()
}

/// The places of all values in the document, as JSON pointers. What is inside a JWK Set is read tolerantly.
fn places(value: &Value, place: &str, found: &mut Vec<String>) {
    found.push(place.to_owned());
    match value {
        Value::Object(members) if !place.ends_with("/jwks") => {
            let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
            members.iter().for_each(|(name, member)| places(member, &format!("{place}/{}", escaped(name)), found));
        }
        Value::Array(members) => {
            (0..).zip(members).for_each(|(at, member): (usize, _)| places(member, &format!("{place}/{at}"), found));
        }
        _ => {}
    }
}

/// All members of objects in the documents, to be put into others.
fn members(value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(own) => own.iter().for_each(|(name, member)| {
            found.push((name.clone(), member.clone()));
            members(member, found);
        }),
        Value::Array(own) => own.iter().for_each(|member| members(member, found)),
        _ => {}
    }
}

/// Each document with one change.
fn mutants() -> Vec<Value> {
    let documents = configurations();
    let (mut mutants, mut known) = (Vec::new(), Vec::new());
    documents.iter().for_each(|document| members(document, &mut known));
    for document in &documents {
        let mut found = Vec::new();
        places(document, "", &mut found);
        let mut change = |place: &str, change: &dyn Fn(&mut Value)| {
            let mut mutant = document.clone();
            change(mutant.pointer_mut(place).unwrap());
            mutants.push(mutant);
        };
        for place in &found {
            values().into_iter().for_each(|value| change(place, &|own| *own = value.clone()));
            match document.pointer(place).unwrap() {
                Value::Object(own) => {
                    own.keys().for_each(|name| change(place, &|own| drop(own.as_object_mut().unwrap().remove(name))));
                    for (name, value) in &known {
                        change(place, &|own| own[name] = value.clone());
                    }
                }
                Value::Array(own) if !own.is_empty() => {
                    change(place, &|own| {
                        let first = own[0].clone();
                        own.as_array_mut().unwrap().push(first);
                    });
                }
                _ => {}
            }
        }
    }
    mutants
}

fn parsed(document: &Value) -> Result<(), Vec<String>> {
    let environment = |name: &str| (name == "SECRET").then(|| "0123456789abcdef".to_owned());
    let parsed = Config::parse_with(document.to_string().as_bytes(), &environment);
    parsed.map(drop).map_err(|mistakes| mistakes.iter().map(|mistake| mistake.problem.clone()).collect())
}

/// The kind of a mistake that only the parser finds.
fn kind(problem: &str) -> Option<&'static str> {
    let begins = |(_, problems): &&(&str, &[&str])| problems.iter().any(|own| problem.contains(own));
    ONLY_THE_PARSER.iter().find(begins).map(|(name, _)| *name)
}

/// True if somewhere a whole number is written with a fraction, which JSON Schema calls an integer.
fn has_fraction_of_zero(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64() && number.as_f64().is_some_and(|number| number.fract() == 0.0),
        Value::Array(members) => members.iter().any(has_fraction_of_zero),
        Value::Object(members) => members.values().any(has_fraction_of_zero),
        _ => false,
    }
}

#[test]
fn the_schema_and_the_parser_agree_but_for_what_the_page_lists() {
    let (mut agreed, mut kinds) = (0, BTreeMap::<&str, u64>::new());
    let (mut too_strict, mut too_lenient) = (BTreeSet::new(), BTreeSet::new());
    for mutant in mutants() {
        match (judged(&mutant), parsed(&mutant)) {
            (None, Ok(())) | (Some(_), Err(_)) => agreed += 1,
            (Some(problem), Ok(())) => drop(too_strict.insert(problem)),
            (None, Err(_)) if has_fraction_of_zero(&mutant) => {
                *kinds.entry("Numbers such as `65536.0`").or_default() += 1
            }
            (None, Err(problems)) => {
                for problem in problems {
                    match kind(&problem) {
                        Some(kind) => *kinds.entry(kind).or_default() += 1,
                        None => drop(too_lenient.insert(problem)),
                    }
                }
            }
        }
    }
    assert_eq!((too_strict, too_lenient), (BTreeSet::new(), BTreeSet::new()));
    assert!(agreed > 3_000, "{agreed}");
    let page = file("docs/filter-configuration.md");
    let (_, section) = page.split_once("\n## A schema for editors\n").unwrap();
    let listed = section.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("- **"));
    let listed: BTreeSet<_> = listed.map(|line| line.split(":**").next().unwrap()).collect();
    assert_eq!(kinds.into_keys().collect::<BTreeSet<_>>(), listed, "each kind that is listed is met");
}

#[test]
fn the_documents_that_are_changed_are_right_and_use_every_field() {
    let mut used = Map::new();
    for document in configurations() {
        assert_eq!((judged(&document), parsed(&document)), (None, Ok(())));
        used.extend(document.as_object().unwrap().clone());
    }
    let known: BTreeSet<_> = super::schema()["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(used.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), known);
}
