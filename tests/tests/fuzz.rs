//! The committed corpora and the rows of the table of attacks, through the bodies of the fuzzing targets: findings of
//! the fuzzer stay fixed, on any machine and without a fuzzer.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::collections::BTreeSet;

use curfew_testbed::fuzz::{TARGETS, corpus, target};

/// Plays the committed corpus and the rows of a target.
fn replay(name: &str) {
    let target = target(name).unwrap();
    let (rows, corpus) = ((target.rows)().unwrap(), corpus::read(name).unwrap());
    assert!(!rows.is_empty() && !corpus.is_empty(), "{} rows and {} inputs of {name}", rows.len(), corpus.len());
    let mut reached = BTreeSet::new();
    let mut broken = Vec::new();
    for seed in rows.iter().chain(&corpus) {
        match (target.check)(&seed.input) {
            Ok(outcome) => drop(reached.insert(outcome)),
            Err(property) => broken.push(format!("{}: {property:#}", seed.name)),
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let missed: Vec<_> = target.reaches.iter().filter(|outcome| !reached.contains(*outcome)).collect();
    assert!(missed.is_empty(), "{name} does not reach {missed:?}");
}

#[test]
fn tokens_are_what_they_seem() {
    replay("token");
}

#[test]
fn claims_mean_one_thing() {
    replay("claims");
}

#[test]
fn no_reader_finds_another_credential() {
    replay("extraction");
}

#[test]
fn a_second_reading_of_a_path_opens_nothing() {
    replay("paths");
}

#[test]
fn a_configuration_keeps_its_promises_or_is_refused() {
    replay("configuration");
}

#[test]
fn messages_read_back() {
    replay("wire");
}

#[test]
fn the_module_decides_as_the_gate_does() {
    replay("decisions");
}

#[test]
fn every_target_is_replayed_and_can_be_fuzzed() {
    let source = include_str!("fuzz.rs");
    for target in TARGETS {
        assert!(source.contains(&format!("replay(\"{}\")", target.name)), "{target:?} is not replayed");
        let file = corpus::path(target.name).with_file_name(format!("../targets/{}.rs", target.name));
        assert!(file.is_file(), "{} is missing", file.display());
    }
}
