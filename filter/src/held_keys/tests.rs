use curfew_core::Epoch;
use serde_json::{Value, json};

use super::*;

const FIRST: &str = "https://first.example.com";
const THIRD: &str = "https://third.example.com";
const TIMEOUT: Duration = Duration::from_millis(500);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Three issuers; the keys of the second stand in the configuration.
fn policy() -> (Policy, KeySets) {
    let issuers = json!([
        {"issuer": FIRST},
        {"issuer": "https://second.example.com", "secret": "0123456789abcdef0123456789abcdef"},
        {"issuer": THIRD, "algorithms": ["HS512"]},
    ]);
    Policy::from_document(&json!({ "issuers": issuers })).unwrap()
}

fn held() -> HeldKeys {
    let (policy, sets) = policy();
    HeldKeys::new(sets, &policy, TIMEOUT)
}

fn jwks(algorithm: &str, kids: &[&str]) -> Value {
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg";
    let keys = kids.iter().map(|kid| json!({"kty": "oct", "alg": algorithm, "kid": kid, "k": key}));
    json!({ "keys": keys.collect::<Vec<_>>() })
}

fn position(epoch: u8, seq: u64) -> LogPosition {
    LogPosition { epoch: Epoch::from_bytes([epoch; 16]), seq }
}

fn answer(epoch: u8, keys_seq: u64, first: Option<Value>, third: Option<Value>) -> KeysAnswer {
    let sets = [(FIRST, first), (THIRD, third)].map(|(issuer, jwks)| IssuerKeys { issuer: issuer.to_owned(), jwks });
    KeysAnswer { epoch: Epoch::from_bytes([epoch; 16]), keys_seq, sets: sets.to_vec() }
}

fn both(epoch: u8, keys_seq: u64, kids: &[&str]) -> KeysAnswer {
    answer(epoch, keys_seq, Some(jwks("HS256", kids)), Some(jwks("HS512", kids)))
}

/// Sends the plain call that is due, and ends it with this answer.
fn called(held: &mut HeldKeys, answer: Result<&KeysAnswer, Failure>, now: Duration) -> Ended {
    let (policy, _) = policy();
    held.wait_for_shown(1, Waited::default(), now);
    let call = held.due(now).expect("a call is due");
    held.sent(call.kind, 7);
    assert!(held.called(7) && !held.called(8));
    let (kind, ended) = held.answered(7, answer, &policy, now).unwrap();
    assert_eq!(kind, Kind::Plain);
    held.take_returning(usize::MAX);
    ended
}

fn kids(held: &HeldKeys, place: usize) -> Vec<String> {
    held.sets().get(place).unwrap().keys().map(|key| key.kid().unwrap_or("-").to_owned()).collect()
}

#[test]
fn only_issuers_without_keys_of_their_own_are_asked_about() {
    let mut held = held();
    assert!(held.any_handed_out() && !held.are_known(0) && held.are_known(1) && !held.are_known(2));
    held.wait_for_shown(1, Waited::default(), ms(0));
    let call = held.due(ms(0)).unwrap();
    assert_eq!(call.request, KeysRequest { issuers: vec![FIRST.into(), THIRD.into()], refresh: None });
    assert_eq!((call.kind, call.timeout), (Kind::Plain, TIMEOUT));
    assert_eq!(held.due(ms(0)), None);
    assert_eq!(held.wait_for_key(1, true, 2, Waited::default(), ms(0)), Turn::Final, "no call could help");
}

/// What is held before, what comes, and whether that is taken.
#[test]
fn an_answer_is_taken_unless_it_is_older() {
    for (before, comes, taken) in [
        (None, (1, 0), true),
        (Some((1, 4)), (1, 5), true),
        (Some((1, 4)), (1, 4), false),
        (Some((1, 4)), (1, 3), false),
        (Some((1, 4)), (2, 3), true),
        (Some((1, 4)), (2, 5), true),
    ] {
        let mut held = held();
        if let Some((epoch, seq)) = before {
            called(&mut held, Ok(&both(epoch, seq, &["before"])), ms(0));
        }
        let ended = called(&mut held, Ok(&both(comes.0, comes.1, &["after"])), ms(1));
        assert!(ended.came && ended.replaced == taken, "{before:?} {comes:?}");
        assert_eq!(kids(&held, 0), [if taken { "after" } else { "before" }], "{before:?} {comes:?}");
        let expected = if taken { comes } else { before.unwrap() };
        assert_eq!(held.position(), Some(position(expected.0, expected.1)));
    }
}

/// What is held, what was shown, and whether requests wait for newer keys.
#[test]
fn what_was_shown_is_waited_for() {
    for (read, shown, behind) in [
        (None, None, false),
        (None, Some((1, 0)), true),
        (Some((1, 4)), None, false),
        (Some((1, 4)), Some((1, 4)), false),
        (Some((1, 4)), Some((1, 3)), false),
        (Some((1, 4)), Some((1, 5)), true),
        (Some((1, 4)), Some((2, 1)), true),
    ] {
        let mut held = held();
        if let Some((epoch, seq)) = read {
            called(&mut held, Ok(&both(epoch, seq, &["a"])), ms(0));
        }
        held.note_shown(shown.map(|(epoch, seq)| position(epoch, seq)));
        assert_eq!(held.are_behind(), behind, "{read:?} {shown:?}");
        held.prefetch(ms(0));
        assert_eq!(held.is_due(), behind, "{read:?} {shown:?}");
    }
}

#[test]
fn an_older_showing_does_not_hide_a_newer_one() {
    let mut held = held();
    called(&mut held, Ok(&both(1, 4, &["a"])), ms(0));
    held.note_shown(Some(position(1, 9)));
    held.note_shown(Some(position(1, 2)));
    assert!(held.are_behind());
    called(&mut held, Ok(&both(1, 8, &["a"])), ms(0));
    assert!(held.are_behind(), "newer, and not new enough");
    called(&mut held, Ok(&both(1, 9, &["a"])), ms(0));
    assert!(!held.are_behind());
    held.note_shown(Some(position(2, 1)));
    called(&mut held, Ok(&both(1, 10, &["a"])), ms(0));
    assert!(!held.are_behind(), "an answer that was read later than the other history was shown");
    // A late answer of a former history, and then what is held already.
    held.note_shown(Some(position(2, 1)));
    assert!(held.are_behind());
    called(&mut held, Ok(&both(1, 10, &["a"])), ms(0));
    assert!(!held.are_behind(), "otherwise every request would wait for a change that never comes");
}

#[test]
fn the_same_keys_are_not_replaced_and_each_issuer_is_known_by_its_own_set() {
    let mut held = held();
    let some = answer(1, 1, Some(jwks("HS256", &["a"])), None);
    let ended = called(&mut held, Ok(&some), ms(0));
    assert_eq!(ended, Ended { replaced: true, failure: Some(Failure::NoKeysYet), came: true });
    assert!(held.are_known(0) && !held.are_known(2));
    let generation = held.sets().generation();
    let ended = called(&mut held, Ok(&answer(1, 2, Some(jwks("HS256", &["a"])), Some(jwks("HS512", &[])))), ms(0));
    assert_eq!(ended, Ended { replaced: false, failure: None, came: true });
    assert!(held.are_known(2), "an empty set is a set");
    assert_eq!(held.sets().generation(), generation);
    called(&mut held, Ok(&answer(1, 3, Some(jwks("HS256", &["b"])), None)), ms(0));
    assert_eq!(kids(&held, 0), ["b"], "another name is another key");
    let wrong = answer(1, 4, Some(jwks("HS256", &["c"])), Some(json!({"keys": "none"})));
    assert_eq!(called(&mut held, Ok(&wrong), ms(0)).failure, Some(Failure::NoKeys));
    assert_eq!((kids(&held, 0), held.position()), (vec!["b".into()], Some(position(1, 3))), "nothing of it is taken");
}

#[test]
fn keys_of_algorithms_that_the_issuer_may_not_use_are_left_out() {
    let mut held = held();
    called(&mut held, Ok(&answer(1, 1, None, Some(jwks("HS256", &["a"])))), ms(0));
    assert!(held.are_known(2) && kids(&held, 2).is_empty());
}

#[test]
fn a_failure_is_remembered_for_a_second() {
    let mut held = held();
    assert!(!called(&mut held, Err(Failure::NoResponse), ms(0)).came);
    for (now, turn) in [(0, Turn::Unavailable), (999, Turn::Unavailable), (1_000, Turn::Wait)] {
        assert_eq!(held.wait_for_key(0, true, 2, Waited::default(), ms(now)), turn, "{now}");
    }
    assert!(held.want_shown(ms(1_000)), "a call is due");
    assert_eq!(held.wait_for_shown(3, Waited::default(), ms(1_000)), Turn::Wait);
    assert_eq!(held.waiting(), 2);
    held.gave_up(Kind::Plain, ms(1_001));
    assert!(!held.want_shown(ms(1_001)));
    let returning = held.take_returning(10);
    assert_eq!(returning.iter().map(|(stream, _)| *stream).collect::<Vec<_>>(), [2, 3]);
    let (_, waited) = returning[0];
    assert_eq!(held.wait_for_shown(2, waited, ms(9_000)), Turn::Unavailable, "its call has failed");
}

#[test]
fn an_issuer_is_asked_once_in_ten_seconds() {
    let mut held = held();
    called(&mut held, Ok(&both(1, 1, &["a"])), ms(0));
    let (policy, _) = policy();
    let new = Waited::default();
    assert_eq!(held.wait_for_key(2, true, 1, new, ms(0)), Turn::Wait);
    let call = held.due(ms(0)).unwrap();
    assert_eq!(call.request.refresh.as_deref(), Some(THIRD));
    assert!(call.timeout > TIMEOUT);
    held.sent(call.kind, 9);
    assert_eq!(held.wait_for_key(2, true, 2, new, ms(1)), Turn::Wait, "the answer is on its way");
    held.answered(9, Ok(&both(1, 1, &["a"])), &policy, ms(2));
    assert_eq!(held.take_returning(10).len(), 2);
    for (now, current, turn) in
        [(2, true, Turn::Final), (10_001, true, Turn::Final), (10_001, false, Turn::Wait), (10_002, true, Turn::Wait)]
    {
        assert_eq!(held.wait_for_key(2, current, 3, new, ms(now)), turn, "{now}");
    }
    assert_eq!(held.wait_for_key(0, true, 4, new, ms(2)), Turn::Wait, "the other issuer was not asked");
}

#[test]
fn a_call_is_lost_after_four_of_its_timeouts() {
    let mut held = held();
    held.wait_for_shown(1, Waited::default(), ms(0));
    assert_eq!(held.lost(ms(99_999)), [], "it was not sent yet");
    let call = held.due(ms(0)).unwrap();
    held.sent(call.kind, 7);
    assert_eq!((held.lost(ms(2_000)), held.lost(ms(2_001))), (vec![], vec![Kind::Plain]));
    held.gave_up(Kind::Plain, ms(2_001));
    assert!(!held.called(7) && !held.are_called());
}

#[test]
fn a_stream_that_is_gone_is_forgotten_wherever_it_waits() {
    let mut held = held();
    for stream in 1..4 {
        held.wait_for_shown(stream, Waited::default(), ms(0));
    }
    held.forget(1);
    held.due(ms(0));
    held.gave_up(Kind::Plain, ms(0));
    held.forget(2);
    assert_eq!(held.take_only(2), None);
    assert!(held.take_only(3).is_some() && !held.any_return() && held.waiting() == 0);
}

#[test]
fn only_so_many_wait() {
    let mut held = held();
    called(&mut held, Ok(&both(1, 1, &["a"])), ms(0));
    let count =
        |wait: &mut dyn FnMut(StreamId) -> Turn| (0..20_000).take_while(|stream| wait(*stream) == Turn::Wait).count();
    assert_eq!(count(&mut |stream| held.wait_for_shown(stream, Waited::default(), ms(0))), 8_192);
    assert_eq!(count(&mut |stream| held.wait_for_key(0, true, stream, Waited::default(), ms(0))), 1_024);
}

#[test]
fn those_who_flood_one_issuer_take_no_places_of_another() {
    let mut held = held();
    let (policy, _) = policy();
    called(&mut held, Ok(&both(1, 1, &["a"])), ms(0));
    for now in [ms(0), ms(2_000)] {
        let wait = |held: &mut HeldKeys, place, stream| held.wait_for_key(place, true, stream, Waited::default(), now);
        for stream in 0..1_024 {
            assert_eq!(wait(&mut held, 0, stream), Turn::Wait);
        }
        assert_eq!(wait(&mut held, 0, 5_000), Turn::TooMany);
        for stream in 6_000..7_024 {
            assert_eq!(wait(&mut held, 2, stream), Turn::Wait, "the other issuer's own");
        }
        assert_eq!(wait(&mut held, 2, 8_000), Turn::TooMany);
        // A stream that goes gives its place to another of its issuer.
        held.forget(6_000);
        assert_eq!((wait(&mut held, 0, 5_000), wait(&mut held, 2, 8_000)), (Turn::TooMany, Turn::Wait));
        // The end of its call frees the places of an issuer. It fails, so the issuer may be asked again soon.
        for kind in [Kind::Refresh(0), Kind::Refresh(2)] {
            assert_eq!(held.due(now).unwrap().kind, kind);
            held.sent(kind, 9);
            held.answered(9, Err(Failure::Lost), &policy, now);
            assert_eq!(held.take_returning(usize::MAX).len(), 1_024);
        }
    }
}

/// Refuses the streams of one issuer, and what becomes of another's meanwhile and of both later.
#[test]
fn an_issuer_that_is_away_holds_up_nobody_of_another() {
    let (mut held, (policy, _)) = (held(), policy());
    called(&mut held, Ok(&both(1, 1, &["a"])), ms(0));
    let new = Waited::default();
    assert_eq!(held.wait_for_key(0, true, 1, new, ms(1)), Turn::Wait);
    assert_eq!(held.wait_for_key(2, true, 2, new, ms(1)), Turn::Wait);
    for number in [8, 9] {
        let call = held.due(ms(1)).unwrap();
        held.sent(call.kind, number);
    }
    held.answered(8, Err(Failure::Status(503)), &policy, ms(5));
    let [(stream, waited)] = held.take_returning(10)[..] else { panic!("the other one waits for its own call") };
    assert_eq!(stream, 1);
    assert_eq!(held.wait_for_key(0, true, 1, waited, ms(5)), Turn::Unavailable);
    assert_eq!(held.wait_for_key(2, true, 3, new, ms(5)), Turn::Wait, "its own call is under way");
    held.answered(9, Err(Failure::Status(503)), &policy, ms(700));
    for (place, now, turn) in [
        (0, 1_004, Turn::Unavailable),
        (0, 1_005, Turn::Wait),
        (2, 1_005, Turn::Unavailable),
        (2, 1_699, Turn::Unavailable),
        (2, 1_700, Turn::Wait),
    ] {
        assert_eq!(held.wait_for_key(place, true, 4, new, ms(now)), turn, "{place} {now}");
    }
}

#[test]
fn a_request_waits_for_its_own_issuer_alone_and_three_times_at_most() {
    let (mut held, (policy, _)) = (held(), policy());
    called(&mut held, Ok(&both(1, 1, &["a"])), ms(0));
    let mut waited = Waited::default();
    for round in 0..u32::from(MAX_ROUNDS) {
        let now = REFRESH_INTERVAL * (round + 1);
        assert_eq!(held.wait_for_key(0, true, 1, waited, now), Turn::Wait, "{round}");
        // A call about another issuer comes and goes.
        assert_eq!(held.wait_for_key(2, true, 2, Waited::default(), now), Turn::Wait);
        held.gave_up(Kind::Refresh(2), now);
        assert!(held.take_returning(10).iter().all(|(stream, _)| *stream == 2));
        let call = held.due(now).unwrap();
        held.sent(call.kind, 9);
        held.answered(9, Ok(&both(1, 1, &["a"])), &policy, now);
        let [(1, again)] = held.take_returning(10)[..] else { panic!("its own call has ended") };
        waited = again;
    }
    assert_eq!(held.wait_for_key(0, true, 1, waited, REFRESH_INTERVAL * 9), Turn::Unavailable);
}

#[test]
fn many_issuers_share_a_bounded_number_of_places() {
    let issuers: Vec<_> = (0..1_000).map(|number| json!({"issuer": format!("https://{number}.example.com")})).collect();
    let (policy, sets) = Policy::from_document(&json!({ "issuers": issuers })).unwrap();
    let mut held = HeldKeys::new(sets, &policy, TIMEOUT);
    held.issuers.iter_mut().for_each(|issuer| issuer.known = true);
    let mut stream = 0;
    for place in 0..1_000 {
        let mut turn = || {
            stream += 1;
            held.wait_for_key(place, true, stream, Waited::default(), ms(0))
        };
        assert_eq!(
            [turn(), turn(), turn(), turn(), turn()].map(|turn| turn == Turn::Wait),
            [true, true, true, true, false]
        );
    }
    assert_eq!(held.waiting(), 4_000);
}

#[test]
fn only_so_many_issuers_are_asked_at_once_and_the_others_in_their_turn() {
    let issuers: Vec<_> = (0..20).map(|number| json!({"issuer": format!("https://{number}.example.com")})).collect();
    let (policy, sets) = Policy::from_document(&json!({ "issuers": issuers })).unwrap();
    let mut held = HeldKeys::new(sets, &policy, TIMEOUT);
    held.issuers.iter_mut().for_each(|issuer| issuer.known = true);
    for place in 0..20 {
        assert_eq!(held.wait_for_key(place, true, u32::try_from(place).unwrap(), Waited::default(), ms(0)), Turn::Wait);
    }
    let sent: Vec<_> = std::iter::from_fn(|| held.due(ms(0))).map(|call| call.kind).collect();
    assert_eq!(sent, (0..16).map(Kind::Refresh).collect::<Vec<_>>());
    assert!(!held.is_due());
    // A plain call is never in their way.
    assert_eq!(held.wait_for_shown(99, Waited::default(), ms(0)), Turn::Wait);
    assert_eq!(held.due(ms(0)).unwrap().kind, Kind::Plain);
    held.gave_up(Kind::Refresh(3), ms(1));
    assert_eq!(held.due(ms(1)).unwrap().kind, Kind::Refresh(16));
    assert_eq!(held.due(ms(1)), None);
}

#[test]
fn an_answer_of_another_history_that_was_asked_for_before_the_last_one_is_not_taken() {
    let (mut held, (policy, _)) = (held(), policy());
    called(&mut held, Ok(&both(1, 1, &["a"])), ms(0));
    assert_eq!(held.wait_for_key(2, true, 1, Waited::default(), ms(1)), Turn::Wait);
    let refresh = held.due(ms(1)).unwrap();
    held.sent(refresh.kind, 9);
    called(&mut held, Ok(&both(2, 1, &["b"])), ms(2));
    held.answered(9, Ok(&both(1, 3, &["a"])), &policy, ms(3));
    assert_eq!((kids(&held, 0), held.position()), (vec!["b".to_owned()], Some(position(2, 1))));
}
