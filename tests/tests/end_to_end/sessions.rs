//! Logouts of a session and of all other sessions, through a real Envoy.

use std::thread;
use std::time::Duration;

use curfew_testbed::http::Request;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims, with};
use serde_json::{Value, json};

use crate::shared::told;

/// Enough requests on connections of their own to meet both workers, most of the time.
const SOME: usize = 8;

struct Scene {
    stack: Stack,
    signer: Signer,
    /// How long an answer may be remembered; nothing in strict mode.
    staleness: Duration,
}

impl Scene {
    fn start(plan: Plan, staleness: Duration) -> Self {
        let stack = plan.start().unwrap();
        let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
        Self { stack, signer, staleness }
    }

    /// A token that was issued some seconds ago, or now.
    fn token(&self, age: i64, changes: Value) -> String {
        let claims = claims("alice");
        let issued_at = claims["iat"].as_i64().unwrap() - age;
        self.signer.sign(&with(with(claims, json!({ "iat": issued_at })), changes)).unwrap()
    }

    fn log_out(&self, token: &str, query: &str) -> String {
        let answer = self.stack.send(&Request::post(&format!("/api/v2/logout{query}")).bearer(token)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        thread::sleep(self.staleness);
        answer.json()["scope"].as_str().unwrap_or_default().to_owned()
    }

    fn are(&self, expected: (u16, &str), tokens: &[&String]) {
        for (number, token) in tokens.iter().enumerate() {
            for _ in 0..SOME {
                let answer = self.stack.send(&Request::get("/orders").bearer(token)).unwrap();
                assert_eq!(told(&answer), (expected.0, expected.1.to_owned()), "token {number}");
            }
        }
    }
}

const ADMITTED: (u16, &str) = (200, "");
const REVOKED: (u16, &str) = (401, "token_revoked");

fn everything_but_the_callers_session_ends(scene: &Scene) {
    let of = |session: &str| scene.token(5, json!({ "sid": session }));
    let [phone, refreshed, laptop, plain] = [of("phone"), of("phone"), of("laptop"), scene.token(5, json!({}))];
    scene.are(ADMITTED, &[&phone, &refreshed, &laptop, &plain]);
    assert_eq!(scene.log_out(&phone, "?scope=others"), "others");
    scene.are(REVOKED, &[&laptop, &plain]);
    scene.are(ADMITTED, &[&phone, &refreshed]);
    // A session that begins later logs out the one that was spared.
    thread::sleep(Duration::from_millis(1_100));
    let [tablet, renewed] = [0, 0].map(|age| scene.token(age, json!({"sid": "tablet"})));
    assert_eq!(scene.log_out(&tablet, "?scope=others"), "others");
    scene.are(REVOKED, &[&phone, &refreshed, &laptop]);
    scene.are(ADMITTED, &[&tablet, &renewed]);
    assert_eq!(scene.log_out(&renewed, "?scope=session"), "session");
    scene.are(REVOKED, &[&tablet, &renewed, &scene.token(0, json!({"sid": "tablet"}))]);
}

#[test]
fn everything_but_the_callers_session_ends_by_the_copies_of_the_workers() {
    everything_but_the_callers_session_ends(&Scene::start(Plan::shipped().unwrap(), Duration::ZERO));
}

#[test]
fn everything_but_the_callers_session_ends_by_the_answers_of_the_control_plane() {
    let plan = Plan::shipped().unwrap().bounded("1s").unwrap();
    everything_but_the_callers_session_ends(&Scene::start(plan, Duration::from_millis(1_200)));
}

#[test]
fn an_issuers_sessions_may_have_a_claim_of_their_own_and_be_the_default() {
    let claim = "realm.session";
    let mut plan = Plan::shipped().unwrap();
    plan.settings.set("CURFEW_SESSION_CLAIM", claim);
    plan.settings.set("CURFEW_LOGOUT_SCOPE", "session");
    let plan = plan.change_filter(|filter| filter["issuers"][0]["session_claim"] = json!(claim)).unwrap();
    let scene = Scene::start(plan, Duration::ZERO);
    let of = |session: &str| scene.token(5, json!({"realm": {"session": session}, "sid": "the same"}));
    let [phone, refreshed, laptop] = [of("phone"), of("phone"), of("laptop")];
    scene.are(ADMITTED, &[&phone, &refreshed, &laptop]);
    assert_eq!(scene.log_out(&phone, ""), "session");
    scene.are(REVOKED, &[&phone, &refreshed]);
    scene.are(ADMITTED, &[&laptop]);
    assert_eq!(scene.log_out(&laptop, "?scope=token"), "");
    scene.are(ADMITTED, &[&of("laptop")]);
}
