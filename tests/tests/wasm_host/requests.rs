//! Requests as the filter sees them, and as it passes them on.

use curfew_testbed::wasm_host::{Host, Outcome};
use serde_json::json;

use crate::support::{admitted, answer, bearer, configured, get, host, refused, send, send_and_answer, token};

#[test]
fn no_credential_is_told_apart_from_a_bad_one() {
    let mut host = host().unwrap();
    refused(&host.request(&get("/orders", &[])).unwrap().1, 401, "token_missing");
    assert_eq!(host.metric("curfew_requests_missing"), 1);
    refused(&send(&mut host, "nonsense").unwrap().1, 401, "token_invalid");
    assert_eq!(host.metric("curfew_requests_invalid"), 1);
}

#[test]
fn two_credentials_are_one_too_many() {
    let mut host = host().unwrap();
    let good = bearer(&token().unwrap());
    let other = bearer(&token().unwrap());
    let joined = format!("{good}, {other}");
    let pairs: [&[(&str, &[u8])]; 5] = [
        &[("authorization", good.as_bytes()), ("authorization", b"Bearer nonsense")],
        &[("authorization", b"Bearer nonsense"), ("authorization", good.as_bytes())],
        &[("authorization", good.as_bytes()), ("Authorization", good.as_bytes())],
        &[("authorization", joined.as_bytes())],
        &[("authorization", b"Basic dXNlcjpwYXNz"), ("authorization", good.as_bytes())],
    ];
    for headers in pairs {
        refused(&host.request(&get("/orders", headers)).unwrap().1, 401, "token_invalid");
    }
    assert!(host.callouts().is_empty());
}

#[test]
fn the_scheme_is_free_in_case_and_may_be_missing() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    admitted(&send_and_answer(&mut host, &token, "active").unwrap()).unwrap();
    for value in [token.clone(), format!("bearer {token}"), format!("BEARER   {token}")] {
        let request = get("/orders", &[("authorization", value.as_bytes())]);
        admitted(&host.request(&request).unwrap().1).unwrap();
    }
}

#[test]
fn client_copies_of_identity_headers_are_stripped_in_any_spelling() {
    let mut host = host().unwrap();
    let bearer = bearer(&token().unwrap());
    let request = get(
        "/orders",
        &[
            ("authorization", bearer.as_bytes()),
            ("x-user-id", b"root"),
            ("X-USER-ID", b"root"),
            ("x-user-id", b"\xff\xfe"),
            ("x_user_id", b"root"),
            ("x-user_id", b"root"),
            ("x-other", b"kept"),
        ],
    );
    let (stream, _) = host.request(&request).unwrap();
    answer(&mut host, "active").unwrap();
    let outcome = host.outcome(stream).unwrap();
    let headers = admitted(&outcome).unwrap();
    assert_eq!(headers.all("x-user-id"), ["alice"]);
    assert!(headers.all("x_user_id").is_empty() && headers.all("x-user_id").is_empty());
    assert_eq!(headers.all("x-other"), ["kept"]);
}

#[test]
fn identity_headers_are_stripped_from_requests_without_a_token() {
    let rules =
        json!({"rules": [{"path": "/healthz", "action": "skip"}, {"prefix": "/public/", "action": "optional"}]});
    let mut host = Host::start(&configured(rules)).unwrap();
    for path in ["/healthz", "/public/page"] {
        let (_, outcome) = host.request(&get(path, &[("x-user-id", b"root")])).unwrap();
        assert!(admitted(&outcome).unwrap().all("x-user-id").is_empty(), "{path}");
    }
    assert_eq!(host.metric("curfew_requests_skipped"), 1);
    assert_eq!(host.metric("curfew_requests_anonymous"), 1);
}

#[test]
fn optional_means_no_token_or_a_good_one() {
    let rules = json!({"rules": [{"prefix": "/public/", "methods": ["GET"], "action": "optional"}]});
    let mut host = Host::start(&configured(rules)).unwrap();
    admitted(&host.request(&get("/public/page", &[])).unwrap().1).unwrap();
    let bad = get("/public/page", &[("authorization", b"Bearer nonsense")]);
    refused(&host.request(&bad).unwrap().1, 401, "token_invalid");
    let bearer = bearer(&token().unwrap());
    let (stream, _) = host.request(&get("/public/page", &[("authorization", bearer.as_bytes())])).unwrap();
    answer(&mut host, "revoked").unwrap();
    refused(&host.outcome(stream).unwrap(), 401, "token_revoked");
    let mut post = get("/public/page", &[]);
    post[0] = (":method", b"POST");
    refused(&host.request(&post).unwrap().1, 401, "token_missing");
}

#[test]
fn no_odd_path_reaches_a_rule_that_opens() {
    let rules =
        json!({"rules": [{"prefix": "/public", "action": "skip"}, {"path": "/admin.css", "action": "optional"}]});
    let mut host = Host::start(&configured(rules)).unwrap();
    admitted(&host.request(&get("/public/a?b=/../c", &[])).unwrap().1).unwrap();
    for path in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/%252e%252e/admin",
        "/public//admin",
        "/public/./admin",
        "/public/;x=1/../admin",
        "/public;x=1",
        "/public/..\\admin",
        "/PUBLIC/admin",
        "//public/admin",
        "/%70ublic/admin",
        "/public/%2fadmin",
        "/public/\u{ff0f}admin",
        "/admin%00.css",
        "/admin?x=/public",
        "http://shop.example/public/a",
        "",
        "*",
    ] {
        let (_, outcome) = host.request(&get(path, &[])).unwrap();
        refused(&outcome, 401, "token_missing");
    }
}

#[test]
fn header_values_and_paths_that_are_not_utf8_do_no_harm() {
    let mut host = host().unwrap();
    let bearer = bearer(&token().unwrap());
    let request =
        get("/orders", &[("authorization", bearer.as_bytes()), ("x-latin-1", b"caf\xe9"), ("cookie", b"\xff=\x80")]);
    let (stream, _) = host.request(&request).unwrap();
    answer(&mut host, "active").unwrap();
    admitted(&host.outcome(stream).unwrap()).unwrap();
    let mut path = get("/", &[("authorization", bearer.as_bytes())]);
    path[1] = (":path", b"/caf\xe9?\xff");
    admitted(&host.request(&path).unwrap().1).unwrap();
    for value in [&b"Bearer \xff\xfe"[..], b"\x80", b"Bearer \xc2\xa0x"] {
        refused(&host.request(&get("/", &[("authorization", value)])).unwrap().1, 401, "token_invalid");
    }
}

#[test]
fn a_token_may_come_in_a_cookie_or_the_query_where_configured_and_must_not_disagree() {
    let sources = json!({"sources": [{"header": "authorization"}, {"cookie": "session"}, {"query": "access_token"}]});
    let mut host = Host::start(&configured(sources)).unwrap();
    let (token, other) = (token().unwrap(), token().unwrap());
    admitted(&send_and_answer(&mut host, &token, "active").unwrap()).unwrap();
    let cookie = format!("theme=dark; session={token}");
    admitted(&host.request(&get("/", &[("cookie", cookie.as_bytes())])).unwrap().1).unwrap();
    let query = format!("/?a=b&access_token={token}");
    admitted(&host.request(&get(&query, &[])).unwrap().1).unwrap();
    let bearer = bearer(&other);
    let request = get("/", &[("authorization", bearer.as_bytes()), ("cookie", cookie.as_bytes())]);
    refused(&host.request(&request).unwrap().1, 401, "token_invalid");
}

#[test]
fn a_grpc_call_is_refused_without_a_body() {
    let mut host = host().unwrap();
    for content_type in [&b"application/grpc"[..], b"application/grpc+proto"] {
        let (_, outcome) = host.request(&get("/shop.Orders/List", &[("content-type", content_type)])).unwrap();
        let Outcome::LocalReply { status, body, headers, grpc_status, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!((status, body.as_str()), (401, ""));
        assert!(headers.get("www-authenticate").is_some());
        assert!(headers.get("content-type").is_none_or(|kind| kind != "application/problem+json"));
        // 16 is UNAUTHENTICATED; -1 leaves it to Envoy, which derives the same from a 401.
        assert!(matches!(grpc_status, -1 | 16), "{grpc_status}");
    }
}

#[test]
fn a_body_waits_for_the_verdict_and_is_then_let_through() {
    let mut host = host().unwrap();
    let bearer = bearer(&token().unwrap());
    let request = get("/upload", &[("authorization", bearer.as_bytes())]);
    let (stream, outcome) = host.request_with_body(&request, &[7; 100_000]).unwrap();
    assert_eq!(outcome, Outcome::Paused);
    answer(&mut host, "active").unwrap();
    admitted(&host.outcome(stream).unwrap()).unwrap();
}
