//! The clients with a real control plane behind a real Envoy, which refuses what they have logged out.

use std::sync::OnceLock;

use curfew_testbed::clients::{Client, Installed, Settings};
use curfew_testbed::http::Request;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims, with};
use serde_json::{Value, json};

use super::{installed, outcome, play};
use crate::shared::told;

/// Refused tokens of one client must not use up the failures of the others.
fn plan() -> Plan {
    let mut plan = Plan::shipped().unwrap();
    plan.settings.set("CURFEW_FAILED_LOGOUTS_PER_MINUTE", "0");
    plan
}

fn stack() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(|| plan().start().unwrap())
}

fn signer(stack: &Stack) -> Signer {
    Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap())
}

/// Status and code for a token, of all workers.
fn at_envoy(stack: &Stack, token: &str) -> (u16, String) {
    let answers: Vec<_> = (0..8).map(|_| told(&stack.send(&Request::get("/orders").bearer(token)).unwrap())).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    answers[0].clone()
}

fn is_admitted(stack: &Stack, token: &str) {
    assert_eq!(at_envoy(stack, token).0, 200);
}

fn is_dead(stack: &Stack, token: &str) {
    assert_eq!(at_envoy(stack, token), (401, "token_revoked".into()));
}

fn outcomes(client: &Installed, settings: &Settings, calls: &[(&str, &str)]) -> Vec<String> {
    play(client, settings, calls).iter().map(outcome).collect()
}

/// One token, all tokens of a user, and what is no good: an expired one, one with a wrong signature.
fn logs_out(name: &str, client: &Installed) {
    let stack = stack();
    let (signer, settings) = (signer(stack), Settings::of(stack).unwrap());
    let [one, many] = ["one", "many"].map(|user| format!("{name}-{user}"));
    let [mine, this, other] = [&one, &many, &many].map(|user| signer.sign(&claims(user)).unwrap());
    for token in [&mine, &this, &other] {
        is_admitted(stack, token);
    }
    let expired = signer.sign(&with(claims(&one), json!({"iat": 1_700_000_000, "exp": 1_700_000_060}))).unwrap();
    let forged = Signer::from_secret("another secret, of 32 bytes or more").sign(&claims(&one)).unwrap();
    let calls = [("logout", &*mine), ("logoutAllDevices", &this), ("logout", &expired), ("logoutAllDevices", &forged)];
    assert_eq!(outcomes(client, &settings, &calls), ["logged_out", "logged_out", "refused", "refused"]);
    for token in [&mine, &this, &other] {
        is_dead(stack, token);
    }
    let again = [("logout", &*mine), ("logoutAllDevices", &other)];
    assert_eq!(outcomes(client, &settings, &again), ["already_logged_out"; 2]);
}

/// The others while the caller stays, the caller's session with a token from before a refresh, and all.
fn logs_out_in_each_scope(name: &str, client: &Installed) {
    let stack = stack();
    let (signer, settings) = (signer(stack), Settings::of(stack).unwrap());
    let user = format!("{name}-scopes");
    // The names of sessions are those of one issuer, and all clients share it.
    let of = |(jti, session): (&str, Option<&str>)| {
        let session = session.map(|session| format!("{name}-{session}"));
        signer.sign(&with(claims(&user), json!({"jti": format!("{name}-{jti}"), "sid": session}))).unwrap()
    };
    let [mine, refreshed, other] = [("1", Some("mine")), ("2", Some("mine")), ("3", Some("other"))].map(of);
    let [elsewhere, alone, spare] = [("4", Some("elsewhere")), ("5", None), ("6", None)].map(of);

    let missing = play(client, &settings, &[("logout&scope=session", &alone)]);
    assert_eq!(missing[0]["missing"], "The token names no session: nothing was logged out", "{missing:?}");
    for token in [&mine, &refreshed, &other, &elsewhere, &alone, &spare] {
        is_admitted(stack, token);
    }
    assert_eq!(outcomes(client, &settings, &[("logout&scope=token", &spare)]), ["logged_out"]);
    is_dead(stack, &spare);
    is_admitted(stack, &alone);
    assert_eq!(outcomes(client, &settings, &[("logout&scope=others", &mine)]), ["logged_out"]);
    for token in [&other, &elsewhere, &alone] {
        is_dead(stack, token);
    }
    for token in [&mine, &refreshed] {
        is_admitted(stack, token);
    }
    // A token that is logged out logs out nothing more, in no scope.
    assert_eq!(outcomes(client, &settings, &[("logout&scope=global", &other)]), ["already_logged_out"]);
    is_admitted(stack, &mine);
    assert_eq!(outcomes(client, &settings, &[("logout&scope=session", &refreshed)]), ["logged_out"]);
    is_dead(stack, &mine);

    let user = format!("{name}-everywhere");
    let [this, that] =
        ["this", "that"].map(|jti| signer.sign(&with(claims(&user), json!({"jti": format!("{name}-{jti}")}))).unwrap());
    assert_eq!(outcomes(client, &settings, &[("logout&scope=global", &this)]), ["logged_out"]);
    for token in [&this, &that] {
        is_dead(stack, token);
    }
}

fn registers_and_logs_users_out(name: &str, client: &Installed) {
    let stack = stack();
    let (signer, settings) = (signer(stack), Settings::of(stack).unwrap());
    let user = format!("{name}-user");
    let token = signer.sign(&claims(&user)).unwrap();
    assert_eq!(outcomes(client, &settings, &[("register", &token)]), ["done"]);
    let sessions =
        stack.control_plane.ask(Request::get(&format!("/internal/v1/users/{user}/sessions"))).unwrap().json();
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "{sessions}");
    assert!(sessions["sessions"][0]["user_agent"].as_str().is_some_and(|agent| agent.starts_with("a ")), "{sessions}");
    is_admitted(stack, &token);

    let stranger = Settings { app_key: "the-key-of-another-application".into(), ..settings.clone() };
    let refused = play(client, &stranger, &[("logoutUser", &user)]);
    assert_eq!(refused[0]["error"], "The logout of the user is NOT confirmed (401 credentials_invalid).");
    is_admitted(stack, &token);

    let left = play(client, &settings, &[("logoutUser", &user)]);
    assert_eq!(outcome(&left[0]), "done", "{left:?}");
    let answer = &left[0]["outcome"];
    assert_eq!((&answer["tokens"], &answer["known"]), (&json!(1), &json!(true)), "{left:?}");
    is_dead(stack, &token);
    let dead = play(client, &settings, &[("register", &token)]);
    assert_eq!(dead[0]["error"], "The token is logged out already: issue another one (200).");
}

fn backend_logs_out_for_real(name: &str, client: Client) {
    let Some(client) = installed(client) else { return };
    logs_out(name, &client);
    logs_out_in_each_scope(name, &client);
    registers_and_logs_users_out(name, &client);
}

#[test]
fn what_the_browser_logs_out_is_dead_at_envoy() {
    let client = installed(Client::Browser).unwrap();
    logs_out("browser", &client);
    logs_out_in_each_scope("browser", &client);
}

#[test]
fn what_laravel_logs_out_is_dead_at_envoy() {
    backend_logs_out_for_real("laravel", Client::Laravel);
}

#[test]
fn what_django_logs_out_is_dead_at_envoy() {
    backend_logs_out_for_real("django", Client::Django);
}

#[test]
fn what_express_logs_out_is_dead_at_envoy() {
    backend_logs_out_for_real("express", Client::Express);
}

#[test]
fn what_spring_logs_out_is_dead_at_envoy() {
    backend_logs_out_for_real("spring", Client::Spring);
}

/// Envoy answers for a control plane that is away. No client takes that for a logout, and the token lives on.
#[test]
fn no_client_takes_an_outage_for_a_logout() {
    let mut stack = plan().start().unwrap();
    let (signer, settings) = (signer(&stack), Settings::of(&stack).unwrap());
    let settings = Settings { timeout_ms: 5_000, ..settings };
    let clients: Vec<_> = Client::ALL.into_iter().filter_map(installed).collect();
    let tokens: Vec<_> = clients.iter().map(|_| signer.sign(&claims("in-an-outage")).unwrap()).collect();
    let everywhere = |settings: &Settings| -> Vec<Value> {
        std::thread::scope(|scope| {
            let pairs = clients.iter().zip(&tokens);
            let threads: Vec<_> =
                pairs.map(|(client, token)| scope.spawn(|| play(client, settings, &[("logout", token)]))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        })
    };
    stack.control_plane.kill().unwrap();
    for result in everywhere(&settings) {
        let error = result["error"].as_str().unwrap_or_default();
        assert!(error.contains("NOT confirmed") && error.contains("(503)"), "{result}");
    }
    stack.control_plane.restart().unwrap();
    crate::outages::is_admitted_again(&stack, &tokens[0]).unwrap();
    for token in &tokens {
        is_admitted(&stack, token);
    }
    assert!(everywhere(&settings).iter().all(|result| outcome(result) == "logged_out"));
    for token in &tokens {
        is_dead(&stack, token);
    }
}
