use std::rc::Rc;
use std::time::Duration;

use curfew_core::wire::{FeedAnswer, FeedRevocation};
use curfew_core::{IssuerKey, KeyId, Keyspace, Kind, LogPosition, Times, WorkerId};

use super::*;
use crate::feed::Randomness;
use crate::ids::{CallId, StreamId};
use crate::knowledge::{Knowledge, Lookup, QuestionId};
use crate::proofs::Facts;

const EPOCH: Epoch = Epoch::from_bytes([1; 16]);
const SECOND: i64 = 1_000_000;
const TOKEN: RevocationKey = RevocationKey::from_bytes([1; 16]);
const USER: RevocationKey = RevocationKey::from_bytes([2; 16]);
const RANDOMNESS: Randomness = Randomness { worker: WorkerId::from_bytes([7; 16]), jitter: 0 };

fn at(milliseconds: u64) -> Now {
    Now { monotonic: Duration::from_millis(milliseconds), unix: SECOND }
}

/// A token of the second in which its user was logged out everywhere.
fn facts() -> Rc<Facts> {
    Rc::new(Facts {
        key: IssuerKey::new(0, KeyId::from_bytes([0; 16])),
        handed_out: false,
        check: CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token: TOKEN,
            jti: None,
            session: None,
            subject: Some(USER),
            issued_at: Some(SECOND),
        },
        times: Times { issued_at: None, cutoff_time: None, not_before: None, expires_at: 1, clock_skew: 0 },
        identity: Ok(Vec::new()),
        meets: 0,
    })
}

struct Story {
    strict: Knowledge<Rc<Facts>, Strict>,
    calls: CallId,
}

impl Story {
    fn new() -> Self {
        let settings =
            FeedSettings { keyspaces: vec![], budget: 64 << 10, timeout: Duration::from_millis(500), seed: [1, 2] };
        let timeout = settings.timeout;
        Self { strict: Knowledge::new(Strict::new(settings), timeout), calls: 100 }
    }

    /// Lets the worker poll at `now`, and answers what was committed since.
    fn follow(&mut self, now: u64, revocations: &[(Kind, RevocationKey)]) {
        self.follow_to(now, revocations, 0);
    }

    /// The same, and the log shows this change of keys.
    fn follow_to(&mut self, now: u64, revocations: &[(Kind, RevocationKey)], keys_seq: u64) {
        let feed = self.strict.mode_mut().feed_mut();
        feed.requested(at(now));
        let request = feed.poll(at(now), RANDOMNESS).expect("a poll is due").request;
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
            keys_seq,
            revocations,
            lease_ms: 2000,
            fresh_ms: 0,
        };
        feed.answered(1, Some(&answer), at(now), RANDOMNESS);
    }

    fn look(&mut self, stream: StreamId, now: u64) -> Lookup {
        self.strict.look(&facts(), stream, at(now))
    }

    /// A request that has to ask, and the callout that does.
    fn asks(&mut self, stream: StreamId, now: u64) -> CallId {
        match self.look(stream, now) {
            Lookup::Ask(id) => self.sent(id),
            other => panic!("{other:?}"),
        }
    }

    fn sent(&mut self, id: QuestionId) -> CallId {
        self.calls += 1;
        self.strict.questions_mut().sent(id, self.calls);
        self.calls
    }

    /// An answer that was read when the log reached `applied`. Returns the streams that are served, their verdict, and
    /// the callout that asks for the others.
    fn answer(
        &mut self,
        call: CallId,
        verdict: CheckVerdict,
        applied: u64,
        now: u64,
    ) -> (Vec<StreamId>, Option<CheckVerdict>, Option<CallId>) {
        let answer = Answer {
            verdict,
            read_at: Some(LogPosition { epoch: EPOCH, seq: applied }),
            keys_seq: 0,
            same_second: false,
        };
        let settled = self.strict.answered(call, Some(answer), at(now));
        let again = settled.ask_again.map(|(id, _)| self.sent(id));
        (settled.streams, settled.verdict, again)
    }
}

const ACTIVE: CheckVerdict = CheckVerdict::Active;
const REVOKED: CheckVerdict = CheckVerdict::Revoked;

#[test]
fn with_a_lease_no_question_is_asked() {
    let mut story = Story::new();
    story.follow(0, &[]);
    assert_eq!(story.look(1, 1_999), Lookup::Decided(ACTIVE));
    story.follow(1_999, &[(Kind::Token, TOKEN)]);
    assert_eq!(story.look(2, 1_999), Lookup::Decided(REVOKED));
}

#[test]
fn when_the_lease_is_over_only_revoked_is_still_known() {
    let mut story = Story::new();
    story.follow(0, &[]);
    assert!(matches!(story.look(1, 2_000), Lookup::Ask(_)));
    let mut story = Story::new();
    story.follow(0, &[(Kind::Token, TOKEN)]);
    assert_eq!(story.look(1, 60_000), Lookup::Decided(REVOKED));
}

#[test]
fn an_answer_serves_the_requests_that_waited_when_it_was_asked_for_and_is_not_remembered() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    // At the same reading of the clock, and yet later.
    assert_eq!(story.look(2, 0), Lookup::Joined);
    let (served, verdict, again) = story.answer(call, ACTIVE, 0, 0);
    assert_eq!((served, verdict), (vec![1], Some(ACTIVE)));
    assert_eq!(story.answer(again.unwrap(), REVOKED, 1, 5), (vec![2], Some(REVOKED), None));
    assert!(matches!(story.look(3, 5), Lookup::Ask(_)));
}

#[test]
fn a_failed_question_leaves_all_that_wait_without_a_verdict() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    assert_eq!(story.look(2, 10), Lookup::Joined);
    let settled = story.strict.answered(call, None, at(500));
    assert_eq!((settled.streams, settled.verdict), (vec![1, 2], None));
    let Lookup::Ask(id) = story.look(3, 600) else { panic!() };
    assert_eq!(story.strict.not_sent(id, at(600)).streams, [3]);
}

#[test]
fn an_answer_on_its_way_while_a_revocation_is_applied_is_not_used() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    assert_eq!(story.look(2, 10), Lookup::Joined);
    story.follow(20, &[(Kind::Token, TOKEN)]);
    assert_eq!(story.answer(call, ACTIVE, 0, 30), (vec![1, 2], Some(REVOKED), None));
}

#[test]
fn a_lease_that_has_come_meanwhile_serves_all_that_wait() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    assert_eq!(story.look(2, 10), Lookup::Joined);
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
    assert_eq!(story.look(2, 20), Lookup::Joined);
    assert_eq!(story.answer(call, ACTIVE, 1, 30), (vec![1, 2], Some(ACTIVE), None));
    assert_eq!(story.look(3, 40), Lookup::Decided(ACTIVE));
    assert!(matches!(story.look(4, 2_000), Lookup::Ask(_)), "the lease is over");
    story.follow(2_100, &[(Kind::Token, TOKEN)]);
    assert_eq!(story.look(5, 2_100), Lookup::Decided(REVOKED));
}

#[test]
fn an_answer_from_before_the_logout_of_all_devices_says_nothing_of_the_tie() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    story.follow(10, &[(Kind::Subject, USER)]);
    assert_eq!(story.look(2, 20), Lookup::Joined);
    let (served, verdict, again) = story.answer(call, ACTIVE, 0, 30);
    assert_eq!((served, verdict), (vec![1], Some(ACTIVE)));
    assert_eq!(story.answer(again.unwrap(), REVOKED, 1, 40), (vec![2], Some(REVOKED), None));
}

#[test]
fn a_client_that_goes_away_takes_no_answer_with_it() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    assert_eq!(story.look(2, 10), Lookup::Joined);
    story.strict.questions_mut().forget(1);
    assert_eq!(story.strict.questions().waiting(), 1);
    let (served, _, again) = story.answer(call, ACTIVE, 0, 20);
    assert!(served.is_empty() && again.is_some());
}

#[test]
fn a_lost_question_is_given_up_and_its_answer_ignored() {
    let mut story = Story::new();
    let call = story.asks(1, 0);
    assert_eq!(story.look(2, 10), Lookup::Joined);
    assert!(story.strict.give_up_lost(at(2_000)).is_empty() && !story.strict.questions().is_empty());
    let given_up = story.strict.give_up_lost(at(2_001));
    let released: Vec<_> = given_up.iter().map(|settled| (settled.streams.as_slice(), settled.verdict)).collect();
    assert_eq!(released, [([1, 2].as_slice(), None)]);
    assert!(story.strict.questions().is_empty() && !story.strict.questions().asked(call));
    assert_eq!(story.answer(call, ACTIVE, 0, 2_002), (vec![], None, None));
}

/// A token of an issuer whose keys the control plane hands out.
fn handed_out() -> Rc<Facts> {
    let facts = Rc::into_inner(facts()).unwrap();
    Rc::new(Facts { handed_out: true, ..facts })
}

/// How new the worker's keys are, how new they are shown to be, and whether "active" counts.
type Age = (Option<(u8, u64)>, u64, bool);

const AGES: [Age; 6] = [
    (None, 0, false),
    (Some((1, 0)), 0, true),
    (Some((1, 4)), 5, false),
    (Some((1, 5)), 5, true),
    (Some((1, 6)), 5, true),
    (Some((2, 9)), 5, false),
];

fn holding(held: Option<(u8, u64)>) -> Story {
    let mut story = Story::new();
    let position = |(epoch, seq)| LogPosition { epoch: Epoch::from_bytes([epoch; 16]), seq };
    story.strict.hold_keys(held.map(position));
    story
}

#[test]
fn the_copy_decides_about_handed_out_keys_only_while_they_are_as_new_as_its_log() {
    for (held, shown, counts) in AGES {
        let mut story = holding(held);
        story.follow_to(0, &[], shown);
        assert_eq!(story.strict.own(&facts(), at(1)), Some(ACTIVE), "other tokens do not depend on them");
        assert_eq!(story.strict.own(&handed_out(), at(1)), counts.then_some(ACTIVE), "{held:?} {shown}");
        story.follow_to(1_000, &[(Kind::Token, TOKEN)], shown);
        assert_eq!(story.strict.own(&handed_out(), at(1_001)), Some(REVOKED), "{held:?} {shown}");
    }
}

#[test]
fn an_answer_about_handed_out_keys_counts_only_if_they_are_as_new_as_its_reading() {
    for (held, shown, counts) in AGES {
        for verdict in [ACTIVE, REVOKED] {
            let mut story = holding(held);
            let Lookup::Ask(id) = story.strict.look(&handed_out(), 1, at(0)) else { panic!() };
            let call = story.sent(id);
            let read_at = Some(LogPosition { epoch: EPOCH, seq: 9 });
            let settled = story.strict.answered(
                call,
                Some(Answer { verdict, read_at, keys_seq: shown, same_second: false }),
                at(1),
            );
            let served = counts || verdict == REVOKED;
            assert_eq!(settled.verdict, served.then_some(verdict), "{held:?} {shown}");
            assert_eq!(
                (settled.streams.len(), story.strict.questions().wait_for_keys()),
                (usize::from(served), !served)
            );
        }
    }
}
