use std::rc::Rc;

use curfew_core::wire::CheckRequest;
use curfew_core::{IssuerKey, KeyId, Keyspace, Times};

use super::*;
use crate::ids::{CallId, StreamId};
use crate::knowledge::{Answer, Knowledge, Lookup, QuestionId, Settled};
use crate::proofs::Facts;

type Checks = Knowledge<Rc<Facts>, Bounded>;

const TIMEOUT: Duration = Duration::from_millis(500);

fn facts_about(token: [u8; 16]) -> Rc<Facts> {
    Rc::new(Facts {
        key: IssuerKey::new(0, KeyId::from_bytes([0; 16])),
        handed_out: false,
        check: CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token: RevocationKey::from_bytes(token),
            jti: None,
            session: None,
            subject: None,
            issued_at: None,
        },
        times: Times { issued_at: None, cutoff_time: None, not_before: None, expires_at: 1, clock_skew: 0 },
        identity: Ok(Vec::new()),
        meets: 0,
    })
}

fn facts() -> Rc<Facts> {
    facts_about([1; 16])
}

fn at(milliseconds: u64) -> Now {
    Now { monotonic: Duration::from_millis(milliseconds), unix: 0 }
}

fn checks_of(budget: u64, max_staleness: Duration) -> Checks {
    Knowledge::new(Bounded::new(budget, max_staleness), TIMEOUT)
}

fn checks() -> Checks {
    checks_of(1 << 20, Duration::from_secs(5))
}

fn answered(checks: &mut Checks, call: CallId, verdict: Option<CheckVerdict>, now: Now) -> Settled<Rc<Facts>> {
    checks.answered(
        call,
        verdict.map(|verdict| Answer { verdict, read_at: None, keys_seq: 0, same_second: false }),
        now,
    )
}

fn asked(checks: &mut Checks, facts: &Rc<Facts>, stream: StreamId, call: CallId, now: Now) -> QuestionId {
    let Lookup::Ask(id) = checks.look(facts, stream, now) else { panic!("not asked") };
    checks.questions_mut().sent(id, call);
    id
}

#[test]
fn an_active_answer_is_good_from_the_asking_of_its_question() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    let settled = answered(&mut checks, 7, Some(CheckVerdict::Active), at(400));
    assert_eq!((settled.streams, settled.verdict), (vec![1], Some(CheckVerdict::Active)));
    assert_eq!(checks.look(&facts, 2, at(4_999)), Lookup::Decided(CheckVerdict::Active));
    assert!(matches!(checks.look(&facts, 3, at(5_000)), Lookup::Ask(_)));
}

#[test]
fn a_revoked_answer_stays() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    answered(&mut checks, 7, Some(CheckVerdict::Revoked), at(1));
    assert_eq!(checks.look(&facts, 2, at(3_600_000)), Lookup::Decided(CheckVerdict::Revoked));
}

#[test]
fn many_wait_for_one_question() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(checks.look(&facts, 2, at(10)), Lookup::Joined);
    assert_eq!(checks.look(&facts, 3, at(20)), Lookup::Joined);
    assert_eq!(answered(&mut checks, 7, Some(CheckVerdict::Active), at(30)).streams, [1, 2, 3]);
    assert_eq!(checks.questions().waiting(), 0);
}

#[test]
fn no_answer_settles_without_a_verdict_and_is_not_kept() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    let settled = answered(&mut checks, 7, None, at(500));
    assert_eq!((settled.streams, settled.verdict), (vec![1], None));
    let Lookup::Ask(id) = checks.look(&facts, 2, at(501)) else { panic!("not asked") };
    let settled = checks.not_sent(id, at(501));
    assert_eq!((settled.streams, settled.verdict), (vec![2], None));
    assert!(matches!(checks.look(&facts, 3, at(502)), Lookup::Ask(_)));
}

#[test]
fn a_stream_that_goes_leaves_the_answer_to_the_others() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(checks.look(&facts, 2, at(10)), Lookup::Joined);
    checks.questions_mut().forget(1);
    assert_eq!(answered(&mut checks, 7, Some(CheckVerdict::Active), at(30)).streams, [2]);
    assert_eq!(checks.look(&facts, 3, at(40)), Lookup::Decided(CheckVerdict::Active));
}

#[test]
fn a_second_answer_to_the_same_callout_changes_nothing() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    answered(&mut checks, 7, Some(CheckVerdict::Revoked), at(10));
    for _ in 0..2 {
        let settled = answered(&mut checks, 7, Some(CheckVerdict::Active), at(20));
        assert!(settled.streams.is_empty() && settled.ask_again.is_none());
    }
    assert_eq!(checks.look(&facts, 2, at(30)), Lookup::Decided(CheckVerdict::Revoked));
}

#[test]
fn an_old_answer_does_not_serve_a_request_that_came_after_its_question() {
    let facts = facts();
    let mut checks = checks_of(1 << 20, Duration::from_millis(100));
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(checks.look(&facts, 2, at(50)), Lookup::Joined);
    let settled = answered(&mut checks, 7, Some(CheckVerdict::Active), at(400));
    assert_eq!(settled.streams, [1]);
    let (id, about) = settled.ask_again.unwrap();
    assert_eq!(about, facts);
    checks.questions_mut().sent(id, 8);
    assert_eq!(answered(&mut checks, 8, Some(CheckVerdict::Revoked), at(410)).streams, [2]);
}

#[test]
fn without_staleness_each_request_asks_for_itself() {
    let facts = facts();
    let mut checks = checks_of(1 << 20, Duration::ZERO);
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(answered(&mut checks, 7, Some(CheckVerdict::Active), at(1)).streams, [1]);
    assert!(matches!(checks.look(&facts, 2, at(2)), Lookup::Ask(_)));
}

#[test]
fn after_a_lost_question_new_requests_ask_anew_and_both_questions_are_settled() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(checks.look(&facts, 2, at(2_000)), Lookup::Joined);
    let second = asked(&mut checks, &facts, 3, 8, at(2_001));
    assert_eq!(checks.look(&facts, 4, at(2_002)), Lookup::Joined);
    assert_eq!(answered(&mut checks, 8, Some(CheckVerdict::Revoked), at(2_003)).streams, [3, 4]);
    // The lost question's answer is older than what is known. It admits nothing.
    let settled = answered(&mut checks, 7, Some(CheckVerdict::Active), at(2_004));
    assert_eq!((settled.streams, settled.verdict), (vec![1, 2], Some(CheckVerdict::Revoked)));
    assert_eq!(checks.look(&facts, 5, at(2_005)), Lookup::Decided(CheckVerdict::Revoked));
    assert!(checks.not_sent(second, at(2_005)).streams.is_empty());
}

#[test]
fn a_lost_question_is_given_up_and_its_answer_ignored() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(checks.look(&facts, 2, at(1_999)), Lookup::Joined);
    assert!(checks.give_up_lost(at(2_000)).is_empty());
    let given_up = checks.give_up_lost(at(2_001));
    let released: Vec<_> = given_up.iter().map(|settled| (settled.streams.as_slice(), settled.verdict)).collect();
    assert_eq!(released, [([1, 2].as_slice(), None)]);
    assert!(checks.questions().is_empty() && !checks.questions().asked(7));
    assert!(answered(&mut checks, 7, Some(CheckVerdict::Active), at(2_002)).streams.is_empty());
    assert!(matches!(checks.look(&facts, 3, at(2_003)), Lookup::Ask(_)));
}

#[test]
fn answers_and_questions_stay_within_their_budgets() {
    let mut checks = checks_of(9_600, Duration::from_secs(5));
    for index in 0..=255 {
        let facts = facts_about([index; 16]);
        asked(&mut checks, &facts, 1, 7, at(0));
        answered(&mut checks, 7, Some(CheckVerdict::Revoked), at(0));
        assert!(checks.mode().bytes() <= 9_600);
    }
    let about = |index: u32| {
        let mut token = [0xff; 16];
        token[..4].copy_from_slice(&index.to_be_bytes());
        facts_about(token)
    };
    for index in 0..8192 {
        asked(&mut checks, &about(index), index, index, at(0));
    }
    assert_eq!(checks.look(&about(8192), 8192, at(0)), Lookup::Full);
    assert_eq!(checks.look(&about(0), 8193, at(0)), Lookup::Joined);
}

#[test]
fn a_request_that_waits_for_a_lost_question_gets_what_a_later_one_found() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    asked(&mut checks, &facts, 2, 8, at(2_001));
    answered(&mut checks, 8, Some(CheckVerdict::Revoked), at(2_002));
    let settled = checks.give_up_lost(at(2_003));
    let released: Vec<_> = settled.iter().map(|settled| (settled.streams.as_slice(), settled.verdict)).collect();
    assert_eq!(released, [(&[1][..], Some(CheckVerdict::Revoked))]);
}
