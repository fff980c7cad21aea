use curfew_core::wire::{FeedRequest, FeedRevocation};
use curfew_core::{Epoch, Kind, RevocationKey};

use super::*;

const L: u64 = 2000;
const EPOCH: Epoch = Epoch::from_bytes([1; 16]);
const OTHER: Epoch = Epoch::from_bytes([2; 16]);

fn at(milliseconds: u64) -> Now {
    Now {
        monotonic: Duration::from_millis(milliseconds),
        unix: 1_000_000 + i64::try_from(milliseconds / 1000).unwrap(),
    }
}

/// The id of 16 bytes `id`; no jitter.
fn random(id: u8) -> Randomness {
    Randomness { worker: WorkerId::from_bytes([id; 16]), jitter: 0 }
}

fn settings() -> FeedSettings {
    FeedSettings { keyspaces: vec![], budget: 64 << 10, timeout: Duration::from_millis(500), seed: [1, 2] }
}

fn feed() -> Feed {
    let mut feed = Feed::new(settings());
    feed.requested(at(0));
    feed
}

fn page(from: u64, to: u64) -> FeedAnswer {
    let revocations = (from..to).map(|number| FeedRevocation {
        kind: Kind::Token,
        key: RevocationKey::from_bytes([u8::try_from(number % 256).unwrap(); 16]),
        cutoff: 0,
        expires_at: 2_000_000,
    });
    FeedAnswer {
        epoch: EPOCH,
        from,
        to,
        more: false,
        keys_seq: 0,
        revocations: revocations.collect(),
        lease_ms: L,
        fresh_ms: 0,
    }
}

/// Polls, and has the host take it as callout `call`.
fn poll(feed: &mut Feed, call: CallId, now: Now) -> FeedRequest {
    let poll = feed.poll(now, random(7)).expect("a poll is due");
    feed.sent(call);
    poll.request
}

/// A feed whose lease began at 0.
fn with_lease() -> Feed {
    let mut feed = feed();
    poll(&mut feed, 1, at(0));
    feed.answered(1, Some(&page(0, 5)), at(40), random(0));
    feed
}

#[test]
fn a_worker_without_requests_does_nothing() {
    let mut feed = Feed::new(settings());
    assert_eq!(feed.wake_at(), None);
    assert_eq!(feed.poll(at(60_000), random(7)), None);
}

#[test]
fn the_first_request_starts_the_polls_and_the_answer_brings_a_lease_from_the_sending_on() {
    let mut feed = feed();
    let poll = feed.poll(at(0), random(7)).unwrap();
    let request = FeedRequest {
        worker: WorkerId::from_bytes([7; 16]),
        keyspaces: vec![],
        epoch: None,
        applied: 0,
        hold_ms: 0,
        leaving: false,
    };
    assert_eq!(poll, Poll { request, timeout: Duration::from_millis(500) });
    feed.sent(1);
    assert_eq!(feed.poll(at(1), random(8)), None, "one poll at a time");
    assert!(!feed.may_decide(at(30)));
    feed.answered(1, Some(&page(0, 5)), at(40), random(0));
    assert_eq!(feed.position(), Some(LogPosition { epoch: EPOCH, seq: 5 }));
    assert!(feed.may_decide(at(40)) && feed.may_decide(at(1_999)));
    assert!(!feed.may_decide(at(2_000)));
}

#[test]
fn news_are_acknowledged_at_once_and_under_the_same_id() {
    let mut feed = with_lease();
    assert_eq!(feed.wake_at(), Some(at(40).monotonic));
    let request = FeedRequest {
        worker: WorkerId::from_bytes([7; 16]),
        keyspaces: vec![],
        epoch: Some(EPOCH),
        applied: 5,
        hold_ms: 653,
        leaving: false,
    };
    assert_eq!(feed.poll(at(40), random(9)).unwrap().request, request);
}

#[test]
fn without_news_polls_keep_their_distance() {
    let mut feed = with_lease();
    poll(&mut feed, 2, at(40));
    feed.answered(2, Some(&page(5, 5)), at(45), random(0));
    assert_eq!(feed.wake_at(), Some(at(140).monotonic));
    assert_eq!(feed.poll(at(139), random(9)), None);
    assert!(feed.poll(at(140), random(9)).is_some());
}

#[test]
fn a_lease_is_corrected_by_the_time_at_which_the_page_was_read() {
    for (fresh_ms, until) in [(-300, 1_700), (0, 2_000), (30, 2_030)] {
        let mut feed = feed();
        poll(&mut feed, 1, at(400));
        feed.answered(1, Some(&FeedAnswer { fresh_ms, ..page(0, 5) }), at(440), random(0));
        assert!(feed.may_decide(at(400 + until - 1)), "{fresh_ms}");
        assert!(!feed.may_decide(at(400 + until)), "{fresh_ms}");
    }
}

#[test]
fn an_answer_that_claims_too_much_gets_no_longer_lease_than_is_possible() {
    let mut feed = feed();
    poll(&mut feed, 1, at(400));
    let greedy = FeedAnswer { fresh_ms: i64::MAX, lease_ms: u64::MAX, ..page(0, 5) };
    feed.answered(1, Some(&greedy), at(440), random(0));
    assert!(feed.may_decide(at(440 + 9_999)));
    assert!(!feed.may_decide(at(440 + 10_000)));
    let mut feed = self::feed();
    poll(&mut feed, 1, at(400));
    feed.answered(1, Some(&FeedAnswer { fresh_ms: i64::MIN, ..page(0, 5) }), at(440), random(0));
    assert!(!feed.may_decide(at(440)));
}

#[test]
fn the_wall_clock_ends_a_lease_that_was_slept_through() {
    let feed = with_lease();
    let slept = |seconds| Now { unix: at(0).unix + seconds, ..at(50) };
    assert!(feed.may_decide(slept(4)));
    assert!(!feed.may_decide(slept(5)));
    assert!(!feed.may_decide(slept(-1)));
}

#[test]
fn only_the_last_page_earns_a_lease() {
    let mut feed = feed();
    poll(&mut feed, 1, at(0));
    feed.answered(1, Some(&FeedAnswer { more: true, ..page(0, 5) }), at(40), random(0));
    assert!(!feed.may_decide(at(40)));
    assert_eq!(poll(&mut feed, 2, at(40)).applied, 5);
    feed.answered(2, Some(&page(5, 9)), at(80), random(0));
    assert!(feed.may_decide(at(80)) && feed.copy().len() == 9);
}

#[test]
fn an_answer_to_another_callout_changes_nothing() {
    let mut feed = feed();
    poll(&mut feed, 1, at(0));
    feed.answered(1, None, at(500), random(0));
    poll(&mut feed, 2, at(600));
    let before = feed.clone();
    feed.answered(1, Some(&page(0, 5)), at(700), random(0));
    assert_eq!(feed, before);
    feed.answered(2, Some(&page(0, 5)), at(700), random(0));
    let before = feed.clone();
    feed.answered(2, Some(&page(0, 5)), at(800), random(0));
    assert_eq!(feed, before);
}

#[test]
fn a_page_that_does_not_continue_the_copy_ends_the_lease_and_the_id() {
    let wrong = [
        ("another history", FeedAnswer { epoch: OTHER, ..page(5, 6) }),
        ("a gap", page(6, 7)),
        ("from the start", page(0, 5)),
        ("backwards", page(5, 4)),
        ("more of nothing", FeedAnswer { more: true, ..page(5, 5) }),
        ("entries of nowhere", FeedAnswer { revocations: page(0, 1).revocations, ..page(5, 5) }),
    ];
    for (what, answer) in wrong {
        let mut feed = with_lease();
        poll(&mut feed, 2, at(40));
        feed.answered(2, Some(&answer), at(60), random(0));
        assert!(!feed.may_decide(at(60)) && feed.position().is_none() && feed.copy().is_empty(), "{what}");
        let next = feed.poll(at(110), random(8)).unwrap().request;
        assert_eq!((next.worker, next.epoch, next.applied), (WorkerId::from_bytes([8; 16]), None, 0), "{what}");
    }
}

#[test]
fn failures_leave_the_lease_and_pauses_grow() {
    let mut feed = with_lease();
    let mut now = 40;
    let mut pauses = vec![];
    for call in 2..9 {
        poll(&mut feed, call, at(now));
        feed.answered(call, None, at(now), random(0));
        let next = u64::try_from(feed.wake_at().unwrap().as_millis()).unwrap();
        pauses.push(next - now);
        now = next;
    }
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
    let mut feed = with_lease();
    poll(&mut feed, 2, at(40));
    feed.not_sent(at(40), Randomness { jitter: u32::MAX, ..random(0) });
    assert!((at(139).monotonic..=at(140).monotonic).contains(&feed.wake_at().unwrap()));
    assert!(feed.may_decide(at(1_999)));
}

#[test]
fn a_poll_that_is_never_reported_is_given_up() {
    let mut feed = feed();
    poll(&mut feed, 1, at(0));
    assert_eq!(feed.wake_at(), Some(at(2_000).monotonic));
    assert_eq!(feed.poll(at(2_000), random(9)), None);
    assert!(feed.poll(at(2_050), random(9)).is_some());
    assert!(!feed.asked(1));
}

#[test]
fn an_answer_without_a_lease_ends_none_and_earns_none() {
    let mut feed = with_lease();
    poll(&mut feed, 2, at(40));
    feed.answered(2, Some(&FeedAnswer { lease_ms: 0, ..page(5, 6) }), at(60), random(0));
    assert_eq!(feed.position(), Some(LogPosition { epoch: EPOCH, seq: 6 }));
    assert!(feed.may_decide(at(1_999)) && !feed.may_decide(at(2_000)));
    assert_eq!(feed.wake_at(), Some(at(110).monotonic));
}

#[test]
fn an_idle_worker_gives_its_lease_up_says_so_and_rests() {
    let mut feed = with_lease();
    for call in 2.. {
        let now = at(u64::try_from(feed.wake_at().unwrap().as_millis()).unwrap());
        let request = poll(&mut feed, call, now);
        if request.leaving {
            assert!(now.monotonic >= IDLE_AFTER && !feed.may_decide(now));
            assert_eq!((request.worker, request.applied, request.hold_ms), (WorkerId::from_bytes([7; 16]), 5, 0));
            feed.answered(call, None, now, random(0));
            break;
        }
        feed.answered(call, Some(&page(5, 5)), now, random(0));
    }
    assert_eq!(feed.wake_at(), None);
    feed.requested(at(99_000));
    let again = feed.poll(at(99_000), random(8)).unwrap().request;
    assert_eq!((again.worker, again.epoch, again.applied), (WorkerId::from_bytes([8; 16]), Some(EPOCH), 5));
}

#[test]
fn a_request_that_comes_while_the_worker_leaves_brings_it_back() {
    let mut feed = with_lease();
    poll(&mut feed, 2, at(1_900));
    feed.answered(2, Some(&page(5, 5)), at(9_950), random(0));
    poll(&mut feed, 3, at(9_960));
    feed.answered(3, Some(&page(5, 5)), at(9_970), random(0));
    assert!(poll(&mut feed, 4, at(10_070)).leaving);
    feed.requested(at(10_075));
    feed.answered(4, None, at(10_080), random(0));
    assert!(!poll(&mut feed, 5, at(10_080)).leaving);
}

#[test]
fn a_copy_that_does_not_fit_decides_nothing_and_is_tried_again_much_later() {
    let mut feed = feed();
    poll(&mut feed, 1, at(0));
    let mut answer = page(0, 3_000);
    for (number, revocation) in answer.revocations.iter_mut().enumerate() {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&number.to_be_bytes());
        revocation.key = RevocationKey::from_bytes(key);
    }
    feed.answered(1, Some(&answer), at(40), random(0));
    assert!(feed.copy().overflowed() && !feed.may_decide(at(40)));
    feed.requested(at(600_039));
    assert_eq!(feed.wake_at(), None);
    feed.requested(at(600_040));
    assert!(feed.copy().is_empty());
    assert_eq!(feed.poll(at(600_040), random(8)).unwrap().request.worker, WorkerId::from_bytes([8; 16]));
}

#[test]
fn a_worker_that_lacks_pages_decides_nothing_by_itself_and_takes_no_lease_from_an_older_reading() {
    let mut feed = with_lease();
    assert!(feed.may_decide(at(900)));
    poll(&mut feed, 2, at(900));
    feed.answered(2, Some(&FeedAnswer { more: true, lease_ms: 0, ..page(5, 8) }), at(910), random(0));
    assert!(!feed.may_decide(at(910)), "a row below 8 may be in a page to come");
    poll(&mut feed, 3, at(910));
    feed.answered(3, Some(&FeedAnswer { fresh_ms: -1, ..page(8, 9) }), at(920), random(0));
    assert!(!feed.may_decide(at(920)), "that page may be older than the one before");
    let due = feed.wake_at();
    let request = poll(&mut feed, 4, due.map_or(at(920), |at| Now { monotonic: at, unix: 1_000_001 }));
    assert_eq!((request.applied, request.hold_ms), (9, 0));
    feed.answered(4, Some(&page(9, 9)), at(1100), random(0));
    assert!(feed.may_decide(at(1100)));
}

#[test]
fn revocations_that_were_left_out_while_the_clock_was_ahead_are_loaded_anew() {
    let mut feed = with_lease();
    let ahead = Now { unix: 1_003_600, ..at(700) };
    poll(&mut feed, 2, ahead);
    feed.answered(2, Some(&page(5, 6)), ahead, random(0));
    assert!(feed.may_decide(ahead));
    // The clock is corrected.
    assert!(!feed.may_decide(at(800)));
    assert_eq!(poll(&mut feed, 3, at(800)).epoch, None);
    assert_eq!(feed.position(), None);
    feed.answered(3, Some(&page(0, 6)), at(900), random(0));
    assert!(feed.may_decide(at(900)));
}

#[test]
fn a_page_that_comes_when_the_clock_has_been_set_back_is_not_added_to_an_incomplete_copy() {
    let mut feed = with_lease();
    let ahead = Now { unix: 1_003_600, ..at(700) };
    poll(&mut feed, 2, ahead);
    feed.answered(2, Some(&page(5, 6)), ahead, random(0));
    poll(&mut feed, 3, ahead);
    assert_eq!(feed.answered(3, Some(&page(6, 7)), at(800), random(0)), Polled::Discontinued);
    assert_eq!(feed.position(), None);
    assert!(!feed.may_decide(at(801)));
}

#[test]
fn a_clock_that_is_set_back_a_little_costs_nothing() {
    let mut feed = with_lease();
    let ahead = Now { unix: 1_000_020, ..at(700) };
    poll(&mut feed, 2, ahead);
    feed.answered(2, Some(&page(5, 6)), ahead, random(0));
    assert_eq!(poll(&mut feed, 3, at(800)).applied, 6);
}
