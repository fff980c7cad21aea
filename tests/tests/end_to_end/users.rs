//! How users are named: a claim inside another one, and names that look alike.

use curfew_testbed::http::{Answer, Request};
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims, with};
use curfew_testbed::upstream::echoed_header;
use serde_json::{Value, json};

use crate::shared::told;

struct Scene {
    stack: Stack,
    signer: Signer,
}

impl Scene {
    /// Both sides read the user from this claim.
    fn start(user_claim: &str) -> Self {
        let mut plan = Plan::shipped().unwrap();
        plan.settings.set("CURFEW_USER_CLAIM", user_claim);
        let plan = plan.change_filter(|filter| {
            filter["user_claim"] = json!(user_claim);
            filter["identity_headers"] = json!({ "x-user-id": user_claim });
        });
        let stack = plan.unwrap().start().unwrap();
        let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
        Self { stack, signer }
    }

    /// A registered token.
    fn log_in(&self, changes: Value) -> String {
        let token = self.signer.sign(&with(claims("a-subject"), changes)).unwrap();
        let answer = self.stack.control_plane.register(&[&token]).unwrap();
        assert_eq!(answer.json()["registered"], 1, "{}", answer.text());
        token
    }

    fn get(&self, token: &str) -> Answer {
        self.stack.send(&Request::get("/orders").bearer(token)).unwrap()
    }

    /// The user that the upstream is told of.
    fn user(&self, token: &str) -> Option<String> {
        let answer = self.get(token);
        assert_eq!(answer.status, 200, "{}", answer.text());
        echoed_header(&answer.json(), "x-user-id")
    }

    /// An application logs out all tokens of a user.
    fn lgt_all(&self, user: Value) -> String {
        let setting = |name: &str| self.stack.settings.required(name).unwrap().to_owned();
        let body = json!({"user_id": user, "app_id": setting("APP_ID"), "app_key": setting("APP_KEY")});
        let answer = Request::post("/api/v2/lgt-all").json(&body).send(self.stack.control_plane.internal()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }
}

fn answered(tokens: u32, known: bool) -> String {
    format!(r#"{{"message":"Successfully Logged Out From All Device.","tokens":{tokens},"known":{known}}}"#)
}

#[test]
fn a_user_named_by_a_claim_inside_another_one_is_told_to_the_upstream_and_logged_out() {
    let scene = Scene::start("user.id");
    let of = |user: Value| json!({"user": {"id": user, "mail": "x@example.com"}});
    let [phone, laptop] = [scene.log_in(of(json!("alice"))), scene.log_in(of(json!("alice")))];
    let [number, other] = [scene.log_in(of(json!(42))), scene.log_in(of(json!("bob")))];
    // A claim of that very name comes first.
    let named = scene.log_in(json!({"user.id": "carol", "user": {"id": "alice"}}));
    assert_eq!(scene.user(&phone).as_deref(), Some("alice"));
    assert_eq!(scene.user(&number).as_deref(), Some("42"));
    assert_eq!(scene.user(&named).as_deref(), Some("carol"));

    let all = scene.stack.send(&Request::post("/api/v2/logout-all-device").bearer(&phone)).unwrap();
    assert_eq!(all.status, 200, "{}", all.text());
    for token in [&phone, &laptop] {
        assert_eq!(told(&scene.get(token)), (401, "token_revoked".into()));
    }
    for (token, user) in [(&number, "42"), (&other, "bob"), (&named, "carol")] {
        assert_eq!(scene.user(token).as_deref(), Some(user));
    }
    let [tablet, _] = [scene.log_in(of(json!("bob"))), scene.log_in(of(json!("bob")))];
    assert_eq!(scene.lgt_all(json!("bob")), answered(3, true));
    assert_eq!(scene.lgt_all(json!(42)), answered(1, true));
    for token in [&other, &tablet, &number] {
        assert_eq!(told(&scene.get(token)), (401, "token_revoked".into()));
    }
    assert_eq!(scene.user(&named).as_deref(), Some("carol"));
}

/// The case of a user's name counts, and the answer tells that nobody was logged out.
#[test]
fn a_logout_by_a_name_in_another_case_says_that_it_hit_nothing() {
    let scene = Scene::start("sub");
    let token = scene.log_in(json!({"sub": "a@b.c"}));
    assert_eq!(scene.lgt_all(json!("A@b.c")), answered(0, false));
    assert_eq!(scene.user(&token).as_deref(), Some("a@b.c"), "it is another user");
    assert_eq!(scene.lgt_all(json!("a@b.c")), answered(1, true));
    assert_eq!(told(&scene.get(&token)), (401, "token_revoked".into()));
    assert_eq!(scene.lgt_all(json!("a@b.c")), answered(0, true), "and a second time there is nothing left");
}

/// A claim that no token has is found out by the registrations, not by the first logout that hits nobody.
#[test]
fn a_user_claim_that_no_token_has_is_told_by_lgt_all_and_the_metrics() {
    let scene = Scene::start("user.id");
    let token = scene.log_in(json!({"sub": "alice"}));
    assert_eq!(scene.lgt_all(json!("alice")), answered(0, false));
    assert_eq!(scene.user(&token), None, "the upstream is told of nobody");
    let page = scene.stack.control_plane.ask(Request::get("/metrics")).unwrap().text();
    let counted = |name: &str| page.lines().any(|line| line.starts_with(name) && !line.ends_with(" 0"));
    assert!(counted("curfew_tokens_without_user"), "{page}");
}
