//! Requests through the gate, told as stories: what arrives, what the control plane answers, how each request ends.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod issuers;
mod places;
mod story;

use curfew_core::Denial;
use curfew_core::wire::CheckVerdict;
use curfew_filter::gate::{RELEASED_AT_ONCE, Step};
use curfew_filter::metrics::Metric;
use curfew_filter::outage::{Failure, Notice, Wanted};
use curfew_filter::permit::{Edits, Reason};
use curfew_filter::request::Request;
use serde_json::json;

use story::{NOW, SECRET, Story, at, denial, identity, outcome, outcomes, question, token, token_with};

#[test]
fn a_good_token_is_asked_about_once_and_then_admitted_from_memory() {
    let mut story = Story::new(json!({}));
    let step = story.get(1, 0, &token());
    let Step::Wait { edits, .. } = &step else { panic!("{step:?}") };
    assert_eq!(*edits, identity());
    let call = story.sent(step);
    assert_eq!(outcomes(&story.answer(call, 3, Some(CheckVerdict::Active)).streams), [(1, "resumed")]);
    let Step::Admit(permit) = story.get(2, 10, &token()) else { panic!("not admitted") };
    assert_eq!((permit.reason, permit.edits), (Reason::Active, identity()));
    assert_eq!(story.signatures, 1);
    assert_eq!(story.counted(Metric::Admitted), 2);
}

#[test]
fn a_logged_out_token_is_refused_until_it_expires() {
    let mut story = Story::new(json!({}));
    let step = story.get(1, 0, &token());
    let call = story.sent(step);
    let released = story.answer(call, 3, Some(CheckVerdict::Revoked));
    assert_eq!(outcomes(&released.streams), [(1, "token_revoked")]);
    assert_eq!(denial(&story.get(2, 599_000, &token())), Denial::Revoked);
    assert_eq!(denial(&story.get(3, 605_000, &token())), Denial::Expired);
}

#[test]
fn a_logout_is_noticed_when_the_answer_has_grown_stale() {
    let mut story = Story::new(json!({"max_staleness": "2s"}));
    let step = story.get(1, 0, &token());
    let call = story.sent(step);
    story.answer(call, 3, Some(CheckVerdict::Active));
    assert!(matches!(story.get(2, 1_999, &token()), Step::Admit(_)));
    let step = story.get(3, 2_000, &token());
    let call = story.sent(step);
    assert_eq!(outcomes(&story.answer(call, 2_003, Some(CheckVerdict::Revoked)).streams), [(3, "token_revoked")]);
}

#[test]
fn without_an_answer_the_request_is_refused_with_503() {
    let mut story = Story::new(json!({}));
    let step = story.get(1, 0, &token());
    let call = story.sent(step);
    assert_eq!(outcomes(&story.answer(call, 500, None).streams), [(1, "unavailable")]);
    let question = question(story.get(2, 600, &token()));
    story.gate.not_sent(question.id, at(600));
    assert_eq!(story.gate.take_notices(), [Notice::Began(Wanted::Verdicts, Failure::Status(504))], "told once");
    assert_eq!(outcome(&story.gate.release_only(2).unwrap()), "unavailable");
    assert!(!story.gate.holds_back());
    assert_eq!(story.counted(Metric::UnavailableDenied), 2);
}

#[test]
fn without_an_answer_the_request_is_admitted_if_on_unavailable_is_allow() {
    let mut story = Story::new(json!({"on_unavailable": "allow"}));
    let step = story.get(1, 0, &token());
    let call = story.sent(step);
    assert_eq!(outcomes(&story.answer(call, 500, None).streams), [(1, "resumed")]);
    assert_eq!(story.counted(Metric::UnavailableAllowed), 1);
}

#[test]
fn other_spellings_of_one_token_share_its_verdict() {
    let mut story = Story::new(json!({}));
    let step = story.get(1, 0, &token());
    let call = story.sent(step);
    story.answer(call, 3, Some(CheckVerdict::Revoked));
    let bare = token();
    let cookie = format!("access_token={bare}");
    for headers in [[(":path", "/"), ("authorization", bare.as_str())], [(":path", "/"), ("cookie", cookie.as_str())]] {
        assert_eq!(denial(&story.arrive(2, 10, &headers)), Denial::Revoked);
    }
}

#[test]
fn requests_without_an_acceptable_token_are_refused_without_a_question() {
    let mut story = Story::new(json!({}));
    let tampered = token().replace("eyJ", "eyK");
    let cases = [
        (vec![(":path", "/orders")], Denial::Missing),
        (vec![(":path", "/orders"), ("authorization", "Basic dXNlcjpwYXNz")], Denial::Invalid),
        (vec![(":path", "/orders"), ("authorization", &tampered)], Denial::Invalid),
        (vec![(":path", "/orders"), ("authorization", "a.b.c"), ("authorization", "a.b.c")], Denial::Invalid),
        (vec![(":path", "/news"), ("authorization", &tampered)], Denial::Invalid),
        (vec![(":path", "/public/../orders")], Denial::Missing),
    ];
    for (headers, expected) in cases {
        assert_eq!(denial(&story.arrive(1, 0, &headers)), expected, "{headers:?}");
    }
    let expired = token_with(json!({"iat": NOW - 600, "exp": NOW - 5}));
    assert_eq!(denial(&story.get(1, 0, &expired)), Denial::Expired);
}

#[test]
fn rules_admit_what_needs_no_token_and_strip_forged_identity_headers() {
    let mut story = Story::new(json!({}));
    let forged = [("x-user-id", "1"), ("X_USER-ID", "1"), ("x-role", "admin"), ("x-other", "1")];
    for (path, reason) in [("/public/logo.png", Reason::Skipped), ("/news", Reason::Anonymous)] {
        let headers = [&[(":path", path)][..], &forged].concat();
        let Step::Admit(permit) = story.arrive(1, 0, &headers) else { panic!("not admitted") };
        let remove = ["x-user-id", "X_USER-ID", "x-role"].map(|name| name.as_bytes().to_vec()).to_vec();
        assert_eq!((permit.reason, permit.edits), (reason, Edits { remove, ..Edits::default() }));
    }
}

#[test]
fn grpc_is_remembered_while_a_request_waits() {
    let mut story = Story::new(json!({}));
    let authorization = format!("Bearer {}", token());
    let headers = [
        (":path", "/shop.Orders/List"),
        ("content-type", "application/grpc-web+proto"),
        ("authorization", &authorization),
    ];
    let step = story.arrive(1, 0, &headers);
    let call = story.sent(step);
    let released = story.answer(call, 1, None);
    let [(1, Err(refusal))] = &released.streams[..] else { panic!("{released:?}") };
    assert!(refusal.grpc);
}

#[test]
fn report_only_counts_and_admits() {
    let mut story = Story::new(json!({"report_only": true}));
    let Step::Admit(permit) = story.arrive(1, 0, &[(":path", "/orders"), ("x-user-id", "1")]) else {
        panic!("refused")
    };
    assert_eq!(permit.reason, Reason::ReportOnly(Denial::Missing));
    assert_eq!(permit.edits.remove, [b"x-user-id"]);
    assert_eq!(story.gate.take_counted().collect::<Vec<_>>(), [Metric::Missing, Metric::ReportOnly]);
    let step = story.get(2, 0, &token());
    let call = story.sent(step);
    assert_eq!(outcomes(&story.answer(call, 1, Some(CheckVerdict::Revoked)).streams), [(2, "resumed")]);
    let counted: Vec<_> = story.gate.take_counted().filter(|metric| *metric == Metric::Revoked).collect();
    assert_eq!(counted, [Metric::Revoked]);
}

#[test]
fn a_crowd_is_released_in_portions() {
    let mut story = Story::new(json!({}));
    let step = story.get(0, 0, &token());
    let call = story.sent(step);
    for stream in 1..100 {
        story.get(stream, 1, &token());
    }
    let mut released = outcomes(&story.answer(call, 2, Some(CheckVerdict::Revoked)).streams);
    assert_eq!(released.len(), RELEASED_AT_ONCE);
    // A stream that goes while it is held back is not released.
    story.gate.forget(50);
    while story.gate.holds_back() {
        let portion = outcomes(&story.gate.release_more());
        assert!((1..=RELEASED_AT_ONCE).contains(&portion.len()));
        released.extend(portion);
    }
    let expected: Vec<_> = (0..100).filter(|stream| *stream != 50).map(|stream| (stream, "token_revoked")).collect();
    assert_eq!(released, expected);
    assert_eq!(story.gate.waiting(), 0);
}

#[test]
fn a_token_that_is_refused_after_its_signature_was_checked_is_remembered_too() {
    let mut story = Story::new(json!({}));
    for user in [" alice ", "\u{a0}alice", "alice "] {
        let token = token_with(json!({ "sub": user }));
        story.signatures = 0;
        for _ in 0..3 {
            assert_eq!(denial(&story.get(1, 0, &token)), Denial::Invalid, "{user}");
        }
        assert_eq!(story.signatures, 1, "{user}");
    }
}

#[test]
fn a_stream_whose_headers_could_not_be_changed_takes_its_question_back() {
    let mut story = Story::new(json!({"on_unavailable": "allow"}));
    let unsent = question(story.get(1, 0, &token()));
    story.gate.withdraw(1, Some(unsent.id), at(0));
    assert_eq!(story.counted(Metric::UnavailableDenied), 1);
    assert_eq!((story.gate.waiting(), story.gate.take_notices()), (0, vec![]));
    assert!(matches!(story.get(2, 1, &token()), Step::Wait { question: Some(_), .. }), "no stream waits for it");
}

#[test]
fn tokens_that_name_no_user_are_counted_and_told_of_once() {
    let mut story = Story::new(json!({"user_claim": "user_id"}));
    let nobodys = |jti: &str| token_with(json!({ "jti": jti }));
    for jti in ["1", "1", "2"] {
        story.get(1, 0, &nobodys(jti));
    }
    story.get(2, 0, &token_with(json!({"user_id": 7})));
    assert_eq!(story.counted(Metric::WithoutUser), 2, "tokens, not requests");
    assert_eq!(story.gate.take_notices(), [Notice::WithoutUser]);
    let hour = 3_600_000;
    let later = |jti: &str| token_with(json!({"jti": jti, "exp": NOW + 7200}));
    story.get(3, hour - 1, &later("3"));
    assert_eq!(story.gate.take_notices(), []);
    story.get(4, hour, &later("4"));
    assert_eq!(story.gate.take_notices(), [Notice::WithoutUser]);
}

#[test]
fn refresh_tokens_and_tokens_without_a_user_are_refused_where_the_issuer_says_so() {
    let issuer = json!({"secret": SECRET, "required_claims": {"token_type": "access"}, "require_user": true});
    let mut story = Story::new(json!({"issuers": [issuer], "user_claim": "user_id"}));
    let details = [
        (json!({"token_type": "access", "user_id": 7}), None),
        (json!({"user_id": 7}), Some("The token lacks a claim that is required here, or has another value in it.")),
        (
            json!({"token_type": "refresh", "user_id": 7}),
            Some("The token lacks a claim that is required here, or has another value in it."),
        ),
        (json!({"token_type": "access"}), Some("The token names no user.")),
    ];
    for (claims, expected) in details {
        match (story.get(1, 0, &token_with(claims.clone())), expected) {
            (Step::Wait { .. }, None) => {}
            (Step::Refuse(refusal), Some(detail)) => {
                assert_eq!((refusal.denial, refusal.detail.as_str()), (Denial::Invalid, detail), "{claims}");
            }
            (step, _) => panic!("{claims}: {step:?}"),
        }
    }
}

#[test]
fn trailers_that_pass_for_headers_are_unwelcome() {
    let story = Story::new(json!({}));
    let sent: [(&[u8], &[u8]); 6] = [
        (b"x_user_id", b"1"),
        (b"authorization", b"Bearer a.b.c"),
        (b"cookie", b"access_token=a.b.c"),
        (b"x-original-url", b"/admin"),
        (b"grpc-status", b"0"),
        (b"x-checksum", b"1"),
    ];
    let expected: [&[u8]; 4] = [b"x_user_id", b"authorization", b"cookie", b"x-original-url"];
    assert_eq!(story.gate.unwelcome_trailers(&Request::new(&sent)), expected);
}

#[test]
fn each_waiting_stream_is_released_exactly_once_whatever_happens() {
    let mut story = Story::new(json!({"max_staleness": "100ms"}));
    let step = story.get(1, 0, &token());
    let first = story.sent(step);
    for stream in 2..=5 {
        let step = story.get(stream, 50, &token());
        assert!(matches!(step, Step::Wait { question: None, .. }), "{step:?}");
    }
    story.gate.forget(4);
    let released = story.answer(first, 300, Some(CheckVerdict::Active));
    assert_eq!(outcomes(&released.streams), [(1, "resumed")]);
    // For the requests that came after the question, the answer is older than max_staleness: they need another
    // question.
    let question = released.question.unwrap();
    story.gate.sent(question.id, 99);
    assert_eq!(outcomes(&story.answer(first, 310, Some(CheckVerdict::Active)).streams), []);
    let released = story.answer(99, 320, Some(CheckVerdict::Revoked));
    assert_eq!(outcomes(&released.streams), [(2, "token_revoked"), (3, "token_revoked"), (5, "token_revoked")]);
    assert_eq!(outcomes(&story.answer(99, 330, None).streams), []);
}
