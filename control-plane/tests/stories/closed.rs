//! The internal listener, for a caller that does not know its secret.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use curfew_control_plane::http::{Access, Listener, ROUTES, Route};
use tower::ServiceExt;

use crate::plane::{Answer, INTERNAL_SECRET, Plane, with_secret};
use crate::tokens::token_of;

/// Paths of other users, paths that do not exist, and paths of the other listener. All of them look like the paths that
/// need the secret.
const OTHERS: [&str; 13] = [
    "/internal/v1/users/%ff/sessions",
    "/internal/v1/users//sessions",
    "/internal/v1/check/",
    "/internal/v1/CHECK",
    "/internal/v1//check",
    "/internal/v1",
    "/internal/v2/check",
    "/api/v2/logout",
    "/api/v2/lgt-all/",
    "/metrics/x",
    "/internal/v1/users/nobody/sessions",
    "/",
    "/nothing",
];

/// The routes of this listener that need the secret, or those that do not.
fn routes(need_secret: bool) -> impl Iterator<Item = &'static Route> {
    let internal = ROUTES.iter().filter(|route| route.listener == Listener::Internal);
    internal.filter(move |route| (route.access == Access::InternalSecret) == need_secret)
}

/// All paths that look the same to a caller without the secret.
fn closed_paths() -> Vec<String> {
    let there = routes(true).map(|route| route.path.replace("{id}", "alice"));
    let paths: Vec<_> = there.chain(OTHERS.map(str::to_owned)).collect();
    assert!(paths.len() >= OTHERS.len() + 5, "{paths:?}");
    paths
}

const METHODS: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"];

const REFUSED: &str = "401\ncache-control: no-store\ncontent-type: application/problem+json\n\
    www-authenticate: Bearer realm=\"curfew-internal\"\n\n\
    {\"type\":\"about:blank\",\"title\":\"Unauthorized\",\"status\":401,\
    \"detail\":\"The internal secret is wrong or missing.\",\"code\":\"credentials_invalid\"}";

/// Values of `Authorization` without the secret, or with almost the secret.
fn near_misses() -> Vec<Vec<Vec<u8>>> {
    let bearer = |secret: &str| format!("Bearer {secret}").into_bytes();
    let right = bearer(INTERNAL_SECRET);
    vec![
        vec![],
        vec![b"".to_vec()],
        vec![b"Bearer".to_vec()],
        vec![b"Bearer ".to_vec()],
        vec![INTERNAL_SECRET.as_bytes().to_vec()],
        vec![bearer(&INTERNAL_SECRET[..INTERNAL_SECRET.len() - 1])],
        vec![bearer(&INTERNAL_SECRET.to_uppercase())],
        vec![bearer(&format!("{INTERNAL_SECRET}x"))],
        vec![bearer(&format!("{INTERNAL_SECRET},{INTERNAL_SECRET}"))],
        vec![bearer(&format!("\"{INTERNAL_SECRET}\""))],
        vec![[bearer(INTERNAL_SECRET).as_slice(), b"\xc2\xa0"].concat()],
        vec![format!("Basic {INTERNAL_SECRET}").into_bytes()],
        vec![bearer(&token_of("alice", "1"))],
        vec![right.clone(), right.clone()],
        vec![right, bearer("another")],
    ]
}

async fn asked(plane: &Plane, method: &str, path: &str, authorization: &[Vec<u8>]) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    for value in authorization {
        request = request.header("authorization", HeaderValue::from_bytes(value).unwrap());
    }
    let request = request.body(Body::from("{\"tokens\":[]}")).unwrap();
    Answer::read(plane.internal().oneshot(request).await.unwrap()).await
}

#[tokio::test]
async fn a_caller_without_the_secret_learns_nothing() {
    let plane = Plane::start().await;
    plane.register(&[&token_of("alice", "1")]).await;
    for authorization in near_misses() {
        for path in &closed_paths() {
            for method in METHODS {
                let answer = asked(&plane, method, path, &authorization).await;
                let shown: Vec<_> = authorization.iter().map(|value| String::from_utf8_lossy(value)).collect();
                assert_eq!(answer.whole(), REFUSED, "{method} {path} with {shown:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_question_for_the_head_alone_learns_as_little() {
    let plane = Plane::start().await;
    for path in &closed_paths() {
        let answer = asked(&plane, "HEAD", path, &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (401, ""), "{path}");
    }
}

#[tokio::test]
async fn nothing_of_a_body_is_read_before_the_secret() {
    let plane = Plane::start().await;
    for path in &closed_paths() {
        let request = Request::post(path).header("content-length", "99999999").body(Body::empty()).unwrap();
        let answer = Answer::read(plane.internal().oneshot(request).await.unwrap()).await;
        assert_eq!(answer.whole(), REFUSED, "{path}");
    }
}

#[tokio::test]
async fn open_paths_say_nothing_about_users() {
    let plane = Plane::start().await;
    let token = token_of("alice-the-user", "jti-of-hers");
    plane.register(&[&token]).await;
    plane.logout(&token).await;
    let open: Vec<_> = routes(false).filter(|route| route.access == Access::Open).map(|route| route.path).collect();
    assert!(open.len() >= 4, "{open:?}");
    for path in open {
        let answer = asked(&plane, "GET", path, &[]).await;
        assert_eq!(answer.status, 200, "{path}");
        for private in ["alice-the-user", "jti-of-hers", &token, "issuer.example.com", INTERNAL_SECRET] {
            assert!(!answer.body.contains(private), "{path} tells {private}");
        }
    }
    // Callers of `lgt-all` have other credentials.
    let lgt_all = plane.lgt_all(serde_json::json!({"user_id": "alice-the-user"})).await;
    assert_eq!(lgt_all.problem(), (401, "credentials_invalid".to_owned()));
    assert!(lgt_all.head.contains("www-authenticate: AppKey realm=\"curfew\"\n"), "{}", lgt_all.whole());
}

#[tokio::test]
async fn a_caller_with_the_secret_is_told_what_is_wrong() {
    let plane = Plane::start().await;
    let ask = async |request| crate::plane::ask(plane.internal(), with_secret(request)).await.problem();
    assert_eq!(ask(Request::get("/nothing")).await, (404, "not_found".to_owned()));
    assert_eq!(ask(Request::get("/internal/v1/check")).await, (405, "method_not_allowed".to_owned()));
}
