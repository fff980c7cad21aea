//! What each client makes of each answer, from a server that gives them on demand.

use std::collections::BTreeSet;
use std::time::Duration;

use curfew_testbed::clients::Reply::{Answer, Broken, HangUp, Silence};
use curfew_testbed::clients::{Client, Installed, Reply, Script, Settings};
use curfew_testbed::ports::vacant;
use serde_json::{Value, json};

use super::{installed, outcome, play};

/// Longer than a client waits for an answer and then before the next attempt, and shorter than the script is silent.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

const OUT: Reply = Answer("200 OK", "", r#"{"message":"Successfully Logged Out."}"#);
const ALL_OUT: Reply = Answer("200 OK", "", r#"{"message":"Successfully Logged Out From All Device."}"#);
const SESSION_OUT: Reply = Answer("200 OK", "", r#"{"message":"Successfully Logged Out.","scope":"session"}"#);
const OTHERS_OUT: Reply =
    Answer("200 OK", "", r#"{"message":"Successfully Logged Out From All Other Devices.","scope":"others"}"#);
const GLOBAL_OUT: Reply =
    Answer("200 OK", "", r#"{"message":"Successfully Logged Out From All Device.","scope":"global"}"#);
const USER_OUT: Reply =
    Answer("200 OK", "", r#"{"message":"Successfully Logged Out From All Device.","tokens":2,"known":true}"#);
const REGISTERED: Reply = Answer("200 OK", "", r#"{"registered":1,"known":0,"revoked":0}"#);
const DEAD: Reply = Answer("200 OK", "", r#"{"registered":0,"known":1,"revoked":1}"#);
const BUSY: Reply = Answer("503 Service Unavailable", "Retry-After: 1\r\n", r#"{"code":"unavailable"}"#);
const BUSY_FOR_TWO: Reply = Answer("503 Service Unavailable", "retry-after: 2\r\n", r#"{"code":"unavailable"}"#);
/// A proxy's own answers have other bodies, and may name a date or nothing.
const AWAY: Reply = Answer("503 Service Unavailable", "", "upstream connect error");
const AWAY_UNTIL: Reply = Answer("502 Bad Gateway", "Retry-After: Tue, 01 Dec 2026 12:00:00 GMT\r\n", "<html>");
const LATE: Reply = Answer("503 Service Unavailable", "Retry-After: 120\r\n", r#"{"code":"unavailable"}"#);
const LIMITED: Reply = Answer("429 Too Many Requests", "Retry-After: 1\r\n", r#"{"code":"too_many_requests"}"#);
const MOVED: Reply = Answer("302 Found", "Location: /login\r\n", "");

fn refusal(body: &'static str) -> Reply {
    Answer("401 Unauthorized", "content-type: application/problem+json\r\n", body)
}

/// What a call ends with.
#[derive(Clone, Copy)]
enum End {
    Outcome(&'static str),
    /// An error with this text, with this `Retry-After`, and with the status and the code of the last answer.
    Error(&'static str, Option<u64>),
    /// An error of its own kind: the token names no session, and nothing was logged out.
    SessionMissing,
    /// A mistake of the program, with this in its text. Nothing is sent.
    Mistake(&'static str),
}

use End::{Error, Mistake, Outcome, SessionMissing};

/// A call with a token or for a user of this name, what it is told, how it ends, and the least seconds between its attempts.
struct Scene {
    call: &'static str,
    subject: &'static str,
    replies: Vec<Reply>,
    end: End,
    waits: &'static [u64],
}

impl Scene {
    /// Where its attempts go.
    fn targets(&self) -> BTreeSet<String> {
        if matches!(self.end, Mistake(_)) {
            return BTreeSet::new();
        }
        let target = match self.call {
            "logout" => "/api/v2/logout".to_owned(),
            "logoutAllDevices" => "/api/v2/logout-all-device".to_owned(),
            "logoutUser" => "/api/v2/lgt-all".to_owned(),
            "register" => "/internal/v1/tokens".to_owned(),
            scoped => scoped.replace("logout&", "/api/v2/logout?"),
        };
        BTreeSet::from([target])
    }

    /// The status and the code of the answer to the last attempt; 0 without one.
    fn last_answer(&self) -> (u16, Option<String>) {
        let last = self.waits.len().min(self.replies.len() - 1);
        let Answer(status, _, body) = self.replies[last] else { return (0, None) };
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        (status.split_once(' ').unwrap().0.parse().unwrap(), body["code"].as_str().map(str::to_owned))
    }
}

fn scene(call: &'static str, subject: &'static str, replies: &[Reply], end: End, waits: &'static [u64]) -> Scene {
    Scene { call, subject, replies: replies.to_vec(), end, waits }
}

/// What every client can do.
fn logouts() -> Vec<Scene> {
    let not_confirmed = Error("NOT confirmed", None);
    let revoked = refusal(r#"{"title":"Unauthorized","code":"token_revoked"}"#);
    let expired = refusal(r#"{"title":"Unauthorized","code":"token_expired"}"#);
    let invalid = refusal(r#"{"title":"Unauthorized","code":"token_invalid"}"#);
    let without_user = refusal(r#"{"title":"Unauthorized","code":"user_id_missing"}"#);
    let strange = refusal("<html>sign in</html>");
    let [logout, all] = ["logout", "logoutAllDevices"];
    vec![
        scene(logout, "token-that-is-good", &[OUT], Outcome("logged_out"), &[]),
        scene(all, "token-of-many", &[ALL_OUT], Outcome("logged_out"), &[]),
        scene(logout, "token-revoked", &[revoked], Outcome("already_logged_out"), &[]),
        scene(all, "token-revoked-of-many", &[revoked], Outcome("already_logged_out"), &[]),
        scene(logout, "token-expired", &[expired], Outcome("refused"), &[]),
        scene(logout, "token-invalid", &[invalid], Outcome("refused"), &[]),
        scene(logout, "token-while-busy", &[BUSY_FOR_TWO, BUSY, OUT], Outcome("logged_out"), &[2, 1]),
        scene(logout, "token-logged-out-unheard", &[BUSY, revoked], Outcome("already_logged_out"), &[1]),
        scene(all, "token-while-always-busy", &[BUSY], Error("NOT confirmed", Some(1)), &[1, 1]),
        scene(logout, "token-behind-a-proxy", &[AWAY, AWAY_UNTIL, AWAY], not_confirmed, &[1, 1]),
        scene(logout, "token-of-the-limited", &[LIMITED], Error("NOT confirmed", Some(1)), &[1, 1]),
        scene(logout, "token-for-later", &[LATE], Error("NOT confirmed", Some(120)), &[]),
        scene(logout, "token-hung-up-once", &[HangUp, OUT], Outcome("logged_out"), &[1]),
        scene(logout, "token-always-hung-up", &[HangUp], Error("NOT confirmed", None), &[1, 1]),
        scene(logout, "token-without-an-answer", &[Silence, OUT], Outcome("logged_out"), &[1]),
        scene(logout, "token-moved", &[MOVED, OUT], not_confirmed, &[]),
        scene(
            logout,
            "token-at-a-page",
            &[Answer("200 OK", "content-type: text/html\r\n", "<p>Hi</p>")],
            not_confirmed,
            &[],
        ),
        scene(
            logout,
            "token-at-a-list",
            &[Answer("200 OK", "", r#"["Successfully Logged Out."]"#)],
            not_confirmed,
            &[],
        ),
        scene(logout, "token-at-another-api", &[Answer("200 OK", "", r#"{"message":"OK"}"#)], not_confirmed, &[]),
        scene(
            logout,
            "token-put-off",
            &[Answer("202 Accepted", "", r#"{"message":"Logout Accepted."}"#)],
            not_confirmed,
            &[],
        ),
        scene(logout, "token-of-a-stranger", &[strange], not_confirmed, &[]),
        scene(all, "token-without-user", &[without_user], not_confirmed, &[]),
        scene(logout, "token-forbidden", &[Answer("403 Forbidden", "", "RBAC: access denied")], not_confirmed, &[]),
        scene(logout, "token-at-a-defect", &[Answer("500 Internal Server Error", "", "")], not_confirmed, &[]),
    ]
}

/// Logouts of another part than one token. An older control plane does not know scopes, and logs out the token alone.
fn scoped_logouts() -> Vec<Scene> {
    let other_scope = Error("NOT confirmed, because the answer is for another scope", None);
    let revoked = refusal(r#"{"title":"Unauthorized","code":"token_revoked"}"#);
    let without_user = refusal(r#"{"title":"Unauthorized","code":"user_id_missing"}"#);
    let without_session =
        Answer("400 Bad Request", "content-type: application/problem+json\r\n", r#"{"code":"session_missing"}"#);
    let malformed = Answer("400 Bad Request", "", r#"{"code":"request_malformed"}"#);
    let [token, session] = ["logout&scope=token", "logout&scope=session"];
    let [others, global] = ["logout&scope=others", "logout&scope=global"];
    vec![
        scene(token, "token-by-itself", &[OUT], Outcome("logged_out"), &[]),
        scene(session, "token-of-a-session", &[SESSION_OUT], Outcome("logged_out"), &[]),
        scene(others, "token-that-stays", &[OTHERS_OUT], Outcome("logged_out"), &[]),
        scene(global, "token-of-all", &[GLOBAL_OUT], Outcome("logged_out"), &[]),
        scene("logout", "token-of-a-session-by-default", &[SESSION_OUT], Outcome("logged_out"), &[]),
        scene(others, "token-that-stays-while-busy", &[BUSY, OTHERS_OUT], Outcome("logged_out"), &[1]),
        scene(others, "token-that-is-out-itself", &[revoked], Outcome("already_logged_out"), &[]),
        scene(others, "token-without-others", &[without_user], Error("NOT confirmed", None), &[]),
        scene(others, "token-malformed-for-others", &[malformed], Error("NOT confirmed", None), &[]),
        scene(session, "token-without-session", &[without_session], SessionMissing, &[]),
        scene(token, "token-with-its-session", &[SESSION_OUT], other_scope, &[]),
        scene(session, "token-without-its-session", &[OUT], other_scope, &[]),
        scene(others, "token-instead-of-others", &[OUT], other_scope, &[]),
        scene(others, "token-with-all-others", &[GLOBAL_OUT], other_scope, &[]),
        scene(global, "token-instead-of-all", &[OUT], other_scope, &[]),
        scene("logout&scope=everyone", "token-of-everyone", &[OUT], Mistake("no such scope"), &[]),
        scene("logout&scope=", "token-of-nothing", &[OUT], Mistake("no such scope"), &[]),
    ]
}

/// What only backends do.
fn internal_calls() -> Vec<Scene> {
    let denied = refusal(r#"{"title":"Unauthorized","code":"credentials_invalid"}"#);
    let [user, register] = ["logoutUser", "register"];
    vec![
        scene(user, "user-who-is-known", &[USER_OUT], Outcome("done"), &[]),
        scene(user, "user-while-busy", &[BUSY, USER_OUT], Outcome("done"), &[1]),
        scene(user, "user-of-a-stranger", &[denied], Error("NOT confirmed", None), &[]),
        scene(user, "", &[USER_OUT], Mistake("no user is given"), &[]),
        scene(user, " ", &[USER_OUT], Mistake("no user is given"), &[]),
        scene("logoutNobody", "user-who-is-nobody", &[USER_OUT], Mistake("user"), &[]),
        scene(user, "user-always-busy", &[BUSY], Error("NOT confirmed", Some(1)), &[1, 1]),
        scene(register, "token-to-register", &[REGISTERED], Outcome("done"), &[]),
        scene(register, "token-born-dead", &[DEAD], Error("logged out already", None), &[]),
        scene(register, "token-registered-late", &[BUSY, REGISTERED], Outcome("done"), &[1]),
        scene(register, "token-not-registered", &[denied], Error("NOT registered", None), &[]),
        scene(register, "token-at-another-service", &[OUT], Error("NOT registered", None), &[]),
    ]
}

/// Those of a client whose answers come from this URL.
pub(super) fn settings(url: &str) -> Settings {
    Settings {
        public: url.into(),
        internal: url.into(),
        secret: "internal-secret-of-the-script".into(),
        app_id: "app".into(),
        app_key: "app-key-of-the-script".into(),
        timeout_ms: 5_000,
    }
}

/// What is wrong with a result.
fn wrong(scene: &Scene, result: &Value) -> Option<String> {
    let right = match scene.end {
        Outcome(wanted) => outcome(result) == wanted,
        Error(text, retry_after) => {
            let error = result["error"].as_str().unwrap_or_default();
            let (status, code) = scene.last_answer();
            let end = if matches!(status, 0 | 429 | 502..=504) { "). Try again." } else { ")." };
            let told = ["retryAfter", "status", "code"].map(|member| result[member].clone());
            error.contains(text) && error.ends_with(end) && told == [json!(retry_after), json!(status), json!(code)]
        }
        SessionMissing => result["missing"].as_str().is_some_and(|error| error.contains("nothing was logged out")),
        Mistake(text) => result["crash"].as_str().is_some_and(|crash| crash.contains(text)),
    };
    (!right).then(|| format!("{}: {result}", scene.subject))
}

/// What is wrong with the attempts that the script has seen.
fn wrong_attempts(scene: &Scene, script: &Script) -> Option<String> {
    let attempts = script.attempts(scene.subject);
    let pauses: Vec<Duration> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Clocks of clients may be a little ahead of this one.
    let least = scene.waits.iter().map(|seconds| Duration::from_millis(seconds * 1000 - 50));
    let in_time = pauses.iter().all(|pause| *pause < LONGEST_PAUSE);
    let targets = script.targets(scene.subject);
    let wanted = if matches!(scene.end, Mistake(_)) { 0 } else { scene.waits.len() + 1 };
    let right = in_time
        && attempts.len() == wanted
        && targets == scene.targets()
        && pauses.iter().zip(least).all(|(pause, least)| *pause >= least);
    (!right).then(|| format!("{}: {} attempts at {targets:?}, {pauses:?} apart", scene.subject, attempts.len()))
}

fn plays(client: &Installed, scenes: &[Scene]) -> Vec<Value> {
    let script = Script::start(scenes.iter().map(|scene| (scene.subject, scene.replies.clone()))).unwrap();
    let calls: Vec<_> = scenes.iter().map(|scene| (scene.call, scene.subject)).collect();
    let results = play(client, &settings(&script.url()), &calls);
    let mut mistakes: Vec<_> = scenes.iter().zip(&results).filter_map(|(scene, result)| wrong(scene, result)).collect();
    mistakes.extend(scenes.iter().filter_map(|scene| wrong_attempts(scene, &script)));
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
    results
}

/// What can be no token is sent nowhere. An answer that breaks off, and a server that is not there, confirm nothing.
fn is_careful(client: &Installed) {
    let broken = Broken("200 OK", "", r#"{"message":"Successfully Logged Out."#);
    let script = Script::start([("token-broken", vec![broken]), ("", vec![OUT]), ("token", vec![OUT])]).unwrap();
    let calls =
        [("logout", "token\r\nx-injected: yes"), ("logout", "two tokens"), ("logout", ""), ("logout", "token-broken")];
    let results = play(client, &settings(&script.url()), &calls);
    assert_eq!(results.iter().take(3).map(outcome).collect::<Vec<_>>(), ["refused"; 3]);
    assert!(results[3]["error"].as_str().is_some_and(|error| error.contains("NOT confirmed")), "{results:?}");
    for never_sent in ["", "token", "two tokens", "token\r\nx-injected: yes"] {
        assert_eq!(script.attempts(never_sent).len(), 0, "{never_sent:?}");
    }
    let nowhere = settings(&format!("http://{}", vacant().unwrap()));
    let results = play(client, &nowhere, &[("logout", "token-for-nobody"), ("logoutAllDevices", "token-for-nobody")]);
    for result in results {
        assert!(
            result["error"]
                .as_str()
                .is_some_and(|error| error.contains("NOT confirmed") && error.contains("(no answer)")),
            "{result}"
        );
    }
}

/// White space around a token and `Bearer` before it are no part of it. The token is asked about, and not given up.
fn finds_the_token(client: &Installed) {
    let texts = [
        ("token-before-a-line-break", "token-before-a-line-break\n"),
        ("token-between-spaces", " \ttoken-between-spaces  "),
        ("token-of-a-header", "Bearer token-of-a-header"),
        ("token-of-a-small-header", " bearer  token-of-a-small-header\r\n"),
    ];
    let busy = texts.map(|(token, _)| (token, vec![LATE]));
    let script = Script::start(busy).unwrap();
    for result in play(client, &settings(&script.url()), &texts.map(|(_, text)| ("logout", text))) {
        assert_eq!((&result["status"], &result["code"]), (&json!(503), &json!("unavailable")), "{result}");
        assert_ne!(result["stored"], false, "{result}");
    }
    for (token, _) in texts {
        assert_eq!(script.attempts(token).len(), 1, "{token}");
    }
    let nothing = play(client, &settings(&script.url()), &[("logout", "Bearer "), ("logout", "Bearer two tokens")]);
    assert_eq!(nothing.iter().map(outcome).collect::<Vec<_>>(), ["refused"; 2]);
}

fn backend_reads_every_answer(client: Client) {
    let Some(client) = installed(client) else { return };
    let scenes: Vec<_> = logouts().into_iter().chain(scoped_logouts()).chain(internal_calls()).collect();
    plays(&client, &scenes);
    is_careful(&client);
    finds_the_token(&client);
}

#[test]
fn the_laravel_client_reads_every_answer() {
    backend_reads_every_answer(Client::Laravel);
}

#[test]
fn the_django_client_reads_every_answer() {
    backend_reads_every_answer(Client::Django);
}

#[test]
fn the_express_client_reads_every_answer() {
    backend_reads_every_answer(Client::Express);
}

#[test]
fn the_spring_client_reads_every_answer() {
    backend_reads_every_answer(Client::Spring);
}

/// It forgets its token and leaves, but only if the logout was answered, and not if all others were logged out. What else is
/// stored stays.
#[test]
fn the_browser_reads_every_answer_and_forgets_its_token_with_the_logout() {
    let client = installed(Client::Browser).unwrap();
    let scenes: Vec<_> = logouts().into_iter().chain(scoped_logouts()).collect();
    for (scene, result) in scenes.iter().zip(plays(&client, &scenes)) {
        let left = match scene.end {
            Outcome("logged_out") if scene.call.ends_with("scope=others") => json!({"stored": true, "wentTo": null}),
            Outcome(outcome) => json!({"stored": false, "wentTo": format!("/login?logout={outcome}")}),
            Error(..) | SessionMissing | Mistake(_) => json!({"stored": true, "wentTo": null}),
        };
        assert_eq!(json!({"stored": result["stored"], "wentTo": result["wentTo"]}), left, "{}", scene.subject);
        assert_eq!(result["kept"], true, "{}", scene.subject);
    }
    is_careful(&client);
    finds_the_token(&client);
}

#[test]
fn another_transport_of_the_laravel_client_gets_what_is_sent() {
    let Some(client) = installed(Client::Laravel) else { return };
    let result = &play(&client, &settings("http://edge.example"), &[("recorded", "token-in-another-way")])[0];
    let sent = json!(["http://edge.example/api/v2/logout", ["Authorization"], ""]);
    assert_eq!(*result, json!({"outcome": "logged_out", "sent": sent}));
}
