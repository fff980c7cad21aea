//! Requests through the gate, told as stories: what arrives, what the control plane answers, how each request ends.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::time::Duration;

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use curfew_core::wire::CheckVerdict;
use curfew_core::{Denial, verify_natively};
use curfew_filter::config::Config;
use curfew_filter::gate::{Decision, Gate, Question, RELEASED_AT_ONCE, Released, Step};
use curfew_filter::knowledge::Answer;
use curfew_filter::metrics::Metric;
use curfew_filter::now::Now;
use curfew_filter::outage::{Failure, Notice, Wanted};
use curfew_filter::permit::{Edits, Mark, Permit, Reason};
use curfew_filter::request::Request;
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: i64 = 1_700_000_000;

struct Story {
    gate: Gate,
    signatures: usize,
    calls: u32,
}

impl Story {
    fn new(changes: Value) -> Self {
        let mut document = json!({
            "issuers": [{"secret": SECRET}],
            "sources": [{"header": "authorization"}, {"cookie": "access_token"}],
            "rules": [{"prefix": "/public", "action": "skip"}, {"path": "/news", "action": "optional"}],
            "identity_headers": {"x-user-id": "sub", "x-role": "role"},
            "control_plane": {"cluster": "curfew", "secret": "0123456789abcdef"},
            "consistency": "bounded",
        });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        let config = Config::parse(document.to_string().as_bytes()).unwrap();
        Self { gate: Gate::new(config, [1, 2]), signatures: 0, calls: 0 }
    }

    fn arrive(&mut self, stream: u32, milliseconds: u64, headers: &[(&str, &str)]) -> Step {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let signatures = &mut self.signatures;
        self.gate.arrive(stream, &Request::new(&headers), at(milliseconds), |check| {
            *signatures += 1;
            verify_natively(check)
        })
    }

    /// A GET of a protected path with this token.
    fn get(&mut self, stream: u32, milliseconds: u64, token: &str) -> Step {
        let authorization = format!("Bearer {token}");
        let headers = [(":method", "GET"), (":path", "/orders"), ("authorization", &authorization)];
        self.arrive(stream, milliseconds, &headers)
    }

    /// Sends the question of a request that has to wait, as the returned callout.
    fn sent(&mut self, step: Step) -> u32 {
        let question = question(step);
        self.calls += 1;
        self.gate.sent(question.id, self.calls);
        self.calls
    }

    fn answer(&mut self, call: u32, milliseconds: u64, verdict: Option<CheckVerdict>) -> Released {
        let answer = verdict.map(|verdict| Answer { verdict, read_at: None });
        self.gate.answered(call, answer.ok_or(Failure::Status(504)), at(milliseconds))
    }

    fn counted(&mut self, metric: Metric) -> usize {
        self.gate.take_counted().filter(|counted| *counted == metric).count()
    }
}

fn at(milliseconds: u64) -> Now {
    let seconds = i64::try_from(milliseconds / 1000).unwrap();
    Now { monotonic: Duration::from_millis(milliseconds), unix: NOW + seconds }
}

fn question(step: Step) -> Question {
    match step {
        Step::Wait { question: Some(question), .. } => question,
        other => panic!("expected a question, not {other:?}"),
    }
}

fn token_with(changes: Value) -> String {
    let mut claims = json!({"sub": 42, "role": "buyer", "iat": NOW, "exp": NOW + 600});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let encode = |text: &str| Base64UrlSafeNoPadding::encode_to_string(text).unwrap();
    let signing_input = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(&claims.to_string()));
    let mac = hmac_sha256::HMAC::mac(&signing_input, SECRET);
    format!("{signing_input}.{}", Base64UrlSafeNoPadding::encode_to_string(mac).unwrap())
}

fn token() -> String {
    token_with(json!({}))
}

fn identity() -> Edits {
    let set = [("x-role", "buyer"), ("x-user-id", "42")];
    Edits { remove: vec![], set: set.map(|(name, value)| (name.into(), value.into())).to_vec(), ..Edits::default() }
}

fn denial(step: &Step) -> Denial {
    match step {
        Step::Refuse(refusal) => refusal.denial,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

fn outcome(decision: &Decision) -> &'static str {
    match decision {
        Ok(_) => "resumed",
        Err(refusal) => refusal.denial.code(),
    }
}

fn outcomes(streams: &[(u32, Decision)]) -> Vec<(u32, &'static str)> {
    streams.iter().map(|(stream, release)| (*stream, outcome(release))).collect()
}

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
fn only_the_user_claim_decides_about_admission() {
    let mut story = Story::new(json!({}));
    let long = "x".repeat(1025);
    for role in [json!(""), json!(null), json!(" admin "), json!("a\r\nx-role: admin"), json!(long), json!(["admin"])] {
        let claims = json!({ "role": role });
        let forged = [(":path", "/orders"), ("x-role", "admin"), ("authorization", &token_with(claims))];
        let Step::Wait { edits, .. } = story.arrive(1, 0, &forged) else { panic!("{role} refused") };
        let set = vec![("x-user-id".into(), "42".into())];
        assert_eq!(edits, Edits { remove: vec![b"x-role".to_vec()], set, ..Edits::default() }, "{role}");
    }
}

#[test]
fn nested_claims_lists_and_the_whole_payload_become_headers() {
    let mut story = Story::new(json!({"identity_headers": {
        "x-user-id": "sub", "x-roles": {"claim": "realm_access.roles", "list": "comma"},
        "x-groups": {"claim": ["https://example.com/app", "groups"]}, "x-payload": {"payload": "base64url"},
    }}));
    let token = token_with(json!({
        "realm_access": {"roles": ["a", "b"]}, "https://example.com/app": {"groups": ["c", "d\r\ne"]},
    }));
    let Step::Wait { edits, .. } = story.get(1, 0, &token) else { panic!("refused") };
    let expected = [
        ("x-groups", r#"["c","d\r\ne"]"#),
        ("x-payload", token.split('.').nth(1).unwrap()),
        ("x-roles", "a,b"),
        ("x-user-id", "42"),
    ];
    let mut set = edits.set.clone();
    set.sort();
    assert_eq!(set, expected.map(|(name, value)| (name.into(), value.into())));
}

#[test]
fn the_upstream_does_not_see_the_token_where_it_is_not_forwarded() {
    let places = json!([{"header": "authorization", "prefix": "JWT"}, {"query": "token"}, {"cookie": "access_token"}]);
    let mut story = Story::new(json!({"forward": false, "other_schemes": "ignore", "sources": places}));
    let (path, cookie) = (format!("/orders?token={}&a=1", token()), format!("access_token={}; b=2", token()));
    let headers = [(":path", path.as_str()), ("cookie", &cookie), ("authorization", "Basic dTpw")];
    let step = story.arrive(1, 0, &headers);
    let Step::Wait { edits, .. } = &step else { panic!("{step:?}") };
    assert_eq!(edits.replace, [("cookie", b"b=2".to_vec()), (":path", b"/orders?a=1".to_vec())]);
    assert_eq!(edits.remove, Vec::<Vec<u8>>::new(), "the other scheme is not ours");
    let call = story.sent(step);
    story.answer(call, 1, Some(CheckVerdict::Active));
    let authorization = format!("JWT {}", token());
    let Step::Admit(permit) = story.arrive(2, 2, &[(":path", "/orders"), ("authorization", &authorization)]) else {
        panic!("not admitted")
    };
    assert_eq!(permit.edits.remove, [b"authorization".to_vec()]);
    // What a rule skips is not looked at.
    let Step::Admit(permit) = story.arrive(3, 3, &[(":path", "/public/?token=x")]) else { panic!("not admitted") };
    assert_eq!(permit.edits, Edits::default());
}

#[test]
fn a_refusal_says_where_the_token_was_looked_for() {
    let mut story = Story::new(json!({}));
    let detail = |step: Step| match step {
        Step::Refuse(refusal) => refusal.detail,
        step => panic!("{step:?}"),
    };
    let missing = story.arrive(1, 0, &[(":path", "/orders")]);
    assert_eq!(detail(missing), "No token was sent: looked in the header authorization, the cookie access_token.");
    let twice = story.arrive(1, 0, &[(":path", "/orders"), ("cookie", "access_token=a.b.c; access_token=d.e.f")]);
    assert!(detail(twice).starts_with("The request has the cookie access_token more than once"));
    let other = story.arrive(1, 0, &[(":path", "/orders"), ("authorization", "Basic dTpw")]);
    assert_eq!(detail(other), "In the header authorization, there is something else than one token.");
}

#[test]
fn a_good_token_that_lacks_a_claim_is_forbidden_and_a_revoked_one_is_not_told_so() {
    let rules = json!([
        {"prefix": "/orders", "action": "require", "claims": {"scope": {"contains": "orders.write"}}},
        {"prefix": "/trial", "action": "require", "claims": {"scope": {"contains": "trial"}}, "report_only": true},
    ]);
    let mut story = Story::new(json!({ "rules": rules }));
    let (with, without) =
        (token_with(json!({"scope": "a orders.write"})), token_with(json!({"scope": "orders.writer"})));
    let step = story.get(1, 0, &without);
    let call = story.sent(step);
    assert_eq!(outcomes(&story.answer(call, 1, Some(CheckVerdict::Active)).streams), [(1, "insufficient_scope")]);
    assert_eq!(denial(&story.get(2, 2, &without)), Denial::InsufficientScope, "from memory");
    assert_eq!(story.counted(Metric::InsufficientScope), 2);
    let step = story.get(3, 3, &with);
    let call = story.sent(step);
    assert_eq!(outcomes(&story.answer(call, 4, Some(CheckVerdict::Active)).streams), [(3, "resumed")]);
    // The same token, where nothing is asked of it, and where a rule only reports.
    let authorization = format!("Bearer {without}");
    let mut on = |path: &str| story.arrive(4, 5, &[(":path", path), ("authorization", &authorization)]);
    assert!(matches!(on("/other"), Step::Admit(Permit { reason: Reason::Active, .. })));
    let reported = Reason::ReportOnly(Denial::InsufficientScope);
    assert!(matches!(on("/trial"), Step::Admit(Permit { reason, .. }) if reason == reported));
    let missing = story.arrive(4, 5, &[(":path", "/trial")]);
    assert!(matches!(missing, Step::Admit(Permit { reason: Reason::ReportOnly(Denial::Missing), .. })));
    // What is asked about is refused as revoked, whatever it lacks.
    let step = story.get(5, 6, &token_with(json!({"jti": "other"})));
    let call = story.sent(step);
    assert_eq!(outcomes(&story.answer(call, 7, Some(CheckVerdict::Revoked)).streams), [(5, "token_revoked")]);
}

#[test]
fn a_request_that_waits_keeps_the_manner_of_its_rule() {
    let rules = json!([{"prefix": "/trial", "action": "require", "report_only": true}]);
    let mut story = Story::new(json!({"rules": rules, "on_unavailable": "allow"}));
    let authorization = format!("Bearer {}", token());
    let step = story.arrive(1, 0, &[(":path", "/trial"), ("authorization", &authorization)]);
    let call = story.sent(step);
    story.get(2, 1, &token());
    let released = story.answer(call, 2, Some(CheckVerdict::Revoked));
    assert_eq!(outcomes(&released.streams), [(1, "resumed"), (2, "token_revoked")]);
    let lacking = json!([{"prefix": "/", "action": "require", "claims": {"paid": true}}]);
    let mut story = Story::new(json!({"rules": lacking, "on_unavailable": "allow"}));
    let step = story.get(1, 0, &token());
    let call = story.sent(step);
    assert_eq!(
        outcomes(&story.answer(call, 1, None).streams),
        [(1, "insufficient_scope")],
        "it is known without an answer"
    );
}

#[test]
fn decisions_are_marked_for_access_logs_where_that_is_configured() {
    let mut story = Story::new(json!({"filter_state": true}));
    let step = story.get(1, 0, &token());
    let Step::Wait { edits, .. } = &step else { panic!("{step:?}") };
    let name = edits.token.clone().unwrap();
    assert!(name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    let call = story.sent(step);
    let released = story.answer(call, 1, Some(CheckVerdict::Revoked));
    let [(1, Err(refusal))] = &released.streams[..] else { panic!("{released:?}") };
    let revoked = Some(Mark { decision: "refused", reason: "token_revoked" });
    assert_eq!(
        (refusal.mark, refusal.token.as_deref()),
        (revoked, None),
        "the token was named when the stream began to wait"
    );
    let Step::Refuse(refusal) = story.get(2, 2, &token()) else { panic!("admitted") };
    assert_eq!((refusal.mark, refusal.token), (revoked, Some(name)));
    let Step::Admit(permit) = story.arrive(3, 3, &[(":path", "/public/x")]) else { panic!("refused") };
    assert_eq!((permit.mark, permit.edits.token), (Some(Mark { decision: "admitted", reason: "skipped" }), None));
    let mut silent = Story::new(json!({}));
    let Step::Refuse(refusal) = silent.arrive(1, 0, &[(":path", "/x")]) else { panic!("admitted") };
    assert_eq!((refusal.mark, refusal.token), (None, None));
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
