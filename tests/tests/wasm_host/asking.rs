//! Questions to the control plane, and how long its answers are good.

use std::time::Duration;

use curfew_core::REVOKED_IN_SAME_SECOND;
use curfew_testbed::wasm_host::{Host, Outcome, START, StreamId};
use serde_json::{Value, json};

use crate::feed::{questions, strict};
use crate::support::{
    INTERNAL_SECRET, admitted, answer, bearer, configured, host, only_callout, refused, send, send_and_answer, token,
    verdict,
};

#[test]
fn a_good_token_is_asked_about_once_and_then_admitted_from_the_cache() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    let outcome = send_and_answer(&mut host, &token, "active").unwrap();
    assert_eq!(admitted(&outcome).unwrap().all("x-user-id"), ["alice"]);
    for _ in 0..3 {
        let (_, outcome) = send(&mut host, &token).unwrap();
        assert_eq!(admitted(&outcome).unwrap().all("x-user-id"), ["alice"]);
    }
    assert!(host.callouts().is_empty());
    assert_eq!(host.metric("curfew_checks_sent"), 1);
    assert_eq!(host.metric("curfew_requests_admitted"), 4);
}

#[test]
fn the_question_is_the_documented_one() {
    let mut host = host().unwrap();
    send(&mut host, &token().unwrap()).unwrap();
    let callout = only_callout(&host).unwrap();
    assert_eq!(callout.cluster, "curfew");
    assert_eq!(callout.timeout, Duration::from_millis(250));
    for (name, value) in [
        (":method", "POST"),
        (":path", "/internal/v1/check"),
        (":authority", "curfew.internal"),
        ("content-type", "application/json"),
        ("authorization", &bearer(INTERNAL_SECRET)),
    ] {
        assert_eq!(callout.headers.all(name), [value], "{name}");
    }
    let question = callout.json();
    assert_eq!(question["issued_at"], json!(START));
    for key in ["keyspace", "token", "jti", "subject"] {
        assert_eq!(question[key].as_str().map(str::len), Some(32), "{key}: {question}");
    }
    assert_eq!(question.get("session"), None, "the token has no sid");
}

#[test]
fn an_active_verdict_is_good_until_max_staleness_after_the_question_was_sent() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    let (stream, _) = send(&mut host, &token).unwrap();
    // The answer takes 4 seconds; the verdict's age counts from the question on.
    host.advance(Duration::from_secs(4));
    answer(&mut host, "active").unwrap();
    admitted(&host.outcome(stream).unwrap()).unwrap();
    host.advance(Duration::from_millis(999));
    admitted(&send(&mut host, &token).unwrap().1).unwrap();
    host.advance(Duration::from_millis(1));
    assert_eq!(send(&mut host, &token).unwrap().1, Outcome::Paused);
    assert_eq!(host.metric("curfew_checks_sent"), 2);
}

#[test]
fn a_verdict_that_arrives_too_old_serves_the_waiting_requests_and_no_later_one() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    let (stream, _) = send(&mut host, &token).unwrap();
    host.advance(Duration::from_secs(6));
    answer(&mut host, "active").unwrap();
    assert_ne!(host.outcome(stream).unwrap(), Outcome::Paused);
    let (_, outcome) = send(&mut host, &token).unwrap();
    assert_eq!(outcome, Outcome::Paused, "the answer is older than max_staleness");
}

#[test]
fn a_request_that_joins_an_old_question_gets_an_answer_of_its_own() {
    let patient = json!({"control_plane": {"cluster": "curfew", "secret": INTERNAL_SECRET, "timeout": "30s"}});
    let mut host = Host::start(&configured(patient)).unwrap();
    let token = token().unwrap();
    let (early, _) = send(&mut host, &token).unwrap();
    host.advance(Duration::from_secs(6));
    let (late, _) = send(&mut host, &token).unwrap();
    answer(&mut host, "active").unwrap();
    admitted(&host.outcome(early).unwrap()).unwrap();
    assert_eq!(host.outcome(late).unwrap(), Outcome::Paused, "a logout may have come between question and request");
    answer(&mut host, "revoked").unwrap();
    refused(&host.outcome(late).unwrap(), 401, "token_revoked");
}

#[test]
fn moving_the_wall_clock_back_does_not_stretch_a_verdict() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    admitted(&send_and_answer(&mut host, &token, "active").unwrap()).unwrap();
    host.advance(Duration::from_secs(5));
    host.step_wall_clock(-4);
    assert_eq!(send(&mut host, &token).unwrap().1, Outcome::Paused);
}

#[test]
fn a_revoked_verdict_is_final() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    refused(&send_and_answer(&mut host, &token, "revoked").unwrap(), 401, "token_revoked");
    for _ in 0..10 {
        host.advance(Duration::from_secs(50));
        refused(&send(&mut host, &token).unwrap().1, 401, "token_revoked");
    }
    assert_eq!(host.metric("curfew_checks_sent"), 1);
    host.advance(Duration::from_secs(120));
    refused(&send(&mut host, &token).unwrap().1, 401, "token_expired");
}

/// In bounded mode, and in a strict worker that holds no copy, only the answer can tell.
#[test]
fn a_login_in_the_second_of_a_logout_of_all_devices_is_told_what_helps() {
    let detail = |outcome: &Outcome| {
        refused(outcome, 401, "token_revoked");
        let Outcome::LocalReply { body, .. } = outcome else { panic!("not refused: {outcome:?}") };
        serde_json::from_str::<Value>(body).unwrap()["detail"].as_str().unwrap().to_owned()
    };
    let same_second =
        json!({"epoch": "0123456789abcdef0123456789abcdef", "seq": 7, "verdict": "revoked", "same_second": true});
    // A control plane of an earlier version does not say it.
    for (says, told) in [
        (same_second.to_string().into_bytes(), REVOKED_IN_SAME_SECOND),
        (verdict("revoked"), "The token was logged out."),
    ] {
        for (setup, remembered) in [(configured(json!({})), true), (strict(json!({})), false)] {
            let mut host = Host::start(&setup).unwrap();
            let token = token().unwrap();
            for round in 0..2 {
                let (stream, _) = send(&mut host, &token).unwrap();
                if let Some(question) = questions(&host).pop() {
                    host.answer(question.token, 200, &says).unwrap();
                }
                assert_eq!(detail(&host.outcome(stream).unwrap()), told, "{round}");
            }
            assert_eq!(host.metric("curfew_checks_sent"), if remembered { 1 } else { 2 });
        }
    }
}

#[test]
fn many_requests_that_wait_for_one_token_share_one_question() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    let streams: Vec<StreamId> = (0..500).map(|_| send(&mut host, &token).unwrap().0).collect();
    answer(&mut host, "active").unwrap();
    host.settle().unwrap();
    for stream in streams {
        admitted(&host.outcome(stream).unwrap()).unwrap();
    }
    assert_eq!(host.metric("curfew_checks_sent"), 1);
}

#[test]
fn different_tokens_ask_different_questions_and_answers_may_come_in_any_order() {
    let mut host = host().unwrap();
    let (first, second) = (token().unwrap(), token().unwrap());
    let (first_stream, _) = send(&mut host, &first).unwrap();
    let (second_stream, _) = send(&mut host, &second).unwrap();
    let callouts = host.callouts();
    assert_eq!(callouts.len(), 2);
    host.answer(callouts[1].token, 200, &verdict("revoked")).unwrap();
    host.answer(callouts[0].token, 200, &verdict("active")).unwrap();
    admitted(&host.outcome(first_stream).unwrap()).unwrap();
    refused(&host.outcome(second_stream).unwrap(), 401, "token_revoked");
}

#[test]
fn a_client_that_leaves_while_waiting_takes_nothing_from_the_others() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    let (asking, _) = send(&mut host, &token).unwrap();
    let (waiting, _) = send(&mut host, &token).unwrap();
    let (leaving, _) = send(&mut host, &token).unwrap();
    host.close(asking).unwrap();
    host.close(leaving).unwrap();
    answer(&mut host, "active").unwrap();
    admitted(&host.outcome(waiting).unwrap()).unwrap();
    admitted(&send(&mut host, &token).unwrap().1).unwrap();
}

#[test]
fn an_answer_for_clients_that_all_left_still_fills_the_cache() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    let (stream, _) = send(&mut host, &token).unwrap();
    host.close(stream).unwrap();
    answer(&mut host, "active").unwrap();
    admitted(&send(&mut host, &token).unwrap().1).unwrap();
    assert_eq!(host.metric("curfew_checks_sent"), 1);
}

#[test]
fn a_thousand_streams_come_and_go_without_a_trace() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    for round in 0..1_000 {
        let (stream, outcome) = send(&mut host, &token).unwrap();
        if outcome == Outcome::Paused {
            answer(&mut host, "active").unwrap();
        }
        admitted(&host.outcome(stream).unwrap()).unwrap();
        host.close(stream).unwrap();
        if round % 100 == 0 {
            host.advance(Duration::from_secs(6));
        }
    }
    assert!(host.callouts().is_empty());
}
