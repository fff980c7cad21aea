//! Keys that the control plane hands out, told as stories: who waits for them, what is asked, how each request ends.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

mod rotations;
mod story;
mod waits;

use curfew_core::wire::CheckVerdict;
use curfew_core::wire::{IssuerKeys, KeysAnswer};
use curfew_filter::metrics::Metric;
use curfew_filter::outage::{Failure, Notice, Wanted};
use serde_json::json;

use story::{EPOCH, ISSUER, OTHER, Story, answer, jwks, token, token_of};

#[test]
fn the_first_request_asks_for_keys_and_for_the_log_at_once() {
    let mut story = Story::new(json!({}));
    assert_eq!(story.get(1, &token("old")), "waits");
    assert_eq!((story.key_calls.len(), story.polls.len(), story.asked()), (1, 1, 0));
    assert_eq!(story.key_calls.values().next().unwrap().request.issuers, [ISSUER]);
    assert_eq!(story.get(2, &token("old")), "waits");
    assert_eq!(story.key_calls.len(), 1, "they share the call");
    story.page();
    story.keys(&answer(EPOCH, 0, &["old"]));
    assert_eq!((story.outcome(1), story.outcome(2)), ("admitted".into(), "admitted".into()));
    assert_eq!(story.asked(), 0, "the copy decides");
    assert_eq!((story.counted(Metric::Admitted), story.counted(Metric::KeyWait)), (2, 2));
    assert_eq!(story.counted(Metric::ProofMiss), 2, "a request that has waited counts once");
    assert_eq!((story.counted(Metric::KeyCallSent), story.counted(Metric::KeysReplaced)), (1, 1));
    assert_eq!(story.gate.take_keys_gauge(), Some(0));
}

#[test]
fn without_a_lease_a_request_waits_for_keys_and_then_for_an_answer() {
    let mut story = Story::new(json!({}));
    story.get(1, &token("old"));
    story.keys(&answer(EPOCH, 0, &["old"]));
    assert_eq!((story.outcome(1), story.asked()), ("waits".into(), 1));
    story.check(CheckVerdict::Active);
    assert_eq!(story.outcome(1), "admitted");
}

#[test]
fn an_issuer_without_a_key_on_purpose_proves_nothing_and_says_so() {
    let mut story = Story::bounded(json!({}));
    story.get(1, &token("old"));
    story.keys(&answer(EPOCH, 1, &[]));
    assert_eq!(story.refreshes().as_deref(), Some(ISSUER), "it may have published one since");
    story.keys(&answer(EPOCH, 1, &[]));
    assert_eq!(story.outcome(1), "token_invalid");
    assert_eq!(story.get(2, &token("old")), "token_invalid");
}

#[test]
fn without_keys_nothing_is_proven_whatever_the_policy_for_an_unavailable_control_plane() {
    for (changes, outcome) in [
        (json!({}), "unavailable_without_keys"),
        (json!({"on_unavailable": "allow"}), "unavailable_without_keys"),
        (json!({"on_unavailable": "allow", "report_only": true}), "admitted"),
    ] {
        let mut story = Story::new(changes.clone());
        story.get(1, &token("old"));
        story.keys_fail(503);
        assert_eq!(story.outcome(1), outcome, "{changes}");
        assert_eq!(story.get(2, &token("old")), outcome, "{changes}");
        assert_eq!(story.key_calls.len(), 0, "the failure is remembered");
        assert_eq!(story.counted(Metric::UnavailableDenied), 2, "{changes}");
        let notices = story.gate.take_notices();
        assert!(notices.contains(&Notice::Began(Wanted::Keys, Failure::Status(503))), "{notices:?}");
        story.pass(1_000);
        assert_eq!(story.get(3, &token("old")), "waits");
        assert_eq!(story.key_calls.len(), 1);
    }
}

#[test]
fn a_request_that_is_reported_and_has_waited_loses_what_a_client_forged() {
    // The report_only branch above admits; its edits come from the headers that are read again.
    let mut story = Story::new(json!({"report_only": true, "identity_headers": {"x-user-id": "sub"}}));
    story.get(1, &token("old"));
    story.keys_fail(503);
    assert_eq!(story.outcome(1), "admitted");
}

#[test]
fn a_control_plane_that_has_no_keys_yet_is_not_asked_by_each_request() {
    let mut story = Story::new(json!({}));
    story.get(1, &token("old"));
    let none = KeysAnswer { sets: vec![IssuerKeys { issuer: ISSUER.into(), jwks: None }], ..answer(EPOCH, 0, &[]) };
    story.keys(&none);
    assert_eq!(story.outcome(1), "unavailable_without_keys");
    assert!(story.gate.take_notices().contains(&Notice::Began(Wanted::Keys, Failure::NoKeysYet)));
    for stream in 2..50 {
        assert_eq!(story.get(stream, &token("old")), "unavailable_without_keys");
    }
    assert_eq!(story.counted(Metric::KeyCallSent), 1);
    story.pass(1_000);
    story.get(50, &token("old"));
    story.page();
    story.keys(&answer(EPOCH, 0, &["old"]));
    assert_eq!(story.outcome(50), "admitted");
    let again = Notice::Ended { wanted: Wanted::Keys, failed: 1 };
    assert!(story.gate.take_notices().contains(&again));
}

#[test]
fn an_issuer_whose_keys_stand_in_the_configuration_waits_for_nothing() {
    let issuers = json!([{"issuer": ISSUER, "jwks": jwks(&["old"])}, {"issuer": OTHER, "keys": "control_plane"}]);
    let mut story = Story::new(json!({ "issuers": issuers }));
    assert_eq!(story.get(1, &token("old")), "waits");
    assert_eq!((story.key_calls.len(), story.asked()), (0, 1));
    story.check(CheckVerdict::Active);
    assert_eq!(story.outcome(1), "admitted");
    assert_eq!(story.get(2, &token("unknown")), "token_invalid");
    // The log shows keys of the other issuer, which are asked for in advance; this issuer's tokens do not wait for them.
    story.change_keys();
    story.page();
    assert_eq!(story.key_calls.len(), 1);
    assert_eq!(story.key_calls.values().next().unwrap().request.issuers, [OTHER]);
    assert_eq!(story.get(3, &token("old")), "admitted");
    assert_eq!(story.get(4, &token_of(OTHER, "theirs", "bob")), "waits");
    let sets = vec![IssuerKeys { issuer: OTHER.into(), jwks: Some(jwks(&["theirs"])) }];
    story.keys(&KeysAnswer { sets, ..answer(EPOCH, 1, &[]) });
    assert_eq!(story.outcome(4), "admitted");
}

#[test]
fn a_configuration_that_gives_all_keys_never_asks_for_any() {
    let mut story = Story::new(json!({"issuers": [{"issuer": ISSUER, "jwks": jwks(&["old"])}]}));
    story.get(1, &token("old"));
    story.change_keys();
    story.page();
    story.check(CheckVerdict::Active);
    for (stream, key) in [(2, "old"), (3, "new"), (4, "-nameless")] {
        story.get(stream, &token(key));
    }
    assert_eq!((story.key_calls.len(), story.counted(Metric::KeyCallSent)), (0, 0));
}
