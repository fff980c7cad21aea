use std::rc::Rc;
use std::time::Duration;

use curfew_core::wire::{FeedAnswer, FeedRevocation};
use curfew_core::{Keyspace, Kind, RevocationKey, Times, WorkerId};

use super::*;
use crate::feed::Chance;

const EPOCH: Epoch = Epoch::from_bytes([1; 16]);
const SECOND: i64 = 1_000_000;
const TOKEN: RevocationKey = RevocationKey::from_bytes([1; 16]);
const USER: RevocationKey = RevocationKey::from_bytes([2; 16]);
const CHANCE: Chance = Chance { worker: WorkerId::from_bytes([7; 16]), jitter: 0 };

fn at(milliseconds: u64) -> Now {
    Now { monotonic: Duration::from_millis(milliseconds), unix: SECOND }
}

/// A token of the second in which its user was logged out everywhere.
fn facts() -> Rc<Facts> {
    Rc::new(Facts {
        check: CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token: TOKEN,
            jti: None,
            session: None,
            subject: Some(USER),
            issued_at: Some(SECOND),
        },
        times: Times { issued_at: None, cutoff_time: None, not_before: None, expires_at: 1 },
        identity: Ok(Vec::new()),
    })
}

struct Story {
    strict: Strict<Rc<Facts>>,
    calls: CallId,
}

impl Story {
    fn new() -> Self {
        let settings =
            FeedSettings { keyspaces: vec![], budget: 64 << 10, timeout: Duration::from_millis(500), seed: [1, 2] };
        Self { strict: Strict::new(settings), calls: 100 }
    }

    /// Lets the worker poll at `now`, and answers what was committed since.
    fn follow(&mut self, now: u64, revocations: &[(Kind, RevocationKey)]) {
        let feed = self.strict.feed_mut();
        feed.requested(at(now));
        let request = feed.poll(at(now), CHANCE).expect("a poll is due").request;
        feed.sent(1);
        let revocations: Vec<_> = revocations
            .iter()
            .map(|(kind, key)| FeedRevocation { kind: *kind, key: *key, cutoff: SECOND, expires_at: SECOND + 60 })
            .collect();
        let to = request.applied + revocations.len() as u64;
        let answer = FeedAnswer {
            epoch: EPOCH,
            from: request.applied,
            to,
            more: false,
            revocations,
            lease_ms: 2000,
            fresh_ms: 0,
        };
        feed.answered(1, Some(&answer), at(now), CHANCE);
    }

    fn look(&mut self, stream: StreamId, now: u64) -> Found {
        self.strict.look(&facts(), stream, at(now))
    }

    /// A request that has to ask, and the callout that does.
    fn asks(&mut self, stream: StreamId, now: u64) -> CallId {
        match self.look(stream, now) {
            Found::Ask(id) => self.sent(id),
            other => panic!("{other:?}"),
        }
    }

    fn sent(&mut self, id: QuestionId) -> CallId {
        self.calls += 1;
        self.strict.sent(id, self.calls);
        self.calls
    }

    /// An answer from the moment when the log reached to `applied`. Returns who is served, what with, and the callout
    /// that asks for the others.
    fn answer(
        &mut self,
        call: CallId,
        verdict: CheckVerdict,
        applied: u64,
        now: u64,
    ) -> (Vec<StreamId>, Option<CheckVerdict>, Option<CallId>) {
        let answer = Answer { verdict, read_at: Some(LogPosition { epoch: EPOCH, seq: applied }) };
        let settled = self.strict.answered(call, Some(answer), at(now));
        let again = settled.ask_again.map(|(id, _)| self.sent(id));
        (settled.streams, settled.verdict, again)
    }
}

const ACTIVE: CheckVerdict = CheckVerdict::Active;
const REVOKED: CheckVerdict = CheckVerdict::Revoked;

#[test]
fn with_a_lease_nobody_is_asked() {
    let mut story = Story::new();
    story.follow(0, &[]);
    assert_eq!(story.look(1, 1_999), Found::Known(ACTIVE));
    story.follow(1_999, &[(Kind::Token, TOKEN)]);
    assert_eq!(story.look(2, 1_999), Found::Known(REVOKED));
}

#[test]
fn when_the_lease_is_over_only_revoked_is_still_known() {
    let mut story = Story::new();
    story.follow(0, &[]);
    assert!(matches!(story.look(1, 2_000), Found::Ask(_)));
    let mut story = Story::new();
    story.follow(0, &[(Kind::Token, TOKEN)]);
    assert_eq!(story.look(1, 60_000), Found::Known(REVOKED));
}

#[test]
fn an_answer_serves_those_who_were_there_when_it_was_asked_for_and_is_kept_for_nobody() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    // At the very same reading of the clock, and yet later.
    assert_eq!(story.look(2, 0), Found::Joined);
    let (served, verdict, again) = story.answer(call, ACTIVE, 0, 0);
    assert_eq!((served, verdict), (vec![1], Some(ACTIVE)));
    assert_eq!(story.answer(again.unwrap(), REVOKED, 1, 5), (vec![2], Some(REVOKED), None));
    assert!(matches!(story.look(3, 5), Found::Ask(_)));
}

#[test]
fn no_answer_is_no_answer_for_everybody() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    assert_eq!(story.look(2, 10), Found::Joined);
    let settled = story.strict.answered(call, None, at(500));
    assert_eq!((settled.streams, settled.verdict), (vec![1, 2], None));
    let Found::Ask(id) = story.look(3, 600) else { panic!() };
    assert_eq!(story.strict.not_sent(id, at(600)).streams, [3]);
}

#[test]
fn an_answer_on_its_way_while_a_revocation_is_applied_is_not_used() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    assert_eq!(story.look(2, 10), Found::Joined);
    story.follow(20, &[(Kind::Token, TOKEN)]);
    assert_eq!(story.answer(call, ACTIVE, 0, 30), (vec![1, 2], Some(REVOKED), None));
}

#[test]
fn a_lease_that_has_come_meanwhile_serves_everybody() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    assert_eq!(story.look(2, 10), Found::Joined);
    story.follow(20, &[]);
    assert_eq!(story.answer(call, ACTIVE, 0, 30), (vec![1, 2], Some(ACTIVE), None));
    let mut story = Story::new();
    let call = story.asks(1, 0);
    story.follow(20, &[]);
    let settled = story.strict.answered(call, None, at(30));
    assert_eq!((settled.streams, settled.verdict), (vec![1], Some(ACTIVE)));
}

#[test]
fn a_tie_is_asked_about_once_for_each_token() {
    let mut story = Story::new();
    story.follow(0, &[(Kind::Subject, USER)]);
    let call = story.asks(1, 10);
    assert_eq!(story.look(2, 20), Found::Joined);
    assert_eq!(story.answer(call, ACTIVE, 1, 30), (vec![1, 2], Some(ACTIVE), None));
    assert_eq!(story.look(3, 40), Found::Known(ACTIVE));
    assert!(matches!(story.look(4, 2_000), Found::Ask(_)), "the lease is over");
    story.follow(2_100, &[(Kind::Token, TOKEN)]);
    assert_eq!(story.look(5, 2_100), Found::Known(REVOKED));
}

#[test]
fn an_answer_from_before_the_logout_of_all_devices_says_nothing_of_the_tie() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    story.follow(10, &[(Kind::Subject, USER)]);
    assert_eq!(story.look(2, 20), Found::Joined);
    let (served, verdict, again) = story.answer(call, ACTIVE, 0, 30);
    assert_eq!((served, verdict), (vec![1], Some(ACTIVE)));
    assert_eq!(story.answer(again.unwrap(), REVOKED, 1, 40), (vec![2], Some(REVOKED), None));
}

#[test]
fn a_client_that_goes_away_takes_no_answer_along() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    assert_eq!(story.look(2, 10), Found::Joined);
    story.strict.forget(1);
    assert_eq!(story.strict.waiting(), 1);
    let (served, _, again) = story.answer(call, ACTIVE, 0, 20);
    assert!(served.is_empty() && again.is_some());
}

#[test]
fn a_lost_question_is_given_up_and_its_answer_is_nobodys() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    assert_eq!(story.look(2, 10), Found::Joined);
    assert!(story.strict.give_up_lost(at(2_000)).is_empty() && story.strict.asking());
    let given_up = story.strict.give_up_lost(at(2_001));
    let told: Vec<_> = given_up.iter().map(|settled| (settled.streams.as_slice(), settled.verdict)).collect();
    assert_eq!(told, [([1, 2].as_slice(), None)]);
    assert!(!story.strict.asking() && !story.strict.asked(call));
    assert_eq!(story.answer(call, ACTIVE, 0, 2_002), (vec![], None, None));
}
