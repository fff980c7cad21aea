//! Keys that are added and removed while the filter runs.

use curfew_core::RevocationKey;
use curfew_core::wire::CheckVerdict;
use curfew_filter::metrics::Metric;
use serde_json::json;

use crate::story::{EPOCH, ISSUER, Story, answer, signed, token};

#[test]
fn a_proven_token_that_is_refused_for_want_of_newer_keys_is_named_for_the_access_log() {
    let mut story = Story::leased_with(json!({"filter_state": true}), &["old"]);
    let id = RevocationKey::token(token("old").rsplit_once('.').unwrap().0.as_bytes()).to_string();
    story.change_keys();
    story.page();
    assert_eq!(story.get(1, &token("old")), "waits");
    story.keys_fail(503);
    // The first has waited, the second need not: the failure is remembered.
    assert_eq!(story.get(2, &token("old")), "unavailable_without_keys");
    for stream in [1, 2] {
        assert_eq!(story.outcome(stream), "unavailable_without_keys");
        assert_eq!(story.named[&stream].as_deref(), Some(&id[..16]));
    }
    // What was not proven has no name that can be trusted.
    story.get(3, &token("unknown"));
    story.keys_fail(503);
    assert_eq!((story.outcome(3), story.named[&3].clone()), ("unavailable_without_keys".into(), None));
}

#[test]
fn a_known_token_that_waits_for_keys_is_a_hit_once() {
    let mut story = Story::leased(&["old"]);
    story.change_keys();
    story.page();
    let before = story.counted(Metric::ProofHit);
    assert_eq!(story.get(1, &token("old")), "waits");
    story.keys(&answer(EPOCH, 2, &["old", "new"]));
    assert_eq!((story.outcome(1), story.counted(Metric::ProofHit)), ("admitted".into(), before + 1));
}

#[test]
fn nothing_is_admitted_by_old_keys_between_the_page_and_the_keys() {
    let mut story = Story::leased(&["old", "new"]);
    assert_eq!((story.get(1, &token("old")), story.get(2, &token("new"))), ("admitted".into(), "admitted".into()));
    story.change_keys();
    story.page();
    assert_eq!(story.polls.values().next().unwrap().applied, 2, "the page is acknowledged at once");
    assert_eq!(story.refreshes(), None, "the keys are asked for before a request comes");
    assert_eq!((story.get(3, &token("old")), story.get(4, &token("new"))), ("waits".into(), "waits".into()));
    assert_eq!(story.asked(), 0);
    story.keys(&answer(EPOCH, 2, &["new"]));
    assert_eq!((story.outcome(3), story.outcome(4)), ("waits".into(), "admitted".into()));
    assert_eq!(story.refreshes().as_deref(), Some(ISSUER), "a removed key is an unknown one");
    story.keys(&answer(EPOCH, 2, &["new"]));
    assert_eq!(story.outcome(3), "token_invalid");
    assert_eq!(story.counted(Metric::KeyCallSent), 3);
}

#[test]
fn a_revoked_token_is_refused_without_waiting_for_keys() {
    let mut story = Story::leased(&["old"]);
    story.log_out(&token("old"));
    story.change_keys();
    story.page();
    assert_eq!(story.get(1, &token("old")), "token_revoked");
}

#[test]
fn keys_that_stay_keep_their_proofs() {
    let mut story = Story::leased(&["old"]);
    story.get(1, &token("old"));
    let missed = story.counted(Metric::ProofMiss);
    for seq in 2..5 {
        story.change_keys();
        story.page();
        story.keys(&answer(EPOCH, seq, &["old", "new"][..1 + usize::try_from(seq % 2).unwrap()]));
        assert_eq!(story.get(10 + u32::try_from(seq).unwrap(), &token("old")), "admitted");
    }
    assert_eq!(story.counted(Metric::ProofMiss), missed);
    assert_eq!(story.counted(Metric::KeysReplaced), 3, "once at the start, and no more often than they differ");
}

#[test]
fn an_answer_that_shows_newer_keys_admits_nothing_before_they_are_here() {
    for strict in [true, false] {
        let mut story = if strict { Story::new(json!({})) } else { Story::bounded(json!({})) };
        story.get(1, &token("old"));
        story.keys(&answer(EPOCH, 0, &["old"]));
        story.change_keys();
        story.check(CheckVerdict::Active);
        assert_eq!((story.outcome(1), story.refreshes()), ("waits".into(), None), "{strict}");
        // It comes with the same token, and waits before anything is asked about it.
        assert_eq!(story.get(2, &token("old")), "waits");
        assert_eq!(story.asked(), 0);
        story.keys(&answer(EPOCH, 1, &["old", "new"]));
        assert_eq!(story.asked(), 1, "it is asked again");
        story.check(CheckVerdict::Active);
        if strict {
            story.check(CheckVerdict::Active);
        }
        assert_eq!((story.outcome(1), story.outcome(2)), ("admitted".into(), "admitted".into()), "{strict}");
    }
}

#[test]
fn a_key_that_is_removed_while_its_token_waits_admits_nothing() {
    for strict in [true, false] {
        let mut story = if strict { Story::new(json!({})) } else { Story::bounded(json!({})) };
        story.get(1, &token("old"));
        story.keys(&answer(EPOCH, 0, &["old"]));
        story.change_keys();
        story.check(CheckVerdict::Active);
        story.keys(&answer(EPOCH, 1, &["new"]));
        story.check(CheckVerdict::Active);
        assert_eq!(story.outcome(1), "token_invalid_key_removed", "{strict}");
        assert_eq!((story.counted(Metric::KeyRemoved), story.counted(Metric::Invalid)), (1, 1));
    }
}

/// One token id, two signatures: what one of the keys proves says nothing about the other.
#[test]
fn each_waiting_request_needs_its_own_key_at_its_release() {
    let mut story = Story::bounded(json!({}));
    let one = token("-one");
    let other = signed(one.rsplit_once('.').unwrap().0, "-two");
    story.get(1, &one);
    story.keys(&answer(EPOCH, 0, &["-one", "-two"]));
    assert_eq!((story.get(2, &other), story.asked()), ("waits".into(), 1));
    // Another token has the worker learn of the change before the question is answered.
    story.change_keys();
    story.get(3, &token("-three"));
    story.keys(&answer(EPOCH, 1, &["-one"]));
    story.check(CheckVerdict::Active);
    assert_eq!(story.outcome(1), "admitted");
    assert_eq!(story.outcome(2), "token_invalid_key_removed");
}

#[test]
fn a_revoked_token_is_revoked_whatever_happened_to_its_key() {
    let mut story = Story::bounded(json!({}));
    story.get(1, &token("old"));
    story.keys(&answer(EPOCH, 0, &["old"]));
    story.change_keys();
    story.check(CheckVerdict::Revoked);
    assert_eq!(story.outcome(1), "token_revoked");
}

#[test]
fn keys_that_change_each_time_end_in_503_even_where_a_missing_verdict_admits() {
    let mut story = Story::bounded(json!({"on_unavailable": "allow"}));
    story.get(1, &token("old"));
    story.keys(&answer(EPOCH, 0, &["old"]));
    for _ in 0..3 {
        story.change_keys();
        story.check(CheckVerdict::Active);
        story.keys(&answer(EPOCH, story.keys_seq, &["old"]));
    }
    story.change_keys();
    story.check(CheckVerdict::Active);
    assert_eq!(story.outcome(1), "unavailable_without_keys");
}

#[test]
fn an_answer_that_shows_newer_keys_ends_in_503_if_they_cannot_be_had() {
    let mut story = Story::bounded(json!({"on_unavailable": "allow"}));
    story.get(1, &token("old"));
    story.keys(&answer(EPOCH, 0, &["old"]));
    story.change_keys();
    story.check(CheckVerdict::Active);
    story.keys_fail(504);
    assert_eq!(story.outcome(1), "unavailable_without_keys");
    assert_eq!(story.get(2, &token("old")), "unavailable_without_keys");
    story.pass(1_000);
    story.get(3, &token("old"));
    story.keys(&answer(EPOCH, 1, &["old"]));
    story.check(CheckVerdict::Active);
    assert_eq!(story.outcome(3), "admitted");
}

#[test]
fn an_older_answer_changes_nothing() {
    let mut story = Story::leased(&["old", "new"]);
    story.change_keys();
    story.page();
    story.keys(&answer(EPOCH, 2, &["new"]));
    story.change_keys();
    story.page();
    story.get(1, &token("new"));
    story.keys(&answer(EPOCH, 1, &["old", "new"]));
    assert_eq!((story.outcome(1), story.refreshes()), ("waits".into(), None), "it is asked again");
    story.keys(&answer(EPOCH, 3, &["new"]));
    assert_eq!(story.outcome(1), "admitted");
    assert_eq!(story.get(2, &token("old")), "waits", "the old key has not come back");
    assert_eq!(story.refreshes().as_deref(), Some(ISSUER));
}

#[test]
fn a_control_plane_that_never_shows_what_its_log_shows_ends_in_503() {
    let mut story = Story::leased(&["old"]);
    story.change_keys();
    story.page();
    story.get(1, &token("old"));
    for _ in 0..3 {
        assert_eq!(story.outcome(1), "waits");
        story.keys(&answer(EPOCH, 1, &["old"]));
    }
    assert_eq!(story.outcome(1), "unavailable_without_keys");
}

#[test]
fn keys_of_another_history_are_taken_and_leave_the_copy_without_a_say() {
    let mut story = Story::leased(&["old", "new"]);
    story.change_keys();
    story.page();
    story.get(1, &token("old"));
    // The database was restored; the copy in this worker is of the history before.
    story.keys(&answer(9, 0, &["new"]));
    assert_eq!((story.outcome(1), story.refreshes().as_deref()), ("waits".into(), Some(ISSUER)), "an unknown key");
    assert_eq!(story.get(2, &token("new")), "waits");
    assert_eq!(story.asked(), 1, "the control plane is asked, not the copy");
    story.keys(&answer(9, 0, &["new"]));
    assert_eq!(story.outcome(1), "token_invalid");
    story.keys_seq = 0;
    story.check_of(9, CheckVerdict::Active);
    assert_eq!(story.outcome(2), "admitted");
    // The worker starts again with the new history.
    story.seq = 0;
    story.page_of(9);
    story.pass(200);
    story.settle();
    story.page_of(9);
    assert_eq!(story.get(3, &token("new")), "admitted");
}

#[test]
fn an_answer_of_another_history_than_the_keys_admits_nothing() {
    let mut story = Story::bounded(json!({}));
    story.get(1, &token("old"));
    story.keys(&answer(EPOCH, 5, &["old"]));
    story.check_of(9, CheckVerdict::Active);
    assert_eq!((story.outcome(1), story.refreshes()), ("waits".into(), None));
    story.keys(&answer(9, 0, &["old"]));
    story.check_of(9, CheckVerdict::Active);
    assert_eq!(story.outcome(1), "admitted");
}

#[test]
fn bounded_mode_notices_a_removed_key_when_its_answer_has_grown_stale() {
    let mut story = Story::bounded(json!({"max_staleness": "2s"}));
    story.get(1, &token("old"));
    story.keys(&answer(EPOCH, 0, &["old"]));
    story.check(CheckVerdict::Active);
    story.change_keys();
    story.pass(1_999);
    assert_eq!(story.get(2, &token("old")), "admitted");
    story.pass(1);
    assert_eq!(story.get(3, &token("old")), "waits");
    story.check(CheckVerdict::Active);
    story.keys(&answer(EPOCH, 1, &["new"]));
    story.check(CheckVerdict::Active);
    assert_eq!(story.outcome(3), "token_invalid_key_removed");
}
