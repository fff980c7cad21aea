use curfew_core::wire::CheckRequest;
use curfew_core::{Keyspace, Times};

use super::*;

const TIMEOUT: Duration = Duration::from_millis(500);

fn facts_about(token: [u8; 16]) -> Rc<Facts> {
    Rc::new(Facts {
        check: CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token: RevocationKey::from_bytes(token),
            jti: None,
            session: None,
            subject: None,
            issued_at: None,
        },
        times: Times { issued_at: None, cutoff_time: None, not_before: None, expires_at: 1 },
        identity: Ok(Vec::new()),
    })
}

fn facts() -> Rc<Facts> {
    facts_about([1; 16])
}

fn at(milliseconds: u64) -> Now {
    Now { monotonic: Duration::from_millis(milliseconds), unix: 0 }
}

fn checks() -> Checks {
    Checks::new(1 << 20, Duration::from_secs(5), TIMEOUT)
}

fn asked(checks: &mut Checks, facts: &Rc<Facts>, stream: StreamId, call: CallId, now: Now) -> QuestionId {
    let Found::Ask(id) = checks.look(facts, stream, now) else { panic!("not asked") };
    checks.sent(id, call);
    id
}

#[test]
fn an_active_answer_is_good_from_the_asking_of_its_question() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    let settled = checks.answered(7, Some(CheckVerdict::Active), at(400));
    assert_eq!((settled.streams, settled.verdict), (vec![1], Some(CheckVerdict::Active)));
    assert_eq!(checks.look(&facts, 2, at(4_999)), Found::Known(CheckVerdict::Active));
    assert!(matches!(checks.look(&facts, 3, at(5_000)), Found::Ask(_)));
}

#[test]
fn a_revoked_answer_stays() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    checks.answered(7, Some(CheckVerdict::Revoked), at(1));
    assert_eq!(checks.look(&facts, 2, at(3_600_000)), Found::Known(CheckVerdict::Revoked));
}

#[test]
fn many_wait_for_one_question() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(checks.look(&facts, 2, at(10)), Found::Joined);
    assert_eq!(checks.look(&facts, 3, at(20)), Found::Joined);
    assert_eq!(checks.answered(7, Some(CheckVerdict::Active), at(30)).streams, [1, 2, 3]);
    assert_eq!(checks.waiting(), 0);
}

#[test]
fn no_answer_settles_without_a_verdict_and_is_not_kept() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    let settled = checks.answered(7, None, at(500));
    assert_eq!((settled.streams, settled.verdict), (vec![1], None));
    let Found::Ask(id) = checks.look(&facts, 2, at(501)) else { panic!("not asked") };
    let settled = checks.not_sent(id);
    assert_eq!((settled.streams, settled.verdict), (vec![2], None));
    assert!(matches!(checks.look(&facts, 3, at(502)), Found::Ask(_)));
}

#[test]
fn a_stream_that_goes_leaves_the_answer_to_the_others() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(checks.look(&facts, 2, at(10)), Found::Joined);
    checks.forget(1);
    assert_eq!(checks.answered(7, Some(CheckVerdict::Active), at(30)).streams, [2]);
    assert_eq!(checks.look(&facts, 3, at(40)), Found::Known(CheckVerdict::Active));
}

#[test]
fn an_answer_comes_once() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    checks.answered(7, Some(CheckVerdict::Revoked), at(10));
    for _ in 0..2 {
        let settled = checks.answered(7, Some(CheckVerdict::Active), at(20));
        assert!(settled.streams.is_empty() && settled.ask_again.is_none());
    }
    assert_eq!(checks.look(&facts, 2, at(30)), Found::Known(CheckVerdict::Revoked));
}

#[test]
fn an_old_answer_does_not_serve_who_came_after_its_question() {
    let facts = facts();
    let mut checks = Checks::new(1 << 20, Duration::from_millis(100), TIMEOUT);
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(checks.look(&facts, 2, at(50)), Found::Joined);
    let settled = checks.answered(7, Some(CheckVerdict::Active), at(400));
    assert_eq!(settled.streams, [1]);
    let (id, about) = settled.ask_again.unwrap();
    assert_eq!(about, facts);
    checks.sent(id, 8);
    assert_eq!(checks.answered(8, Some(CheckVerdict::Revoked), at(410)).streams, [2]);
}

#[test]
fn without_staleness_each_request_asks_for_itself() {
    let facts = facts();
    let mut checks = Checks::new(1 << 20, Duration::ZERO, TIMEOUT);
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(checks.answered(7, Some(CheckVerdict::Active), at(1)).streams, [1]);
    assert!(matches!(checks.look(&facts, 2, at(2)), Found::Ask(_)));
}

#[test]
fn after_a_lost_question_newcomers_ask_anew_and_both_are_settled_by_their_own() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(checks.look(&facts, 2, at(2_000)), Found::Joined);
    let second = asked(&mut checks, &facts, 3, 8, at(2_001));
    assert_eq!(checks.look(&facts, 4, at(2_002)), Found::Joined);
    assert_eq!(checks.answered(8, Some(CheckVerdict::Revoked), at(2_003)).streams, [3, 4]);
    // The lost one's answer is older than what is known: it brings the token back for nobody.
    let settled = checks.answered(7, Some(CheckVerdict::Active), at(2_004));
    assert_eq!((settled.streams, settled.verdict), (vec![1, 2], Some(CheckVerdict::Revoked)));
    assert_eq!(checks.look(&facts, 5, at(2_005)), Found::Known(CheckVerdict::Revoked));
    assert!(checks.not_sent(second).streams.is_empty());
}

#[test]
fn a_lost_question_is_given_up_and_its_answer_is_nobodys() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    assert_eq!(checks.look(&facts, 2, at(1_999)), Found::Joined);
    assert!(checks.give_up_lost(at(2_000)).is_empty());
    let given_up = checks.give_up_lost(at(2_001));
    let told: Vec<_> = given_up.iter().map(|settled| (settled.streams.as_slice(), settled.verdict)).collect();
    assert_eq!(told, [([1, 2].as_slice(), None)]);
    assert!(!checks.asking() && !checks.asked(7));
    assert!(checks.answered(7, Some(CheckVerdict::Active), at(2_002)).streams.is_empty());
    assert!(matches!(checks.look(&facts, 3, at(2_003)), Found::Ask(_)));
}

#[test]
fn answers_and_questions_stay_within_their_budgets() {
    let mut checks = Checks::new(9_600, Duration::from_secs(5), TIMEOUT);
    for index in 0..=255 {
        let facts = facts_about([index; 16]);
        asked(&mut checks, &facts, 1, 7, at(0));
        checks.answered(7, Some(CheckVerdict::Revoked), at(0));
        assert!(checks.bytes() <= 9_600);
    }
    let about = |index: u32| {
        let mut token = [0xff; 16];
        token[..4].copy_from_slice(&index.to_be_bytes());
        facts_about(token)
    };
    for index in 0..8192 {
        asked(&mut checks, &about(index), index, index, at(0));
    }
    assert_eq!(checks.look(&about(8192), 8192, at(0)), Found::Full);
    assert_eq!(checks.look(&about(0), 8193, at(0)), Found::Joined);
}

#[test]
fn who_waits_for_a_lost_question_is_told_what_a_later_one_found() {
    let (mut checks, facts) = (checks(), facts());
    asked(&mut checks, &facts, 1, 7, at(0));
    asked(&mut checks, &facts, 2, 8, at(2_001));
    checks.answered(8, Some(CheckVerdict::Revoked), at(2_002));
    let settled = checks.give_up_lost(at(2_003));
    let told: Vec<_> = settled.iter().map(|settled| (settled.streams.as_slice(), settled.verdict)).collect();
    assert_eq!(told, [(&[1][..], Some(CheckVerdict::Revoked))]);
}
