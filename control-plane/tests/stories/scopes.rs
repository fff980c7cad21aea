//! How much `POST /api/v2/logout` logs out: the token, its session, the other sessions, or everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use curfew_control_plane::config::DefaultScope;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{Server, command, curfew};
use crate::plane::{Answer, Plane, ask, ask_json, post};
use crate::tokens::{ISSUER, SECRET, claims, token, with};

/// A token of this session; an empty name is none.
fn of_session(user: &str, jti: &str, session: &str) -> String {
    let sid = if session.is_empty() { json!({}) } else { json!({ "sid": session }) };
    token(&with(claims(user, jti), sid))
}

async fn by_query(plane: &Plane, token: &str, query: &str) -> Answer {
    let request = post(&format!("/api/v2/logout{query}")).header(AUTHORIZATION, format!("Bearer {token}"));
    ask(plane.public(), request).await
}

async fn by_body(plane: &Plane, token: &str, body: &str) -> Answer {
    let request = post("/api/v2/logout").header(AUTHORIZATION, format!("Bearer {token}"));
    ask_json(plane.public(), request, body).await
}

/// The phone's token, another of its session, the laptop's, and one without a session.
async fn verdicts(plane: &Plane) -> Vec<String> {
    let mut verdicts = Vec::new();
    for (jti, session) in [("1", "phone"), ("2", "phone"), ("3", "laptop"), ("4", "")] {
        verdicts.push(plane.verdict(&of_session("alice", jti, session)).await);
    }
    verdicts
}

const A: &str = "active";
const R: &str = "revoked";

#[tokio::test]
async fn a_scope_says_what_is_logged_out() {
    for (scope, answer, verdicts_after) in [
        ("token", json!({"message": "Successfully Logged Out."}), [R, A, A, A]),
        ("session", json!({"message": "Successfully Logged Out.", "scope": "session"}), [R, R, A, A]),
        (
            "others",
            json!({"message": "Successfully Logged Out From All Other Devices.", "scope": "others"}),
            [A, A, R, R],
        ),
        ("global", json!({"message": "Successfully Logged Out From All Device.", "scope": "global"}), [R, R, R, R]),
    ] {
        let phone = of_session("alice", "1", "phone");
        for by_a_body in [false, true] {
            let plane = Plane::start().await;
            plane.advance(1);
            let answered = match by_a_body {
                false => by_query(&plane, &phone, &format!("?scope={scope}")).await,
                true => by_body(&plane, &phone, &json!({"scope": scope, "device": "x"}).to_string()).await,
            };
            assert_eq!(
                (answered.status, serde_json::from_str::<Value>(&answered.body).unwrap()),
                (200, answer.clone())
            );
            assert_eq!(verdicts(&plane).await, verdicts_after, "{scope} {by_a_body}");
            assert_eq!(plane.verdict(&of_session("bob", "1", "desktop")).await, A, "{scope}");
        }
    }
}

#[tokio::test]
async fn without_a_scope_the_issuers_default_holds() {
    for (default, session, body, verdicts_after) in [
        (DefaultScope::Token, "phone", json!({"message": "Successfully Logged Out."}), [R, A, A, A]),
        (
            DefaultScope::Session,
            "phone",
            json!({"message": "Successfully Logged Out.", "scope": "session"}),
            [R, R, A, A],
        ),
    ] {
        let mut plane = Plane::start().await;
        let state = Arc::get_mut(&mut plane.state).unwrap();
        state.default_scopes = BTreeMap::from([(ISSUER.to_owned(), default)]);
        let answered = by_query(&plane, &of_session("alice", "1", session), "").await;
        assert_eq!((answered.status, serde_json::from_str::<Value>(&answered.body).unwrap()), (200, body));
        assert_eq!(verdicts(&plane).await, verdicts_after);
        // A token without a session is a session of its own, and a caller may ask for less.
        let plain = by_query(&plane, &of_session("alice", "4", ""), "").await;
        assert_eq!(plain.whole().lines().last(), Some("{\"message\":\"Successfully Logged Out.\"}"));
        assert_eq!(by_query(&plane, &of_session("alice", "3", "laptop"), "?scope=token").await.status, 200);
        assert_eq!(plane.verdict(&of_session("alice", "5", "laptop")).await, A);
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_nothing_is_logged_out() {
    let plane = Plane::start().await;
    let (phone, plain) = (of_session("alice", "1", "phone"), of_session("alice", "4", ""));
    let nobody = token(&with(claims("alice", "9"), json!({"sub": null})));
    for (token, query, problem) in [
        (&plain, "?scope=session", (400, "session_missing")),
        (&nobody, "?scope=others", (401, "user_id_missing")),
        (&nobody, "?scope=global", (401, "user_id_missing")),
        (&phone, "?scope=all", (400, "request_malformed")),
        (&phone, "?scope=", (400, "request_malformed")),
        (&phone, "?scope=Others", (400, "request_malformed")),
        (&phone, "?scope=others&scope=session", (400, "request_malformed")),
        (&phone, "?Scope=others", (400, "request_malformed")),
    ] {
        let (status, code) = by_query(&plane, token, query).await.problem();
        assert_eq!((status, code.as_str()), problem, "{query}");
    }
    for (body, expected) in [
        (r#"{"scope":"all"}"#, 400),
        (r#"{"scope":7}"#, 400),
        (r#"{"scope":"others","scope":"session"}"#, 400),
        (r#"{"scope":"others""#, 400),
        (r#"["others"]"#, 400),
        (r#"{"SCOPE":"others"}"#, 400),
    ] {
        assert_eq!(by_body(&plane, &phone, body).await.status, expected, "{body}");
    }
    let both = post("/api/v2/logout?scope=session").header(AUTHORIZATION, format!("Bearer {phone}"));
    assert_eq!(ask_json(plane.public(), both, r#"{"scope":"others"}"#).await.problem().1, "request_malformed");
    assert_eq!(plane.rows().await, (0, 0, 0), "nothing was written");
    // What says nothing about a scope is an ordinary logout.
    for (number, body) in
        ["", " \n", "{}", "[]", " null", "\"\"", r#"{"scope":null}"#, r#"{"device":"phone"}"#].iter().enumerate()
    {
        let token = of_session("alice", &format!("body {number}"), "phone");
        assert_eq!(by_body(&plane, &token, body).await.status, 200, "{body}");
    }
    assert_eq!(plane.verdict(&phone).await, A);
}

#[tokio::test]
async fn a_browser_that_logs_out_the_others_keeps_what_it_has() {
    let plane = Plane::start().await;
    for (scope, cleared) in [("others", false), ("session", true)] {
        let request = post(&format!("/api/v2/logout?scope={scope}"))
            .header(AUTHORIZATION, format!("Bearer {}", of_session("alice", "1", "phone")))
            .header("origin", "https://app.example.com");
        let answer = ask(plane.public(), request).await;
        assert_eq!((answer.status, answer.head.contains("clear-site-data")), (200, cleared), "{}", answer.head);
    }
}

/// A rehearsed filter fills its copy of the log from what is explained, and needs both entries of the logout.
#[tokio::test]
async fn what_a_filter_would_answer_knows_what_is_spared() {
    let plane = Plane::start().await;
    plane.advance(1);
    let [phone, laptop] = ["phone", "laptop"].map(|session| of_session("alice", session, session));
    assert_eq!(by_query(&plane, &phone, "?scope=others").await.status, 200);
    let issuers = json!([{"issuer": ISSUER, "secret": SECRET}]);
    let filter = json!({"issuers": issuers, "control_plane": {"cluster": "curfew", "secret_env": "HOME"}});
    for (token, decision) in [(&phone, "admitted"), (&laptop, "refused")] {
        let asked = json!({"token": token, "filter": filter, "request": {"path": "/orders"}});
        let answer = plane.internal_post("/internal/v1/explain", asked).await;
        let told = serde_json::from_str::<Value>(&answer.body).unwrap();
        assert_eq!(told["filter"]["decision"], decision, "{}", answer.whole());
    }
}

#[tokio::test]
async fn sessions_are_named_by_the_issuers_claim() {
    let issuer = json!({"issuer": ISSUER, "secret": SECRET, "session_claim": "realm.session"});
    let plane = Plane::start_with(json!({"issuers": [issuer]})).await;
    let of = |jti: &str, session: Value| token(&with(claims("alice", jti), session));
    let [one, other] = ["1", "2"].map(|jti| of(jti, json!({"realm": {"session": "s"}, "sid": jti})));
    let elsewhere = of("3", json!({"realm": {"session": "t"}, "sid": "1"}));
    assert_eq!(by_query(&plane, &one, "?scope=session").await.status, 200);
    assert_eq!((plane.verdict(&other).await.as_str(), plane.verdict(&elsewhere).await.as_str()), (R, A));
    let by_sid_alone = of("4", json!({"sid": "1"}));
    assert_eq!(by_query(&plane, &by_sid_alone, "?scope=session").await.problem().1, "session_missing");
    assert_eq!(by_query(&plane, &of("5", json!({"realm": {"session": ""}})), "").await.problem().1, "token_invalid");
}

#[test]
fn the_command_line_logs_out_sessions_and_others() {
    const CLAIM: (&str, &str) = ("CURFEW_SESSION_CLAIM", "realm.session");
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let mut serve = command(directory);
    serve.env(CLAIM.0, CLAIM.1);
    let server = Server::spawn(directory, serve);
    let mint = |session: &str| {
        let arguments = ["token", "mint", "--user", "7", "--session", session];
        let minted = command(directory).args(arguments).env(CLAIM.0, CLAIM.1).output().unwrap();
        String::from_utf8(minted.stdout).unwrap().trim().to_owned()
    };
    let [phone, refreshed, laptop] = ["phone", "phone", "laptop"].map(mint);
    let logout =
        |token: &str, more: &[&str]| curfew(directory, &server, &[&["logout", "--token", token][..], more].concat());
    let said = |text: &str| (Some(0), text.to_owned(), String::new());
    let others = said("Successfully Logged Out From All Other Devices. Scope: others.");
    assert_eq!(logout(&phone, &["--scope", "others"]), others);
    assert_eq!(logout(&laptop, &["--scope", "session"]).0, Some(1), "it is logged out");
    assert_eq!(logout(&refreshed, &["--scope", "session"]), said("Successfully Logged Out. Scope: session."));
    assert_eq!(logout(&phone, &[]).0, Some(1), "of the same session");
    for wrong in [&["--scope", "all"][..], &["--scope", "others", "--all-devices"]] {
        assert_eq!(logout(&phone, wrong).0, Some(2), "{wrong:?}");
    }
}
