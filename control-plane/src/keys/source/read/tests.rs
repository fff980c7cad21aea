//! What an entry may say about its source, and what it is told when that is wrong.

use curfew_core::{Mistake, Policy};
use serde_json::json;

use super::*;

fn take(mut entry: Value) -> (Option<KeySource>, Value, Vec<String>) {
    let mut mistakes = Mistakes::default();
    let source = take_source("issuers[0]", &mut entry, &mut mistakes);
    (source, entry, mistakes.iter().map(Mistake::to_string).collect())
}

fn source(entry: Value) -> Source {
    let (source, _, mistakes) = take(entry);
    assert_eq!(mistakes, [""; 0]);
    source.unwrap().source
}

fn mistakes(entry: Value) -> Vec<String> {
    let (source, _, mistakes) = take(entry);
    assert_eq!(source, None);
    mistakes
}

fn at(text: &str) -> KeyUrl {
    KeyUrl::parse(text).unwrap()
}

#[test]
fn each_kind_of_source_is_read_and_the_rules_are_left_to_the_policy() {
    let issuer = "https://login.example.com/realms/main";
    let discovery = |place: &str| Source::Discovery(Discovery { issuer: issuer.to_owned(), at: at(place) });
    let keys = "https://login.example.com/keys";
    assert_eq!(source(json!({"issuer": issuer})), discovery(issuer));
    assert_eq!(source(json!({"issuer": issuer, "discovery": true})), discovery(issuer));
    let inside = "https://keycloak.example.com/realms/main";
    assert_eq!(source(json!({"issuer": issuer, "discovery": inside})), discovery(inside));
    assert_eq!(source(json!({"issuer": issuer, "jwks_url": keys})), Source::Url(at(keys)));
    assert_eq!(source(json!({"jwks_url": keys, "discovery": false})), Source::Url(at(keys)));
    assert_eq!(source(json!({"jwks_file": "/etc/keys.json"})), Source::File("/etc/keys.json".into()));
    let entry = json!({"issuer": issuer, "audiences": ["api"], "jwks_url": keys, "fetch_timeout": "2s"});
    assert_eq!(take(entry).1, json!({"issuer": issuer, "audiences": ["api"]}));
}

#[test]
fn an_entry_with_keys_or_a_secret_has_no_source() {
    for entry in [
        json!({"issuer": "https://login.example.com", "secret": "x"}),
        json!({"issuer": "https://login.example.com", "secret_base64": "x", "discovery": false}),
        json!({"issuer": "https://login.example.com", "jwks": {"keys": []}}),
    ] {
        let (source, rest, mistakes) = take(entry.clone());
        assert_eq!((source, mistakes.len()), (None, 0), "{entry}");
        assert_eq!(rest.as_object().unwrap().len(), 2);
    }
    assert_eq!(take(json!("x")), (None, json!("x"), Vec::new()));
}

#[test]
fn the_terms_are_read_and_have_defaults() {
    let keys = "https://login.example.com/keys";
    assert_eq!(take(json!({"jwks_url": keys})).0.unwrap().terms, FetchTerms::default());
    let (source, ..) = take(json!({
        "jwks_url": keys, "allow_private_network": true, "allow_http": true, "fetch_timeout": "2s",
        "min_interval": "1h", "keep_for": "2d",
    }));
    let expected = FetchTerms {
        ca_file: None,
        allow_private_network: true,
        allow_http: true,
        timeout: Duration::from_secs(2),
        min_interval: Duration::from_secs(3600),
        max_interval: Duration::from_secs(3600),
        keep_for: Some(DAY * 2),
    };
    assert_eq!(source.unwrap().terms, expected);
}

#[test]
fn every_mistake_is_named_with_its_field() {
    let keys = "https://login.example.com/keys";
    let none = "issuers[0].jwks: one of jwks, secret, secret_base64, jwks_url, jwks_file, discovery must be given, or \
                an issuer whose name is a URL that tells its keys";
    let table = [
        (json!({}), none),
        (json!({"issuer": "main"}), none),
        (json!({"issuer": "https://login.example.com", "discovery": false}), none),
        (
            json!({"jwks_url": keys, "jwks_file": "x"}),
            "issuers[0].jwks_url: is given, and so is jwks_file: give one of them",
        ),
        (json!({"jwks_url": "keys"}), "issuers[0].jwks_url: must be a URL such as https://login.example.com/keys"),
        (json!({"jwks_url": 1}), "issuers[0].jwks_url: must be a non-empty string"),
        (
            json!({"jwks_url": "https://u:p@login.example.com"}),
            "issuers[0].jwks_url: must have no user and no password in it",
        ),
        (
            json!({"jwks_url": "http://login.example.com/keys"}),
            "issuers[0].jwks_url: cannot be fetched: it is not https, and allow_http is not set",
        ),
        (
            json!({"issuer": "http://login.example.com"}),
            "issuers[0].issuer: cannot be fetched: it is not https, and allow_http is not set",
        ),
        (
            json!({"jwks_url": "https://10.0.0.1/keys"}),
            "issuers[0].jwks_url: cannot be fetched: its address 10.0.0.1 is in a private network, and \
             allow_private_network is not set",
        ),
        (
            json!({"discovery": true}),
            "issuers[0].discovery: needs the issuer's name (issuer), which the document must have too",
        ),
        (
            json!({"issuer": "main", "discovery": true}),
            "issuers[0].issuer: must be a URL such as https://login.example.com/keys, to be asked",
        ),
        (json!({"issuer": "main", "discovery": 1}), "issuers[0].discovery: must be true, false or a URL"),
        (
            json!({"jwks_file": "x", "min_interval": "5m"}),
            "issuers[0].min_interval: is about keys that are fetched, and these come from jwks_file",
        ),
        (
            json!({"secret": "x", "ca_file": "x"}),
            "issuers[0].ca_file: is about keys that are fetched, and these come from secret",
        ),
        (json!({"jwks_url": keys, "fetch_timeout": "2m"}), "issuers[0].fetch_timeout: must be between 100ms and 1m"),
        (json!({"jwks_url": keys, "min_interval": "0s"}), "issuers[0].min_interval: must be between 1s and 1day"),
        (json!({"jwks_url": keys, "max_interval": "5s"}), "issuers[0].max_interval: must be between 1m and 1day"),
        (json!({"jwks_url": keys, "keep_for": "5m"}), "issuers[0].keep_for: must be between 15m and 10years"),
        (
            json!({"jwks_url": keys, "ca_file": "/nowhere/ca.crt"}),
            "issuers[0].ca_file: /nowhere/ca.crt cannot be read: No such file or directory (os error 2)",
        ),
    ];
    for (entry, expected) in table {
        assert_eq!(mistakes(entry.clone()), [expected], "{entry}");
    }
}

#[test]
fn a_misspelt_field_is_told_what_it_is_meant_to_be() {
    let (_, rest, mistakes) = take(json!({"jwks_ur": "x", "audience": ["x"], "jwks_file": "x"}));
    let (audience, url) = (mistakes.first().unwrap(), mistakes.get(1).unwrap());
    assert!(audience.starts_with("issuers[0].audience: is not a known field here; did you mean audiences? (known: "));
    assert_eq!(url, "issuers[0].jwks_ur: is not a known field here; did you mean jwks_url?");
    assert_eq!((mistakes.len(), rest), (2, json!({})));
}

#[test]
fn the_names_of_the_policys_own_fields_are_all_known() {
    let unknown = |entry: &Value| {
        let problem = Policy::from_document(&json!({"issuers": [entry]})).unwrap_err();
        let unknown = problem.iter().filter(|mistake| mistake.problem.starts_with("is not a known field here"));
        unknown.map(Mistake::clone).collect::<Vec<_>>()
    };
    let names = || INLINE.into_iter().chain(RULES);
    // The policy takes each of them.
    let all: Value =
        names().chain(["?"]).map(|name| (name.to_owned(), json!(null))).collect::<curfew_core::Object>().into();
    let [only] = unknown(&all).try_into().unwrap();
    assert_eq!(only.field, "issuers[0].?");
    // And names no other.
    let (_, known) = only.problem.split_once("(known: ").unwrap();
    for name in known.trim_end_matches(')').split(", ") {
        assert!(names().any(|ours| ours == name), "{name}");
    }
}
