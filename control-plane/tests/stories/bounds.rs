//! Paths, methods and bodies that no endpoint takes.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Request;
use curfew_control_plane::http::{Body as Taken, Listener, ROUTES};
use hyper::body::Frame;
use serde_json::json;
use tower::ServiceExt;

use crate::plane::{Answer, Plane, ask, post, with_secret};
use crate::tokens::token_of;

#[tokio::test]
async fn another_method_is_told_which_one_is_taken() {
    let plane = Plane::start().await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = ask(plane.public(), Request::builder().method(method).uri("/api/v2/logout")).await;
        assert_eq!(
            answer.whole(),
            "405\nallow: POST\ncache-control: no-store\ncontent-type: application/problem+json\n\n\
             {\"type\":\"about:blank\",\"title\":\"Method Not Allowed\",\"status\":405,\
             \"detail\":\"This path does not take this method.\",\"code\":\"method_not_allowed\"}",
            "{method}"
        );
    }
    let head = ask(plane.public(), Request::head("/api/v2/logout")).await;
    assert_eq!(head.status, 405);
}

#[tokio::test]
async fn an_unknown_path_is_a_problem_too() {
    let plane = Plane::start().await;
    let doubled = ["/api/v2/logout//", "/api/v2//logout", "/api/v2/logout/status/", "/api/v2/logout/x"];
    for path in doubled.into_iter().chain(["/", "/api/v2/lgt-all", "/internal/v1/check", "/metrics", "/%ff"]) {
        assert_eq!(
            ask(plane.public(), post(path)).await.whole(),
            "404\ncache-control: no-store\ncontent-type: application/problem+json\n\n\
             {\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\
             \"detail\":\"There is nothing at this path.\",\"code\":\"not_found\"}",
            "{path}"
        );
    }
    let public_path = ask(plane.internal(), with_secret(post("/api/v2/logout"))).await;
    assert_eq!(public_path.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_slash_at_the_end_is_the_logout_too_and_is_counted_as_one_route() {
    let plane = Plane::start().await;
    for (number, route) in (0..).zip(ROUTES.iter().filter(|route| route.entrance().is_some())) {
        let Some(path) = route.with_slash() else {
            let answer = ask(plane.internal(), post(&format!("{}/", route.path))).await;
            assert_eq!(answer.status, 401, "{}", answer.whole());
            continue;
        };
        let token = token_of("alice", &format!("slash {number}"));
        let answer = ask(plane.public(), post(&path).header("authorization", format!("Bearer {token}"))).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.whole());
        assert_eq!(plane.verdict(&token).await, "revoked");
        let other = ask(plane.public(), Request::get(&path)).await;
        assert_eq!(other.problem(), (405, "method_not_allowed".to_owned()), "{path}");
        let metrics = plane.state.measured().unwrap();
        let counted = format!(r#"curfew_http_requests_total{{route="{}",status="2xx"}} 1"#, route.path);
        assert!(metrics.contains(&counted) && !metrics.contains(&format!(r#""{path}""#)), "{metrics}");
    }
}

#[tokio::test]
async fn a_logouts_body_is_not_waited_for_whatever_it_is() {
    let plane = Plane::start().await;
    let announced = |length: usize| post("/api/v2/logout").header("content-length", length);
    let bodies = [
        (announced(100), Body::new(Never)),
        (announced(10_000_000), Body::new(Never)),
        (post("/api/v2/logout"), Body::from("{}")),
        (post("/api/v2/logout"), Body::from(vec![b'x'; 16 * 1024 + 1])),
    ];
    for (number, (request, body)) in (0..).zip(bodies) {
        let asked = tokio::time::Instant::now();
        let token = token_of("alice", &number.to_string());
        let request = request.header("authorization", format!("Bearer {token}")).body(body).unwrap();
        let answer = Answer::read(plane.public().oneshot(request).await.unwrap()).await;
        assert_eq!(answer.status, 200, "{number}: {}", answer.whole());
        assert!(asked.elapsed() < plane.state.request_timeout / 2, "{number}: {:?}", asked.elapsed());
        assert_eq!(plane.verdict(&token).await, "revoked");
    }
    let unfinished = announced(1).body(Body::new(Never)).unwrap();
    let answer = Answer::read(plane.public().oneshot(unfinished).await.unwrap()).await;
    assert_eq!(answer.problem(), (401, "token_missing".to_owned()));
}

/// The paths that take a body, each with its limit in bytes.
fn bodies() -> Vec<(&'static str, usize)> {
    let bodies = ROUTES.iter().filter(|route| route.body != Taken::Unread);
    let bodies: Vec<_> = bodies.map(|route| (route.path, route.body.most())).collect();
    for expected in
        [("/api/v2/lgt-all", 16 * 1024), ("/internal/v1/check", 16 * 1024), ("/internal/v1/tokens", 10 * 1024 * 1024)]
    {
        assert!(bodies.contains(&expected), "{expected:?}");
    }
    bodies
}

/// The router of the listener that has this path.
fn router(plane: &Plane, path: &str) -> axum::Router {
    let public = ROUTES.iter().any(|route| route.path == path && route.listener == Listener::Public);
    if public { plane.public() } else { plane.internal() }
}

#[tokio::test]
async fn every_body_is_bounded() {
    let plane = Plane::start().await;
    for (path, limit) in bodies() {
        let request = with_secret(post(path)).header("content-type", "application/json");
        let request = request.body(Body::from(vec![b' '; limit + 1])).unwrap();
        let answer = Answer::read(router(&plane, path).oneshot(request).await.unwrap()).await;
        assert_eq!(answer.problem(), (413, "payload_too_large".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let plane = Plane::start().await;
    // The clock must not stop earlier: while the tests' clock is paused, every wait for the database is over at once.
    tokio::time::pause();
    for path in ["/api/v2/lgt-all", "/api/v2/logout"] {
        let request = post(path).header("content-type", "application/json").body(Body::new(Never)).unwrap();
        let answer = Answer::read(router(&plane, path).oneshot(request).await.unwrap()).await;
        assert_eq!(answer.problem(), (408, "request_timeout".to_owned()), "{path}");
    }
}

/// A client that never sends the rest.
struct Never;

impl HttpBody for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_wrong_content_type_is_told_which_one_is_taken() {
    let plane = Plane::start().await;
    for route in ROUTES.iter().filter(|route| matches!(route.body, Taken::Json { .. })) {
        let request = with_secret(post(route.path)).header("content-type", "text/plain");
        let request = request.body(Body::from(json!({}).to_string())).unwrap();
        let answer = Answer::read(router(&plane, route.path).oneshot(request).await.unwrap()).await;
        assert_eq!(answer.problem(), (415, "unsupported_media_type".to_owned()), "{}", route.path);
        let detail = format!(r#""detail":"Send the body as {}.""#, route.body.media_type().unwrap());
        assert!(answer.body.contains(&detail), "{}", answer.body);
    }
}

#[tokio::test]
async fn every_path_takes_its_own_method_and_no_other() {
    let plane = Plane::start().await;
    for route in &ROUTES {
        let path = route.path.replace("{id}", "alice");
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let taken = ROUTES.iter().any(|other| other.path == route.path && other.method.as_str() == method);
            let answer =
                ask(router(&plane, route.path), with_secret(Request::builder().method(method).uri(&path))).await;
            assert_eq!(answer.status != 405, taken, "{method} {path}: {}", answer.whole());
        }
    }
}
