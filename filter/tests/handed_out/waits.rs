//! Tokens that name unknown keys, crowds that wait, calls that get lost.

use curfew_core::Epoch;
use curfew_core::wire::{IssuerKeys, KeysAnswer};
use curfew_filter::held_keys::Kind;
use curfew_filter::metrics::Metric;
use serde_json::json;

use crate::story::{EPOCH, ISSUER, OTHER, Story, answer, jwks, signed, token, token_of};

#[test]
fn a_new_key_is_asked_for_as_soon_as_a_token_names_it() {
    let mut story = Story::leased(&["old"]);
    assert_eq!(story.get(1, &token("new")), "waits");
    assert_eq!(story.refreshes().as_deref(), Some(ISSUER));
    assert_eq!(story.get(2, &token("old")), "admitted", "others do not wait");
    story.keys(&answer(EPOCH, 2, &["old", "new"]));
    assert_eq!(story.outcome(1), "admitted");
}

#[test]
fn ten_thousand_unknown_kids_cost_one_call_in_ten_seconds() {
    let mut story = Story::leased(&["old"]);
    let before = story.counted(Metric::KeyCallSent);
    for number in 0..10_000_u32 {
        story.get(number, &token(&format!("k{number}")));
        if number == 100 {
            assert_eq!(story.all_outcomes().into_iter().collect::<Vec<_>>(), ["waits"]);
            story.keys(&answer(EPOCH, 1, &["old"]));
        }
        // The worker keeps its lease, as it does while it has requests.
        if number % 100 == 99 {
            story.pass(99);
            story.settle();
            if !story.polls.is_empty() {
                story.page();
            }
        }
    }
    assert_eq!(story.all_outcomes().into_iter().collect::<Vec<_>>(), ["token_invalid"]);
    assert_eq!(story.counted(Metric::KeyCallSent), before + 1);
    story.pass(200);
    assert_eq!(story.get(20_000, &token("late")), "waits");
    assert_eq!(story.refreshes().as_deref(), Some(ISSUER));
}

#[test]
fn no_more_than_a_thousand_wait_for_an_issuer_to_be_asked() {
    let mut story = Story::leased(&["old"]);
    for number in 0..1_024_u32 {
        assert_eq!(story.get(number, &token(&format!("k{number}"))), "waits");
    }
    assert_eq!(story.get(2_000, &token("one-more")), "unavailable_without_keys");
    assert_eq!(story.get(2_001, &token("old")), "admitted");
    assert_eq!(story.gate.waiting(), 1_024);
    story.keys(&answer(EPOCH, 1, &["old"]));
    assert_eq!((story.outcome(0), story.outcome(1_023)), ("token_invalid".into(), "token_invalid".into()));
    assert_eq!(story.gate.waiting(), 0);
}

#[test]
fn a_rested_worker_recovers_from_a_rotation_that_no_kid_shows() {
    let mut story = Story::leased(&["-one"]);
    assert_eq!(story.get(1, &token("-two")), "waits", "its key is a guess");
    story.keys(&answer(EPOCH, 1, &["-one"]));
    assert_eq!(story.outcome(1), "token_invalid");
    // The lease ends, and meanwhile the control plane has fetched the other key.
    story.change_keys();
    story.pass(5_000);
    assert_eq!(story.get(2, &token("-two")), "waits");
    assert_eq!(story.refreshes(), None, "the issuer was asked a moment ago");
    story.keys(&answer(EPOCH, 2, &["-two"]));
    assert_ne!(story.outcome(2), "token_invalid");
}

#[test]
fn a_forged_token_of_a_known_key_asks_for_nothing() {
    let mut story = Story::leased(&["old"]);
    let token = token("old");
    let (signing_input, _) = token.rsplit_once('.').unwrap();
    assert_eq!(story.get(1, &crate::story::signed(signing_input, "forged")), "token_invalid");
    assert!(story.key_calls.is_empty());
}

#[test]
fn keys_that_change_are_had_while_an_issuer_is_asked() {
    let mut story = Story::leased(&["old"]);
    story.get(1, &token("unknown"));
    story.change_keys();
    story.page();
    assert_eq!(story.get(2, &token("old")), "waits");
    let kinds: Vec<_> = story.key_calls.values().map(|call| call.kind).collect();
    assert_eq!(kinds, [Kind::Refresh(0), Kind::Plain], "the slow call holds up nobody else");
    let refreshing = story.key_calls.pop_first().unwrap();
    story.keys(&answer(EPOCH, 2, &["old"]));
    assert_eq!((story.outcome(1), story.outcome(2)), ("waits".into(), "admitted".into()));
    story.key_calls.extend([refreshing]);
    story.keys(&answer(EPOCH, 2, &["old"]));
    assert_eq!(story.outcome(1), "token_invalid");
}

#[test]
fn a_failed_call_refuses_nobody_for_good() {
    let mut story = Story::leased(&["old"]);
    story.get(1, &token("new"));
    story.keys_fail(504);
    assert_eq!(story.outcome(1), "unavailable_without_keys", "it may be good");
    assert_eq!(story.get(2, &token("new")), "unavailable_without_keys");
    assert_eq!(story.get(3, &token("old")), "admitted");
    story.pass(1_000);
    story.get(4, &token("new"));
    assert_eq!(story.refreshes().as_deref(), Some(ISSUER), "a call that failed has asked nobody");
    story.keys(&answer(EPOCH, 2, &["old", "new"]));
    assert_eq!(story.outcome(4), "admitted");
}

#[test]
fn a_call_that_is_not_taken_or_never_ends_is_given_up() {
    let mut story = Story::new(json!({}));
    story.healthy = false;
    assert_eq!(story.get(1, &token("old")), "unavailable_without_keys");
    story.healthy = true;
    story.pass(1_000);
    story.get(2, &token("old"));
    let (lost, _) = story.key_calls.pop_first().unwrap();
    story.pass(2_000);
    story.tick();
    assert_eq!(story.outcome(2), "waits");
    story.pass(1);
    story.tick();
    assert_eq!(story.outcome(2), "unavailable_without_keys");
    assert!(!story.gate.called_for_keys(lost), "its answer is ignored");
    assert_eq!(story.counted(Metric::KeyCallFailed), 2);
    assert_eq!(story.gate.waiting(), 0);
}

#[test]
fn what_is_no_key_set_is_no_answer() {
    for jwks in [json!([]), json!("keys"), json!({"keys": 7}), json!({})] {
        let mut story = Story::leased(&["old"]);
        story.change_keys();
        story.page();
        story.get(1, &token("old"));
        let sets = vec![IssuerKeys { issuer: ISSUER.into(), jwks: Some(jwks.clone()) }];
        story.keys(&KeysAnswer { sets, ..answer(EPOCH, 2, &[]) });
        assert_eq!(story.outcome(1), "unavailable_without_keys", "{jwks}");
        assert_eq!(story.counted(Metric::KeyCallFailed), 1);
    }
}

#[test]
fn an_issuer_that_has_lost_its_keys_in_the_control_plane_waits_for_new_ones() {
    let mut story = Story::leased(&["old"]);
    story.change_keys();
    story.page();
    story.get(1, &token("old"));
    story.keys(&KeysAnswer { epoch: Epoch::from_bytes([EPOCH; 16]), keys_seq: 2, sets: vec![] });
    assert_eq!(story.outcome(1), "unavailable_without_keys");
}

#[test]
fn each_of_two_issuers_is_asked_for_its_own_keys_and_one_that_is_away_holds_up_nobody_of_the_other() {
    let mut story = Story::bounded(json!({"issuers": [{"issuer": ISSUER}, {"issuer": OTHER}]}));
    story.get(1, &token("a"));
    story.get(2, &token_of(OTHER, "b", "bob"));
    let both = |seq, one: &[&str], other: &[&str]| {
        let sets = [(ISSUER, one), (OTHER, other)];
        let sets = sets.map(|(issuer, keys)| IssuerKeys { issuer: issuer.into(), jwks: Some(jwks(keys)) });
        KeysAnswer { sets: sets.to_vec(), ..answer(EPOCH, seq, &[]) }
    };
    story.keys(&both(0, &["a"], &["b"]));
    assert_eq!(story.asked(), 2);
    assert_eq!(
        (story.get(3, &token("x")), story.get(4, &token_of(OTHER, "y", "bob"))),
        ("waits".into(), "waits".into())
    );
    let (first, refreshing) = story.key_calls.pop_first().unwrap();
    assert_eq!(refreshing.request.refresh.as_deref(), Some(ISSUER));
    assert_eq!(story.refreshes().as_deref(), Some(OTHER), "both are asked at once");
    story.keys_fail(504);
    assert_eq!((story.outcome(3), story.outcome(4)), ("waits".into(), "unavailable_without_keys".into()));
    story.key_calls.insert(first, refreshing);
    story.keys(&both(1, &["a", "x"], &["b"]));
    assert_eq!(story.asked(), 3, "the token of the issuer that has answered");
    assert_eq!(story.get(5, &token_of(OTHER, "y", "bob")), "unavailable_without_keys", "it is not asked again at once");
    story.pass(1_000);
    assert_eq!(story.get(6, &token_of(OTHER, "y", "bob")), "waits");
    story.keys(&both(2, &["a", "x"], &["b", "y"]));
    assert_eq!(story.asked(), 4);
}

#[test]
fn a_crowd_is_released_in_portions_and_a_stream_that_is_gone_is_not() {
    let mut story = Story::new(json!({}));
    for stream in 0..1_200 {
        assert_eq!(story.get(stream, &token("old")), "waits");
    }
    assert_eq!(story.counted(Metric::KeyCallSent), 1);
    story.gone(600);
    let (call, _) = story.key_calls.pop_first().unwrap();
    let now = curfew_filter::now::Now { monotonic: std::time::Duration::ZERO, unix: crate::story::UNIX };
    story.gate.keys_answered(call, Ok(&answer(EPOCH, 0, &["old"])), now);
    let mut returned = Vec::new();
    while story.gate.holds_back() {
        let portion = story.gate.next_portion(now);
        assert!((1..=curfew_filter::gate::RELEASED_AT_ONCE).contains(&portion.returning.len()));
        returned.extend(portion.returning.into_iter().map(|(stream, _)| stream));
    }
    assert_eq!(returned, (0..1_200).filter(|stream| *stream != 600).collect::<Vec<_>>());
    assert_eq!(story.gate.waiting(), 0);
}

#[test]
fn a_key_that_comes_back_is_had_at_once_although_its_issuer_was_just_asked() {
    let mut story = Story::leased(&["old"]);
    assert_eq!(story.get(1, &token("back")), "waits");
    story.keys(&answer(EPOCH, 1, &["old"]));
    assert_eq!(story.outcome(1), "token_invalid");
    story.change_keys();
    story.page();
    assert_eq!(story.get(2, &token("back")), "waits", "the page has shown newer keys");
    story.keys(&answer(EPOCH, 2, &["back", "old"]));
    assert_eq!(story.outcome(2), "admitted");
}

#[test]
fn a_rested_worker_recovers_from_a_rotation_that_keeps_the_kid() {
    let mut story = Story::new(json!({}));
    story.get(1, &token("old"));
    story.keys(&answer(EPOCH, 0, &["old"]));
    story.change_keys();
    story.pass(20_000);
    // The key of this name is another one now.
    let of_new_key = token("old").rsplit_once('.').map(|(signing_input, _)| signed(signing_input, "new")).unwrap();
    assert_eq!(story.get(2, &of_new_key), "waits", "the worker's keys may be old");
    assert!(!story.polls.is_empty(), "and it has the log followed");
    story.keys(&answer(EPOCH, 1, &["old"]));
    assert_eq!(story.outcome(2), "token_invalid", "they are not");
}
