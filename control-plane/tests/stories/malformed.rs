//! Malformed requests: the answer names the place of the mistake, and quotes nothing of the request.

use axum::http::Request;
use curfew_control_plane::http::{Body, Listener, ROUTES};

use crate::plane::{Plane, ask, ask_json, post, with_secret};

/// The answer's detail.
async fn detail(plane: &Plane, path: &str, body: &str) -> String {
    let answer = ask_json(plane.internal(), with_secret(post(path)), body).await;
    assert_eq!(answer.problem(), (400, "request_malformed".to_owned()), "{body}");
    assert!(!answer.body.contains("hunter2"), "{}", answer.body);
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    body["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_body_is_never_quoted() {
    let plane = Plane::start().await;
    let misfit = |place: &str| format!("The body is not what this endpoint takes ({place}).");
    for (path, body, expected) in [
        ("/internal/v1/check", r#"{"token":"hunter2"}"#, misfit("line 1, column 19")),
        ("/internal/v1/check", r#"{"hunter2":1}"#, misfit("line 1, column 10")),
        ("/internal/v1/tokens", "{\n\"tokens\":\"hunter2\"}", misfit("line 2, column 18")),
        (
            "/internal/v1/tokens",
            r#"{"tokens":[hunter2]}"#,
            "The body is not valid JSON (line 1, column 12).".to_owned(),
        ),
        ("/api/v2/lgt-all", r#"{"app_key":"hunter2"#, "The body ends too early (line 1, column 19).".to_owned()),
        ("/api/v2/lgt-all", r#""hunter2""#, "The body is not a JSON object.".to_owned()),
        ("/api/v2/lgt-all", r#"[["user_id","hunter2"]]"#, "The body is not a JSON object.".to_owned()),
    ] {
        assert_eq!(detail(&plane, path, body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_body_is_never_quoted_by_any_other_route() {
    let plane = Plane::start().await;
    for route in ROUTES.iter().filter(|route| matches!(route.body, Body::Json { .. })) {
        for body in [r#"{"hunter2":}"#, r#"["hunter2"]"#, r#"{"hunter2":1,"hunter2":2}"#] {
            let request = with_secret(post(route.path));
            let router = if route.listener == Listener::Public { plane.public() } else { plane.internal() };
            let answer = ask_json(router, request, body).await;
            assert_eq!(answer.problem(), (400, "request_malformed".to_owned()), "{} {body}", route.path);
            assert!(!answer.body.contains("hunter2"), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_member_that_is_there_twice_is_refused_and_not_chosen() {
    let plane = Plane::start().await;
    let twice = "The body names a member twice, or is nested too deeply.";
    let user = r#"{"user_id":"alice","user_id":"bob","app_id":"app","app_key":"key"}"#;
    assert_eq!(detail(&plane, "/api/v2/lgt-all", user).await, twice);
    let escaped = r#"{"user_id":"alice","\u0075ser_id":"bob","app_id":"app","app_key":"key"}"#;
    assert_eq!(detail(&plane, "/api/v2/lgt-all", escaped).await, twice);
    let question = serde_json::to_string(&plane.question(&crate::tokens::token_of("alice", "1"))).unwrap();
    let question = question.replacen('{', r#"{"token":"00000000000000000000000000000000","#, 1);
    assert_eq!(detail(&plane, "/internal/v1/check", &question).await, twice);
    let deep = format!(r#"{{"tokens":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    assert_eq!(detail(&plane, "/internal/v1/tokens", &deep).await, twice);
    assert_eq!(plane.rows().await, (0, 0, 0));
}

#[tokio::test]
async fn a_path_or_a_query_is_never_quoted() {
    let plane = Plane::start().await;
    for (path, expected) in [
        ("hunter2%ff/sessions", "The path's parameter is not percent-encoded UTF-8."),
        ("alice/sessions?limit=hunter2", "The query is not what this endpoint takes."),
        ("alice/sessions?hunter2=1", "The query is not what this endpoint takes."),
        ("alice/sessions?limit=1&limit=2", "The query is not what this endpoint takes."),
    ] {
        let request = with_secret(Request::get(format!("/internal/v1/users/{path}")));
        let answer = ask(plane.internal(), request).await;
        assert_eq!(answer.problem(), (400, "request_malformed".to_owned()), "{path}");
        let detail = format!(r#""detail":"{expected}""#);
        assert!(answer.body.contains(&detail) && !answer.body.contains("hunter2"), "{}", answer.body);
    }
}

#[tokio::test]
async fn json_goes_by_several_names() {
    let plane = Plane::start().await;
    let body = r#"{"user_id":"alice","app_id":"app","app_key":"key"}"#;
    for (content_type, status) in [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/vnd.shop+json", 200),
        ("application/jsonp", 415),
        ("text/json", 415),
        ("", 415),
    ] {
        let request = post("/api/v2/lgt-all").header("content-type", content_type);
        let request = request.body(axum::body::Body::from(body)).unwrap();
        let response = tower::ServiceExt::oneshot(plane.internal(), request).await.unwrap();
        assert_eq!(response.status(), status, "{content_type}");
    }
}
