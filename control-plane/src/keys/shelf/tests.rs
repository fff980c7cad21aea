//! Stories of one shelf, each a table of what is done and what is in force.

use serde_json::{Value, json};

use super::*;

/// Keys by their names; a digit is the key itself: `a1` and `b1` are one key under two names.
fn listed(keys: &[&str]) -> PublishedKeys {
    let jwk = |name: &&str| -> Value {
        let (kid, number) = name.split_at(1);
        // 2048 bits that are odd; no more is asked of a key that verifies nothing.
        let n = format!("{}AAA{number}{}pQ", "paWl".repeat(10), "paWl".repeat(74));
        let mut jwk = json!({"kty": "RSA", "n": n, "e": "AQAB"});
        if kid != "-" {
            jwk["kid"] = kid.into();
        }
        jwk
    };
    let set = json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() });
    let (published, mistakes) = PublishedKeys::read(&set, &[]).unwrap();
    assert!(mistakes.is_empty(), "{mistakes:?}");
    published
}

fn thumbprint(key: &str) -> String {
    listed(&[key]).iter().next().unwrap().thumbprint.clone()
}

fn shelf(keys: &[&str]) -> Shelf {
    Shelf::default().listing(listed(keys))
}

#[track_caller]
fn assert_in_force(shelf: &Shelf, keys: &[&str]) {
    assert_eq!(shelf.in_force(), listed(keys));
}

#[test]
fn everything_that_is_listed_is_in_force() {
    assert_in_force(&shelf(&["a1", "b2"]), &["a1", "b2"]);
    assert_in_force(&shelf(&["a1", "b2"]).listing(listed(&["b2", "c3"])), &["b2", "c3"]);
    assert_in_force(&shelf(&["a1"]).listing(listed(&[])), &[]);
}

#[test]
fn a_removed_key_stays_away_while_the_source_lists_it() {
    let removed = shelf(&["a1", "b2"]).holding(Hold::Remove, "a", 5).unwrap();
    assert_in_force(&removed, &["b2"]);
    let again = removed.listing(listed(&["a1", "b2", "c3"]));
    assert_in_force(&again, &["b2", "c3"]);
    // Under another name it is the same key; another key of that name is not.
    let renamed = again.listing(listed(&["d1", "a4"]));
    assert_in_force(&renamed, &["a4"]);
    let gone = renamed.listing(listed(&["b2"]));
    assert_in_force(&gone.listing(listed(&["a1"])), &["a1"]);
}

#[test]
fn the_last_key_may_be_removed() {
    assert_in_force(&shelf(&["a1"]).holding(Hold::Remove, "a", 5).unwrap(), &[]);
}

#[test]
fn a_distrusted_name_stays_away_with_all_keys_that_ever_carried_it() {
    let distrusted = shelf(&["a1", "a2", "b3"]).holding(Hold::Distrust, "a", 5).unwrap();
    assert_in_force(&distrusted, &["b3"]);
    // Neither comes back after it was gone, under its name or another one, or without a name.
    let later = distrusted.listing(listed(&["b3"])).listing(listed(&["c1", "-2", "b3"]));
    assert_in_force(&later, &["b3"]);
    // A new key of that name is distrusted, and stays so under another name.
    let newer = later.listing(listed(&["a4", "b3"]));
    assert_in_force(&newer, &["b3"]);
    assert_in_force(&newer.clone().listing(listed(&["d4", "b3"])), &["b3"]);
    let trusted = newer.holding(Hold::Trust, "a", 9).unwrap();
    assert_in_force(&trusted, &["a4", "b3"]);
    assert_in_force(&trusted.listing(listed(&["a1", "c2"])), &["a1", "c2"]);
}

#[test]
fn a_key_is_distrusted_by_its_thumbprint_without_its_name() {
    let distrusted = shelf(&["a1", "a2"]).holding(Hold::Distrust, &thumbprint("a1"), 5).unwrap();
    assert_in_force(&distrusted, &["a2"]);
    assert_in_force(&distrusted.clone().listing(listed(&["a3", "b1"])), &["a3"]);
    let trusted = distrusted.holding(Hold::Trust, &thumbprint("-1"), 6).unwrap();
    assert_in_force(&trusted, &["a1", "a2"]);
}

#[test]
fn a_distrust_outlasts_a_removal_and_trust_ends_both() {
    let both = shelf(&["a1"]).holding(Hold::Remove, "a", 5).unwrap().holding(Hold::Distrust, "a", 6).unwrap();
    let (_, standing) = both.keys().next().unwrap();
    assert_eq!(standing, Standing::Distrusted(6));
    let relisted = both.clone().listing(listed(&[])).listing(listed(&["a1"]));
    assert_in_force(&relisted, &[]);
    assert_in_force(&both.holding(Hold::Trust, "a", 7).unwrap(), &["a1"]);
    let removed = shelf(&["a1", "b2"]).holding(Hold::Remove, "a", 5).unwrap();
    assert_in_force(&removed.holding(Hold::Trust, "a", 7).unwrap(), &["a1", "b2"]);
}

#[test]
fn only_what_is_there_can_be_held_or_let_go() {
    let known = shelf(&["a1"]);
    for hold in [Hold::Remove, Hold::Trust] {
        assert_eq!(known.clone().holding(hold, "b", 5), Err(KeyRefusal::UnknownKey), "{hold:?}");
    }
    assert_eq!(known.clone().holding(Hold::Trust, "a", 5), Ok(known.clone()));
    // What was done before is done: a call that is repeated is no mistake, and the first time counts.
    let distrusted = known.holding(Hold::Distrust, "a", 5).unwrap();
    assert_eq!(distrusted.clone().holding(Hold::Distrust, "a", 9), Ok(distrusted.clone()));
    let gone = distrusted.listing(listed(&[]));
    assert_eq!(gone.clone().holding(Hold::Distrust, "a", 9), Ok(gone.clone()));
    let removed = shelf(&["a1"]).holding(Hold::Remove, "a", 5).unwrap();
    assert_eq!(removed.clone().holding(Hold::Remove, "a", 9), Ok(removed.clone()));
}

#[test]
fn a_key_that_is_not_listed_is_distrusted_by_its_name_or_its_thumbprint() {
    for name in ["b".to_owned(), thumbprint("b2")] {
        let distrusted = shelf(&["a1"]).holding(Hold::Distrust, &name, 5).unwrap();
        assert_in_force(&distrusted, &["a1"]);
        let back = distrusted.listing(listed(&["a1", "b2"]));
        assert_in_force(&back, &["a1"]);
        let renamed = back.listing(listed(&["a1", "c2"]));
        assert_in_force(&renamed, &["a1"]);
        assert_in_force(&renamed.holding(Hold::Trust, &name, 7).unwrap(), &["a1", "c2"]);
    }
}

#[test]
fn a_key_is_known_while_it_is_listed_and_for_as_long_as_it_is_distrusted() {
    let [a, kid] = [thumbprint("a1"), "a".to_owned()];
    for name in [&a, &kid] {
        let listing = shelf(&["a1"]);
        assert!(listing.knows(name) && !listing.clone().listing(listed(&["b2"])).knows(name));
        let gone = listing.holding(Hold::Distrust, name, 5).unwrap().listing(listed(&["b2"]));
        assert!(gone.knows(name) && gone.knows(&a), "{name}");
        assert!(!gone.holding(Hold::Trust, name, 6).unwrap().knows(name));
    }
    // A name that no key had, until one comes under it.
    let early = shelf(&["b2"]).holding(Hold::Distrust, &kid, 5).unwrap();
    assert!(!early.knows(&kid));
    assert!(early.listing(listed(&["a1"])).listing(listed(&["b2"])).knows(&kid));
}

#[test]
fn a_shelf_is_read_as_it_was_stored() {
    let shelf = shelf(&["a1", "b2", "-3"]).holding(Hold::Remove, "b", 5).unwrap();
    let shelf = shelf.holding(Hold::Distrust, "a", 6).unwrap();
    let texts = shelf.texts("a file", 7, None);
    let holds = format!(
        r#"{{"removed":{{"{}":{{"since":5}}}},"distrusted":{{"a":{{"since":6,"by_kid":true,"thumbprints":["{}"]}}}}}}"#,
        thumbprint("b2"),
        thumbprint("a1")
    );
    assert_eq!((texts.holds.as_str(), texts.source.as_str(), texts.listed_at), (holds.as_str(), "a file", 7));
    assert_eq!(texts.jwks, listed(&["-3"]).to_jwks().to_string());
    let stored = StoredKeys { issuer: "i".into(), seq: 1, changed_at: 7, texts };
    assert_eq!(Shelf::stored(&stored, &[]), Ok(shelf.clone()));
    // The list keeps the time when it came first.
    assert_eq!(shelf.clone().listing(listed(&["a1", "b2", "-3"])).texts("", 9, Some(&stored)).listed_at, 7);
    assert_eq!(shelf.listing(listed(&["a1"])).texts("", 9, Some(&stored)).listed_at, 9);
    let newer = |holds: &str| {
        let texts = KeyTexts { holds: holds.into(), ..stored.texts.clone() };
        Shelf::stored(&StoredKeys { texts, ..stored.clone() }, &[])
    };
    assert_eq!(newer(r#"{"quarantined":{}}"#), Err(KeyRefusal::Unreadable));
    assert!(newer("{}").is_ok());
}
