//! Where tokens are, what rules ask of them, and what the upstream and the access log are told.

use curfew_core::Denial;
use curfew_core::wire::CheckVerdict;
use curfew_filter::gate::Step;
use curfew_filter::metrics::Metric;
use curfew_filter::permit::{Edits, Mark, Permit, Reason};
use serde_json::json;

use crate::story::{Story, denial, outcomes, token, token_with};

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
fn a_header_of_the_user_refuses_what_it_cannot_carry_in_every_form() {
    let forms =
        [json!("sub"), json!({"claim": "sub"}), json!({"claim": ["sub"]}), json!({"claim": "sub", "list": "comma"})];
    for form in forms {
        let mut story = Story::new(json!({"identity_headers": {"x-user-id": form}}));
        let step = story.get(1, 0, &token_with(json!({"sub": " alice"})));
        assert!(matches!(step, Step::Refuse(_)), "{form}: {step:?}");
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
