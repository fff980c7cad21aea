//! Which connections go, and which stay.

use std::time::Duration;

use super::*;

const CLIENT: [u8; 4] = [198, 51, 100, 7];
const ATTACKER: [u8; 4] = [192, 0, 2, 1];
const ENVOY: [u8; 4] = [10, 0, 0, 1];

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

/// A listener with 64 places, four of them in reserve, and 16 for one address.
fn crowd(start: Instant) -> (Crowd, Instant) {
    (Crowd::new(Terms::new(64, None)), start)
}

fn enter(crowd: &mut Crowd, peer: [u8; 4], now: Instant) -> Number {
    crowd.enter(peer.into(), now).number.unwrap()
}

fn gone(leaving: &[Leaving]) -> Vec<Number> {
    leaving.iter().map(|leaving| leaving.number).collect()
}

#[test]
fn while_there_is_room_no_connection_has_to_go() {
    let (mut crowd, start) = crowd(Instant::now());
    for _ in 0..32 {
        enter(&mut crowd, ATTACKER, start);
    }
    assert_eq!(crowd.late(after(start, 59)), []);
    assert_eq!(crowd.crowded_out(), []);
    assert_eq!(crowd.states(), [(State::Silent, 32), (State::Idle, 0), (State::Busy, 0)]);
}

#[test]
fn when_places_run_out_the_longest_silent_of_the_address_with_most_go_first() {
    let (mut crowd, start) = crowd(Instant::now());
    let client = enter(&mut crowd, CLIENT, start);
    let flood: Vec<_> = (0..60_u8).map(|last| enter(&mut crowd, [192, 0, last / 15, 1], after(start, 1))).collect();
    // Three places are free, and eight shall be.
    let leaving = crowd.crowded_out();
    assert_eq!(gone(&leaving), flood[..5]);
    assert!(leaving.iter().all(|leaving| leaving.reason == Reason::Crowded));
    // They are named once, and until they are gone their places count as free.
    assert_eq!(crowd.crowded_out(), []);
    for number in gone(&leaving) {
        crowd.remove(number);
    }
    assert!(crowd.open.contains_key(&client));
    assert_eq!(crowd.open.len(), 56);
}

#[test]
fn a_request_in_progress_is_never_cut_and_the_internal_secret_keeps_a_connection_longest() {
    let (mut crowd, start) = crowd(Instant::now());
    let poll = enter(&mut crowd, ENVOY, start);
    crowd.begin(poll);
    crowd.trust(poll);
    let between_polls = enter(&mut crowd, ENVOY, start);
    crowd.begin(between_polls);
    crowd.trust(between_polls);
    crowd.end(between_polls, start);
    let asked = enter(&mut crowd, CLIENT, start);
    crowd.begin(asked);
    crowd.end(asked, start);
    let busy: Vec<_> = (0..57).map(|_| crowd.take_in(ATTACKER.into(), start)).collect();
    busy.iter().for_each(|number| crowd.begin(*number));
    let silent = crowd.take_in(ATTACKER.into(), after(start, 5));
    assert_eq!(gone(&crowd.crowded_out()), [silent, asked, between_polls]);
    assert_eq!(crowd.states(), [(State::Silent, 1), (State::Idle, 2), (State::Busy, 58)]);
}

#[test]
fn the_time_for_a_first_request_shrinks_with_the_room() {
    let (mut crowd, start) = crowd(Instant::now());
    let asked = enter(&mut crowd, CLIENT, start);
    crowd.begin(asked);
    crowd.end(asked, start);
    let silent: Vec<_> = (0..47).map(|_| crowd.take_in(ATTACKER.into(), start)).collect();
    assert_eq!(crowd.late(after(start, 14)), []);
    let leaving = crowd.late(after(start, 15));
    assert_eq!(leaving.len(), silent.len());
    assert!(leaving.iter().all(|leaving| leaving.reason == Reason::Late && silent.contains(&leaving.number)));
}

#[test]
fn an_address_over_its_share_replaces_its_own_longest_idle_one() {
    let (mut crowd, start) = crowd(Instant::now());
    for last in 0..16 {
        enter(&mut crowd, [198, 51, 100, last], start);
    }
    let own: Vec<_> = (0..16).map(|second| enter(&mut crowd, ATTACKER, after(start, second))).collect();
    let entry = crowd.enter(ATTACKER.into(), after(start, 20));
    assert_eq!(entry.replaced.map(|leaving| (leaving.number, leaving.reason)), Some((own[0], Reason::Share)));
    crowd.remove(own[0]);
    own.iter().for_each(|number| crowd.begin(*number));
    crowd.begin(entry.number.unwrap());
    assert_eq!(crowd.enter(ATTACKER.into(), after(start, 21)), Entry { number: None, replaced: None });
    assert!(crowd.enter(CLIENT.into(), after(start, 21)).number.is_some());
    assert!(crowd.enter([127, 0, 0, 1].into(), after(start, 21)).number.is_some());
}

#[test]
fn an_address_may_use_what_others_do_not_need() {
    let (mut crowd, start) = crowd(Instant::now());
    for _ in 0..32 {
        let number = enter(&mut crowd, ATTACKER, start);
        crowd.begin(number);
    }
    assert_eq!(crowd.enter(ATTACKER.into(), start).number, None);
}

#[test]
fn many_envoys_behind_one_address_have_no_share_once_they_have_shown_the_secret() {
    let (mut crowd, start) = crowd(Instant::now());
    for _ in 0..60 {
        let number = enter(&mut crowd, ENVOY, start);
        crowd.begin(number);
        crowd.trust(number);
    }
    assert_eq!(crowd.of_peer.get(&Source::of_peer(ENVOY.into())), None);
    assert_eq!(crowd.crowded_out(), []);
}

#[test]
fn nothing_is_left_of_connections_that_are_gone() {
    let (mut crowd, start) = crowd(Instant::now());
    let numbers: Vec<_> = (0..40_u8).map(|last| enter(&mut crowd, [192, 0, 2, last], start)).collect();
    crowd.begin(numbers[0]);
    crowd.trust(numbers[0]);
    crowd.late(after(start, 60));
    for number in numbers {
        crowd.remove(number);
        crowd.end(number, start);
    }
    assert!(crowd.open.is_empty() && crowd.of_peer.is_empty() && crowd.leaving == 0);
    assert!(crowd.states().iter().all(|(_, count)| *count == 0));
}
