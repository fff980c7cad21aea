//! Whole applications with the files of the clients: Express with its cookie, and Django with Simple JWT.

use std::net::SocketAddr;

use curfew_testbed::clients::{Client, Settings};
use curfew_testbed::http::{Answer, Request};
use curfew_testbed::process::Process;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims, with};
use serde_json::{Value, json};

use super::installed;
use crate::outages::is_admitted_again;
use crate::shared::told;

/// An application that runs beside the stack that it logs out at.
struct Application {
    process: Process,
    address: SocketAddr,
    stack: Stack,
}

impl Application {
    fn start(client: Client, program: &str, plan: Plan) -> Self {
        let stack = plan.start().unwrap();
        let settings = Settings { timeout_ms: 5_000, ..Settings::of(&stack).unwrap() };
        let database = stack.directory().join("application.db");
        let secret = stack.settings.required("JWT_SECRET").unwrap();
        let more = [
            ("JWT_SECRET", secret),
            ("ISSUER", curfew_testbed::tokens::ISSUER),
            ("DATABASE", database.to_str().unwrap()),
        ];
        let (process, url) = installed(client).unwrap().serve(&settings, program, &more, stack.directory()).unwrap();
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { process, address, stack }
    }

    fn send(&self, request: &Request) -> Answer {
        request.send(self.address).unwrap_or_else(|error| panic!("{error:#}\n{}", self.process.output()))
    }

    /// Status and code at Envoy.
    fn at_envoy(&self, token: &str) -> (u16, String) {
        told(&self.stack.send(&Request::get("/orders").bearer(token)).unwrap())
    }

    fn is_admitted(&self, token: &str) {
        let answer = self.at_envoy(token);
        assert_eq!(answer.0, 200, "{answer:?}");
    }

    fn is_dead(&self, token: &str) {
        assert_eq!(self.at_envoy(token), (401, "token_revoked".into()));
    }

    /// A token with these claims that has expired.
    fn expired(&self, claims: Value) -> String {
        let signer = Signer::from_secret(self.stack.settings.required("JWT_SECRET").unwrap());
        signer.sign(&with(claims, json!({"iat": 1_700_000_000, "exp": 1_700_000_060}))).unwrap()
    }

    /// The tokens that the control plane knows of a user.
    fn known(&self, user: &str) -> usize {
        let path = format!("/internal/v1/users/{user}/sessions");
        let listed = self.stack.control_plane.ask(Request::get(&path)).unwrap().json();
        listed["sessions"].as_array().map_or(0, Vec::len)
    }
}

fn log_in_to_express(app: &Application, user: &str) -> String {
    let answer = app.send(&Request::post(&format!("/login?user={user}")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let cookie = answer.header("set-cookie").unwrap();
    assert_eq!(cookie, format!("token={token}; Path=/; HttpOnly; Secure; SameSite=Lax"));
    token
}

/// True if an answer of Express deletes the cookie, under the attributes that it was set with.
fn deletes_the_cookie(answer: &Answer) -> bool {
    let deleted = "token=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax";
    let cookie = answer.header("set-cookie");
    assert!(cookie.is_none_or(|cookie| cookie == deleted), "{cookie:?}");
    cookie.is_some()
}

/// That of a logout of all devices without a valid token: 401 with a text.
fn asks_for_a_login(answer: &Answer) {
    let body = answer.json();
    assert_eq!((answer.status, &body["outcome"]), (401, &json!("refused")), "{}", answer.text());
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let text = "Nothing is logged out: the token has expired or is invalid. Log in and try again.";
    assert!(answer.text().contains(text), "{}", answer.text());
}

/// An expired token says nothing about other devices. A session that the application knows does.
fn express_takes_no_expired_token_for_a_logout_of_all_devices(app: &Application) {
    let [old, other] = [app.expired(claims("cid")), log_in_to_express(app, "cid")];
    let log_out = |session: &str| {
        app.send(&Request::post("/logout-all-devices").header("cookie", format!("token={old}{session}")))
    };
    let answer = log_out("");
    asks_for_a_login(&answer);
    assert!(!deletes_the_cookie(&answer) && answer.header("clear-site-data").is_none(), "nothing was logged out");
    app.is_admitted(&other);

    let answer = log_out("; session=cid");
    assert_eq!((answer.status, answer.json()), (200, json!({"outcome": "logged_out"})), "{}", answer.text());
    assert!(deletes_the_cookie(&answer));
    app.is_dead(&other);
    assert!(!app.process.output().contains(&old), "{}", app.process.output());
}

#[test]
fn an_express_application_logs_its_cookie_out() {
    let mut app = Application::start(Client::Express, "app.mjs", Plan::shipped().unwrap());
    let log_out = |app: &Application, path: &str, token: &str| {
        app.send(&Request::post(path).header("cookie", format!("theme=dark; token={token}")))
    };
    let [mine, this, other] = ["ann", "ben", "ben"].map(|user| log_in_to_express(&app, user));
    assert_eq!((app.known("ann"), app.known("ben")), (1, 2), "registered at login");
    for token in [&mine, &this, &other] {
        app.is_admitted(token);
    }
    for (path, token, outcome) in [
        ("/logout", &mine, "logged_out"),
        ("/logout", &mine, "already_logged_out"),
        ("/logout-all-devices", &this, "logged_out"),
        ("/logout", &"odd\r\nx-injected: yes".replace("\r\n", "%0d%0a"), "refused"),
        ("/logout", &String::new(), "refused"),
    ] {
        let answer = log_out(&app, path, token);
        assert_eq!((answer.status, answer.json()), (200, json!({"outcome": outcome})), "{path}");
        assert_eq!(answer.header("clear-site-data"), Some("\"storage\""));
        assert!(deletes_the_cookie(&answer));
    }
    for token in [&mine, &this, &other] {
        app.is_dead(token);
    }
    assert_eq!(app.send(&Request::get("/ended")).json(), json!([false, false, true, false, false]), "refresh tokens");
    express_takes_no_expired_token_for_a_logout_of_all_devices(&app);

    let late = log_in_to_express(&app, "ann");
    app.stack.control_plane.kill().unwrap();
    let answer = log_out(&app, "/logout", &late);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert!(answer.json()["error"].as_str().unwrap().contains("NOT confirmed"), "{}", answer.text());
    assert!(!deletes_the_cookie(&answer) && answer.header("clear-site-data").is_none(), "the browser can try again");
    app.stack.control_plane.restart().unwrap();
    is_admitted_again(&app.stack, &late).unwrap();
    assert_eq!(log_out(&app, "/logout", &late).json(), json!({"outcome": "logged_out"}));
    app.is_dead(&late);
    for token in [&mine, &this, &other, &late] {
        assert!(!app.process.output().contains(token.as_str()), "{}", app.process.output());
    }
}

/// The settings that docs/clients.md names for Simple JWT, on both sides.
fn for_simple_jwt() -> Plan {
    let mut plan = Plan::shipped().unwrap();
    let secret = plan.settings.required("JWT_SECRET").unwrap().to_owned();
    plan.settings.unset("CURFEW_ISSUER");
    plan.settings.set("CURFEW_USER_CLAIM", "user_id");
    plan.settings.set("CURFEW_REQUIRED_CLAIMS", r#"{"token_type":"access"}"#);
    plan.settings.set("CURFEW_REQUIRE_USER", "true");
    let required = json!({"token_type": "access"});
    let issuers = json!([{"secret": secret, "required_claims": required, "require_user": true}]);
    plan.change_filter(|filter| {
        filter["issuers"] = issuers;
        filter["user_claim"] = "user_id".into();
    })
    .unwrap()
}

fn log_in_to_django(app: &Application, password: &str) -> [String; 2] {
    pair(&app.send(&Request::post("/login").json(&json!({"username": "alice", "password": password}))))
}

fn pair(answer: &Answer) -> [String; 2] {
    assert_eq!(answer.status, 200, "{}", answer.text());
    ["access", "refresh"].map(|name| answer.json()[name].as_str().unwrap_or_default().to_owned())
}

fn refresh(app: &Application, token: &str) -> Answer {
    app.send(&Request::post("/refresh").json(&json!({"refresh": token})))
}

fn django_ends_the_old_refresh_token_when_it_hands_out_the_new_one(app: &Application) -> [String; 3] {
    let [access, old] = log_in_to_django(app, "secret of alice");
    app.is_admitted(&access);
    assert_eq!(app.at_envoy(&old), (401, "token_invalid".into()), "a refresh token is no access token");
    let [fresh, rotated] = pair(&refresh(app, &old));
    assert_eq!(app.known("1"), 2, "registered at login and at refresh");
    assert_eq!(refresh(app, &old).status, 401, "it has ended");
    app.is_admitted(&fresh);
    [access, fresh, rotated]
}

/// With an expired access token, a valid refresh token tells the user. Without either, nothing is logged out.
fn django_takes_no_expired_token_for_a_logout_of_all_devices(app: &Application) {
    let old = app.expired(json!({"token_type": "access", "user_id": "1", "jti": "of-an-expired-token"}));
    let log_out =
        |refresh: &str| app.send(&Request::post("/logout-all-devices").bearer(&old).json(&json!({"refresh": refresh})));
    let [phone, laptop] = [(); 2].map(|()| log_in_to_django(app, "secret of alice"));
    for no_refresh_token in ["", "no.token.of-ours", &phone[0]] {
        asks_for_a_login(&log_out(no_refresh_token));
    }
    app.is_admitted(&phone[0]);
    let answer = log_out(&phone[1]);
    assert_eq!((answer.status, answer.json()), (200, json!({"outcome": "logged_out"})), "{}", answer.text());
    for [access, token] in [&phone, &laptop] {
        app.is_dead(access);
        assert_eq!(refresh(app, token).status, 401, "it has ended");
    }
    asks_for_a_login(&log_out(&phone[1]));
    for token in [&phone, &laptop].into_iter().flatten().chain([&old]) {
        assert!(!app.process.output().contains(token.as_str()), "{}", app.process.output());
    }
}

#[test]
fn a_django_application_with_simple_jwt_logs_out() {
    let mut app = Application::start(Client::Django, "serve.py", for_simple_jwt());
    let log_out = |app: &Application, [access, refresh]: &[String; 2]| {
        app.send(&Request::post("/logout").bearer(access).json(&json!({"refresh": refresh})))
    };
    let [access, fresh, rotated] = django_ends_the_old_refresh_token_when_it_hands_out_the_new_one(&app);
    let phone = [access, rotated];

    for outcome in ["logged_out", "already_logged_out"] {
        let answer = log_out(&app, &phone);
        assert_eq!((answer.status, answer.json()), (200, json!({"outcome": outcome})));
    }
    // Curfew has the last word also about a token that Simple JWT does not take.
    let odd = log_out(&app, &["no.token.of-ours".to_owned(), String::new()]);
    assert_eq!((odd.status, odd.json()), (200, json!({"outcome": "refused"})), "{}", odd.text());
    app.is_dead(&phone[0]);
    app.is_admitted(&fresh);
    assert_eq!(refresh(&app, &phone[1]).status, 401, "it has ended");

    let laptop = log_in_to_django(&app, "secret of alice");
    let answer = app.send(&Request::post("/logout-all-devices").bearer(&fresh));
    assert_eq!((answer.status, answer.json()), (200, json!({"outcome": "logged_out"})), "{}", answer.text());
    for token in [&fresh, &laptop[0]] {
        app.is_dead(token);
    }
    assert_eq!(refresh(&app, &laptop[1]).status, 401, "it has ended");

    django_takes_no_expired_token_for_a_logout_of_all_devices(&app);

    let [old, new] = ["secret of alice", "another secret of alice"];
    let before = log_in_to_django(&app, old);
    let change = Request::post("/change-password").bearer(&before[0]).json(&json!({"password": new}));
    let after = pair(&app.send(&change));
    app.is_dead(&before[0]);
    app.is_admitted(&after[0]);
    assert_eq!(refresh(&app, &before[1]).status, 401, "it has ended");

    let tablet = log_in_to_django(&app, new);
    app.stack.control_plane.kill().unwrap();
    let answer = refresh(&app, &tablet[1]);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    let answer = log_out(&app, &after);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert!(answer.json()["detail"].as_str().unwrap().contains("NOT confirmed"), "{}", answer.text());
    let login = Request::post("/login").json(&json!({"username": "alice", "password": new}));
    assert_eq!(app.send(&login).status, 503, "a login without a registration hands out nothing");
    app.stack.control_plane.restart().unwrap();
    is_admitted_again(&app.stack, &after[0]).unwrap();
    let tablet = pair(&refresh(&app, &tablet[1]));
    app.is_admitted(&tablet[0]);
    // The refresh token has ended in the first attempt, and the second one reaches Curfew all the same.
    assert_eq!(log_out(&app, &after).json(), json!({"outcome": "logged_out"}));
    app.is_dead(&after[0]);
    for token in [&phone, &laptop, &before, &after, &tablet].into_iter().flatten() {
        assert!(!app.process.output().contains(token.as_str()), "{}", app.process.output());
    }
}
