//! The rehearsal: what it answers, and that it asks and answers as a worker and its control plane do.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

use std::cell::RefCell;

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use curfew_core::wire::{CheckAnswer, CheckRequest, CheckVerdict, FeedRevocation, IssuerKeys, KeysAnswer, KeysRequest};
use curfew_core::{Denial, Epoch, Kind, REVOKED_IN_SAME_SECOND};
use curfew_filter::permit::{Mark, Permit, Reason};
use curfew_filter::rehearsal::{Answers, Known, Rehearsal, Rehearsed};
use curfew_filter::request::Request;
use curfew_filter::rules::{Ambiguity, Applied};
use curfew_filter::sources::Head;
use serde_json::{Value, json};

const NOW: i64 = 1_700_000_000;
const ISSUER: &str = "https://issuer.example.com";
const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

fn encode(part: impl AsRef<[u8]>) -> String {
    Base64UrlSafeNoPadding::encode_to_string(part).unwrap()
}

fn token(changes: &Value) -> String {
    let mut claims = json!({"iss": ISSUER, "sub": "alice", "iat": NOW - 10, "exp": NOW + 600});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let input = format!("{}.{}", encode(r#"{"alg":"HS256","kid":"k"}"#), encode(claims.to_string()));
    format!("{input}.{}", encode(hmac_sha256::HMAC::mac(&input, SECRET)))
}

fn jwks() -> Value {
    json!({"keys": [{"kty": "oct", "alg": "HS256", "kid": "k", "k": encode(SECRET)}]})
}

/// A configuration with an inline key; `changes` replace its members.
fn configuration(changes: &Value) -> String {
    let mut document = json!({
        "issuers": [{"issuer": ISSUER, "jwks": jwks()}],
        "identity_headers": {"x-user-id": "sub"},
        "control_plane": {"cluster": "curfew", "secret_env": "SOME_VARIABLE"},
        "rules": [
            {"prefix": "/public", "action": "skip"},
            {"path": "/orders", "action": "require", "claims": {"scope": {"contains": "orders.write"}}},
            {"prefix": "/trial", "action": "require", "claims": {"trial": true}, "report_only": true},
        ],
    });
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    document.to_string()
}

/// A control plane: what is revoked, and which keys it hands out.
#[derive(Default)]
struct Plane {
    revoked: Vec<(Kind, i64)>,
    verdict: Option<CheckVerdict>,
    keys: Option<Value>,
    silent: bool,
    calls: RefCell<Vec<&'static str>>,
}

impl Answers for Plane {
    fn keys(&mut self, request: &KeysRequest) -> Option<KeysAnswer> {
        self.calls.borrow_mut().push(if request.refresh.is_some() { "refresh" } else { "keys" });
        let sets = vec![IssuerKeys { issuer: ISSUER.to_owned(), jwks: self.keys.clone() }];
        Some(KeysAnswer { epoch: Epoch::from_bytes([1; 16]), keys_seq: 5, sets })
    }

    fn grants_leases(&mut self) -> bool {
        true
    }

    fn check(&mut self, request: &CheckRequest) -> Option<Known> {
        self.calls.borrow_mut().push("check");
        let verdict = self.verdict.unwrap_or(CheckVerdict::Active);
        let epoch = Epoch::from_bytes([1; 16]).to_string();
        let same_second =
            verdict == CheckVerdict::Revoked && self.revoked.iter().all(|(kind, _)| *kind == Kind::Subject);
        let answer = CheckAnswer { epoch, seq: 7, keys_seq: 5, verdict, same_second };
        let revocations = self.revoked.iter().map(|(kind, cutoff)| {
            let key = if *kind == Kind::Subject { request.subject.unwrap() } else { request.token };
            FeedRevocation { kind: *kind, key, cutoff: *cutoff, expires_at: NOW + 900 }
        });
        (!self.silent).then(|| Known { answer, revocations: revocations.collect() })
    }
}

fn head(path: &str) -> Head {
    [(":method", "GET"), (":path", path), (":authority", "shop.example")]
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .into()
}

fn play(configuration: &str, mut head: Head, token: Option<&str>, plane: &mut Plane) -> Rehearsed {
    let rehearsal = Rehearsal::read(configuration.as_bytes()).ok().unwrap();
    token.map(|token| rehearsal.put(token.as_bytes(), None, &mut head).unwrap());
    let pairs: Vec<_> = head.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
    rehearsal.play(&Request::new(&pairs), NOW, plane)
}

fn admitted(rehearsed: Rehearsed) -> Permit {
    rehearsed.decision.unwrap()
}

fn refused(rehearsed: &Rehearsed) -> (Denial, &str) {
    let refusal = rehearsed.decision.as_ref().unwrap_err();
    (refusal.denial, &refusal.detail)
}

#[test]
fn an_admitted_request_shows_what_the_upstream_is_told() {
    for mode in [json!({}), json!({"consistency": "bounded"}), json!({"consistency": "bounded", "max_staleness": "0s"})]
    {
        let mut head = head("/items");
        head.push(("x-user-id".into(), b"root".to_vec()));
        let rehearsed = play(&configuration(&mode), head, Some(&token(&json!({}))), &mut Plane::default());
        assert_eq!(rehearsed.applied.rules, [0; 0]);
        let permit = admitted(rehearsed);
        assert_eq!(permit.reason, Reason::Active, "{mode}");
        let set: Vec<_> = permit.edits.set.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!((set, permit.edits.remove), (vec![("x-user-id", "alice")], vec![b"x-user-id".to_vec()]), "{mode}");
    }
}

#[test]
fn a_revoked_token_is_refused_in_both_modes() {
    for mode in [json!({}), json!({"consistency": "bounded"})] {
        let verdict = Some(CheckVerdict::Revoked);
        let mut plane = Plane { revoked: vec![(Kind::Token, 0)], verdict, ..Plane::default() };
        let rehearsed = play(&configuration(&mode), head("/items"), Some(&token(&json!({}))), &mut plane);
        assert_eq!(refused(&rehearsed), (Denial::Revoked, "The token was logged out."), "{mode}");
    }
}

#[test]
fn a_login_in_the_second_of_the_logout_is_told_so_in_both_modes() {
    let verdict = Some(CheckVerdict::Revoked);
    let revoked = || vec![(Kind::Subject, NOW - 10)];
    for mode in [json!({}), json!({"consistency": "bounded"})] {
        let mut plane = Plane { revoked: revoked(), verdict, ..Plane::default() };
        let rehearsed = play(&configuration(&mode), head("/items"), Some(&token(&json!({}))), &mut plane);
        assert_eq!(refused(&rehearsed), (Denial::Revoked, REVOKED_IN_SAME_SECOND), "{mode}");
    }
    // A token that was registered afterwards.
    let mut plane = Plane { revoked: revoked(), ..Plane::default() };
    assert!(play(&configuration(&json!({})), head("/items"), Some(&token(&json!({}))), &mut plane).decision.is_ok());
}

#[test]
fn the_rule_that_decides_is_named() {
    let (text, plane) = (configuration(&json!({"cors_preflight": true})), &mut Plane::default());
    let skipped = play(&text, head("/public/a"), None, plane);
    assert_eq!(skipped.applied.rules, [0]);
    assert_eq!(admitted(skipped).reason, Reason::Skipped);
    let lacks = play(&text, head("/orders"), Some(&token(&json!({"scope": "orders.read"}))), plane);
    assert_eq!((refused(&lacks).0, lacks.applied.rules.as_slice()), (Denial::InsufficientScope, [1].as_slice()));
    let has = play(&text, head("/ORDERS/"), Some(&token(&json!({"scope": "orders.write"}))), plane);
    assert_eq!((has.applied.rules.as_slice(), has.applied.ambiguity), ([1].as_slice(), None));
    assert_eq!(admitted(has).reason, Reason::Active);
    let missing = play(&text, head("/items"), None, plane);
    let detail = "No token was sent: looked in the header authorization.";
    assert_eq!((refused(&missing), missing.applied.rules.as_slice()), ((Denial::Missing, detail), [].as_slice()));
    let ambiguous = play(&text, head("/public/%2e%2e/orders"), None, plane);
    let applied = Applied { rules: vec![1, 2], ambiguity: Some(Ambiguity::Path), passed_over: vec![0] };
    assert_eq!((&ambiguous.applied, refused(&ambiguous).0), (&applied, Denial::Missing), "any rule's claims are asked");
    let skip_only = configuration(&json!({"rules": [{"prefix": "/public", "action": "skip"}]}));
    let mut redirected = head("/public/a");
    redirected.push(("x-original-url".to_owned(), b"/orders".to_vec()));
    let redirected = play(&skip_only, redirected, None, plane);
    let applied = Applied { rules: vec![], ambiguity: Some(Ambiguity::Redirect), passed_over: vec![0] };
    assert_eq!((&redirected.applied, refused(&redirected).0), (&applied, Denial::Missing));
    let mut preflight = head("/orders");
    preflight[0].1 = b"OPTIONS".to_vec();
    preflight.extend(
        [("origin", "https://a.example"), ("access-control-request-method", "GET")]
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())),
    );
    assert_eq!(admitted(play(&text, preflight, None, plane)).reason, Reason::Preflight);
}

#[test]
fn what_report_only_holds_back_is_told_with_its_reason() {
    let trial = play(&configuration(&json!({})), head("/trial/a"), Some(&token(&json!({}))), &mut Plane::default());
    let permit = trial.decision.as_ref().unwrap();
    assert_eq!(permit.reason, Reason::ReportOnly(Denial::InsufficientScope));
    assert_eq!(Mark::admitted(permit.reason).decision, "reported");
    let withheld = trial.withheld.unwrap();
    assert_eq!(
        (withheld.denial, withheld.details().as_str()),
        (Denial::InsufficientScope, "curfew_insufficient_scope")
    );
    let all = configuration(&json!({"report_only": true}));
    let missing = play(&all, head("/items"), None, &mut Plane::default());
    assert!(missing.decision.is_ok());
    assert_eq!(missing.withheld.unwrap().detail, "No token was sent: looked in the header authorization.");
}

#[test]
fn handed_out_keys_are_asked_for_and_a_filter_without_them_refuses() {
    let text = configuration(&json!({"issuers": [{"issuer": ISSUER}]}));
    let mut plane = Plane { keys: Some(jwks()), ..Plane::default() };
    let rehearsed = play(&text, head("/items"), Some(&token(&json!({}))), &mut plane);
    assert_eq!((rehearsed.decision.is_ok(), rehearsed.without_keys.len()), (true, 0));
    assert_eq!(*plane.calls.borrow(), ["keys", "check"]);
    let mut plane = Plane::default();
    let rehearsed = play(&text, head("/items"), Some(&token(&json!({}))), &mut plane);
    assert_eq!(refused(&rehearsed).0, Denial::Unavailable);
    assert_eq!(rehearsed.decision.unwrap_err().details(), "curfew_unavailable_without_keys");
    assert_eq!(rehearsed.without_keys, [ISSUER]);
}

#[test]
fn a_key_that_nobody_has_is_asked_for_once() {
    let text = configuration(&json!({"issuers": [{"issuer": ISSUER}]}));
    let mut plane = Plane { keys: Some(json!({"keys": []})), ..Plane::default() };
    let rehearsed = play(&text, head("/items"), Some(&token(&json!({}))), &mut plane);
    assert_eq!(refused(&rehearsed).0, Denial::Invalid);
    assert_eq!(*plane.calls.borrow(), ["keys", "refresh"]);
}

#[test]
fn without_an_answer_on_unavailable_decides() {
    let silent = || Plane { silent: true, ..Plane::default() };
    let token = token(&json!({}));
    let denied = play(&configuration(&json!({})), head("/items"), Some(&token), &mut silent());
    assert_eq!(refused(&denied).0, Denial::Unavailable);
    let allowing = configuration(&json!({"on_unavailable": "allow"}));
    let allowed = play(&allowing, head("/items"), Some(&token), &mut silent());
    assert_eq!(admitted(allowed).reason, Reason::UnavailableAllowed);
}

#[test]
fn the_token_is_taken_out_where_it_must_not_go_on() {
    let changes = json!({"sources": [{"query": "t"}, {"header": "authorization"}], "forward": false});
    let token = token(&json!({}));
    let permit = admitted(play(&configuration(&changes), head("/items?a=1"), Some(&token), &mut Plane::default()));
    assert_eq!(permit.edits.replace, [(":path", b"/items?a=1".to_vec())]);
}

#[test]
fn a_configuration_that_a_filter_refuses_is_refused_in_its_words() {
    let text = configuration(&json!({"rulez": []}));
    let mistakes = Rehearsal::read(text.as_bytes()).err().unwrap().to_string();
    assert!(mistakes.contains("rulez"), "{mistakes}");
    assert!(Rehearsal::read(b"no JSON").is_err());
}

#[test]
fn large_budgets_take_no_memory() {
    let large = json!({"cache_bytes": 256 << 20, "replica_bytes": 512 << 20});
    let text = configuration(&large);
    let rehearsal = Rehearsal::read(text.as_bytes()).ok().unwrap();
    assert!(rehearsal.config().cache_bytes <= 64 << 10);
}
