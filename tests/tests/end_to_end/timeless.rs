//! Tokens that do not say when they were issued, or when their user logged in: a logout of all devices ends them, and locks
//! nobody out.

use std::thread;
use std::time::Duration;

use curfew_core::REVOKED_WITHOUT_TIME;
use curfew_testbed::http::{Answer, Request};
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{ISSUER, Signer, claims, hs256_text, now, with};
use serde_json::{Value, json};

use crate::shared::told;

const SECRET: &str = "the secret of an issuer that tells no time, 0123456789";

/// The next login comes so long after the logout.
const LATER: Duration = Duration::from_secs(3);

struct Scene {
    stack: Stack,
    signer: Signer,
}

impl Scene {
    /// Both sides have an issuer with these settings, and the filter and the control plane compare this claim.
    fn start(settings: Value, issued_at_claim: &str) -> Self {
        let issuer = with(json!({"issuer": ISSUER, "secret": SECRET}), settings);
        let plan = Plan::shipped().unwrap().with_issuers(json!([issuer])).unwrap();
        let mut plan = plan.change_filter(|filter| filter["issued_at_claim"] = json!(issued_at_claim)).unwrap();
        plan.settings.set("CURFEW_ISSUED_AT_CLAIM", issued_at_claim);
        Self { stack: plan.start().unwrap(), signer: Signer::from_secret(SECRET) }
    }

    fn token(&self, changes: Value) -> String {
        self.signer.sign(&with(claims("alice"), changes)).unwrap()
    }

    /// As PyJWT writes it unless it is told to write `iat`.
    fn timeless(&self) -> String {
        self.token(json!({"iat": null}))
    }

    fn registered(&self, token: String) -> String {
        let answer = self.stack.control_plane.register(&[&token]).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        token
    }

    fn get(&self, token: &str) -> Answer {
        self.stack.send(&Request::get("/orders").bearer(token)).unwrap()
    }

    /// Asks often enough to meet both workers.
    fn is_admitted(&self, token: &str) {
        for _ in 0..6 {
            let answer = self.get(token);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }

    /// The detail of the refusals.
    fn is_revoked(&self, token: &str) -> String {
        let mut details = Vec::new();
        for _ in 0..6 {
            let answer = self.get(token);
            assert_eq!(told(&answer), (401, "token_revoked".into()));
            details.push(answer.json()["detail"].as_str().unwrap().to_owned());
        }
        details.dedup();
        assert_eq!(details.len(), 1, "{details:?}");
        details.remove(0)
    }

    fn log_out_all_devices(&self, token: &str) {
        let answer = self.stack.send(&Request::post("/api/v2/logout-all-device").bearer(token)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        thread::sleep(LATER);
    }

    /// Why neither side takes the token, with its code.
    fn refused(&self, token: &str) -> String {
        let logout = self.stack.send(&Request::post("/api/v2/logout").bearer(token)).unwrap();
        for answer in [&self.get(token), &logout] {
            assert_eq!(told(answer), (401, "token_invalid".into()), "{}", answer.text());
        }
        assert_eq!(self.get(token).json()["detail"], logout.json()["detail"]);
        logout.json()["detail"].as_str().unwrap().to_owned()
    }
}

#[test]
fn where_logins_are_registered_a_login_after_a_logout_of_all_devices_is_admitted() {
    let scene = Scene::start(json!({"require_issued_at": false}), "iat");
    let [phone, stranger] = [scene.registered(scene.timeless()), scene.timeless()];
    scene.is_admitted(&phone);
    scene.is_admitted(&stranger);
    scene.log_out_all_devices(&phone);
    scene.is_revoked(&phone);
    let login = scene.registered(scene.timeless());
    scene.is_admitted(&login);
    for unregistered in [stranger, scene.timeless()] {
        assert_eq!(scene.is_revoked(&unregistered), REVOKED_WITHOUT_TIME);
    }
    // A token that names no user is reached by no logout of all devices.
    scene.is_admitted(&scene.token(json!({"iat": null, "sub": null})));
    scene.log_out_all_devices(&login);
    scene.is_revoked(&login);
    scene.is_admitted(&scene.registered(scene.timeless()));
}

#[test]
fn where_the_lifetime_is_known_a_login_after_a_logout_of_all_devices_needs_no_registration() {
    let scene = Scene::start(json!({"token_lifetime": "1h"}), "iat");
    let old = scene.token(json!({"iat": null, "exp": now() + 3_590}));
    let before = scene.timeless();
    scene.is_admitted(&old);
    scene.is_admitted(&before);
    scene.log_out_all_devices(&before);
    scene.is_revoked(&old);
    scene.is_revoked(&before);
    scene.is_admitted(&scene.timeless());
    let longer = scene.token(json!({"iat": null, "exp": now() + 3_700}));
    assert_eq!(scene.refused(&longer), "The token lives longer than is accepted here.");
}

#[test]
fn where_neither_is_said_the_token_is_refused_from_the_start() {
    let scene = Scene::start(json!({}), "iat");
    let detail =
        "The token does not say when it was issued (iat), so no logout of all devices could tell it from later ones.";
    assert_eq!(scene.refused(&scene.timeless()), detail);
    let null = with(claims("alice"), json!({"iat": null})).to_string().replacen('{', r#"{"iat":null,"#, 1);
    assert_eq!(scene.refused(&hs256_text(SECRET, r#"{"alg":"HS256"}"#, &null)), detail);
    scene.is_admitted(&scene.token(json!({})));
}

/// A refresh has a new `iat` and the `auth_time` of its login, so the logout ends it too.
#[test]
fn a_logout_of_all_devices_ends_the_logins_of_before_where_auth_time_is_compared() {
    let scene = Scene::start(json!({}), "auth_time");
    let login = now() - 100;
    let first = scene.token(json!({"auth_time": login}));
    scene.is_admitted(&first);
    let none = scene.refused(&scene.token(json!({})));
    assert!(none.starts_with("The token does not say when it was issued (auth_time)"), "{none}");
    scene.log_out_all_devices(&first);
    scene.is_revoked(&first);
    scene.is_revoked(&scene.token(json!({"auth_time": login})));
    scene.is_admitted(&scene.token(json!({"auth_time": now()})));
    // The application's logout compares the same claim.
    let body = json!({"user_id": "alice", "app_id": "demo-app", "app_key": "demo-only-app-key-0123456789"});
    let again = scene.token(json!({"auth_time": now() - 1}));
    scene.is_admitted(&again);
    let logout = now();
    assert_eq!(scene.stack.control_plane.ask(Request::post("/api/v2/lgt-all").json(&body)).unwrap().status, 200);
    scene.is_revoked(&again);
    thread::sleep(LATER);
    scene.is_revoked(&scene.token(json!({"auth_time": logout})));
    scene.is_admitted(&scene.token(json!({"auth_time": now()})));
}

#[test]
fn a_token_without_auth_time_is_judged_by_its_registration_where_logins_are_registered() {
    let scene = Scene::start(json!({"require_issued_at": false}), "auth_time");
    let first = scene.registered(scene.token(json!({})));
    scene.is_admitted(&first);
    scene.log_out_all_devices(&first);
    scene.is_revoked(&first);
    scene.is_admitted(&scene.registered(scene.token(json!({}))));
    scene.is_revoked(&scene.token(json!({})));
}
