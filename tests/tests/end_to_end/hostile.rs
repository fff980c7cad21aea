//! Requests of attackers: each gets a 401 or a 400, and Envoy and its VMs live on.

use curfew_testbed::http::{Request, exchange};
use curfew_testbed::http2;
use curfew_testbed::tokens::{base64, claims, hs256_text, with};
use curfew_testbed::upstream::echoed_header;
use serde_json::{Value, json};

use crate::shared::{shared, told};

/// A token that brings the key that it was signed with.
fn embedded(claims: &Value) -> String {
    let secret = "a key that came with the token, long enough for HS256";
    let header = json!({"alg": "HS256", "jwk": {"kty": "oct", "alg": "HS256", "k": base64(secret.as_bytes())}});
    hs256_text(secret, &header.to_string(), &claims.to_string())
}

/// Texts that look like tokens, with the code in the answers of both the filter and the control plane.
fn bad_tokens() -> Vec<(&'static str, String, &'static str)> {
    let shared = shared();
    let secret = shared.stack.settings.required("APP_KEY").unwrap();
    let claims = claims("mallory");
    let demo_secret = "demo-only-token-signing-secret-0123456789";
    let signed = |changes: Value| shared.demo.sign(&with(claims.clone(), changes)).unwrap();
    let header = |header: &str| hs256_text(demo_secret, header, &claims.to_string());
    let good = signed(json!({}));
    let (input, signature) = good.rsplit_once('.').unwrap();
    let now = curfew_testbed::tokens::now();
    vec![
        ("words", "not-a-token".into(), "token_invalid"),
        ("two parts", input.into(), "token_invalid"),
        ("no signature", format!("{input}."), "token_invalid"),
        ("four parts", format!("{good}.x"), "token_invalid"),
        ("an extra dot", format!("{input}..{signature}"), "token_invalid"),
        ("padding", format!("{good}="), "token_invalid"),
        ("another secret", hs256_text(secret, r#"{"alg":"HS256"}"#, &claims.to_string()), "token_invalid"),
        ("alg none", header(r#"{"alg":"none"}"#), "token_invalid"),
        ("alg None", header(r#"{"alg":"None"}"#), "token_invalid"),
        ("alg of another hash", header(r#"{"alg":"HS384"}"#), "token_invalid"),
        ("alg of another family", header(r#"{"alg":"RS256"}"#), "token_invalid"),
        ("no alg", header(r#"{"typ":"JWT"}"#), "token_invalid"),
        ("alg twice", header(r#"{"alg":"none","alg":"HS256"}"#), "token_invalid"),
        ("crit", header(r#"{"alg":"HS256","crit":["x"],"x":1}"#), "token_invalid"),
        ("b64", header(r#"{"alg":"HS256","b64":false}"#), "token_invalid"),
        ("an embedded key, which signed it", embedded(&claims), "token_invalid"),
        ("another type", header(r#"{"alg":"HS256","typ":"logout+jwt"}"#), "token_invalid"),
        ("no exp", signed(json!({"exp": null})), "token_invalid"),
        ("exp as text", signed(json!({"exp": (now + 60).to_string()})), "token_invalid"),
        ("exp zero", signed(json!({"exp": 0})), "token_invalid"),
        ("expired", signed(json!({"exp": now - 60})), "token_expired"),
        ("too long a life", signed(json!({"exp": now + 400 * 86_400})), "token_invalid"),
        ("not yet", signed(json!({"nbf": now + 600})), "token_invalid"),
        ("issued in the future", signed(json!({"iat": now + 600})), "token_invalid"),
        ("another issuer", signed(json!({"iss": "https://evil.example"})), "token_invalid"),
        ("no issuer", signed(json!({"iss": null})), "token_invalid"),
        ("an empty jti", signed(json!({"jti": ""})), "token_invalid"),
        ("claims in a list", hs256_text(demo_secret, r#"{"alg":"HS256"}"#, "[1]"), "token_invalid"),
        ("17 KiB", signed(json!({"padding": "x".repeat(13_000)})), "token_invalid"),
    ]
}

#[test]
fn bad_tokens_get_the_same_code_from_the_filter_and_from_the_control_plane() {
    let shared = shared();
    for (name, token, code) in bad_tokens() {
        let filter = shared.use_token(&token);
        let control_plane = shared.log_out(&token);
        let expected = (401, code.to_owned());
        assert_eq!(told(&filter), expected, "{name}: {}", filter.text());
        assert_eq!(filter.code(), control_plane.code(), "{name}: {}", control_plane.text());
        assert_eq!(filter.json()["title"], "Unauthorized", "{name}");
    }
}

#[test]
fn two_credentials_are_refused_in_any_order() {
    let shared = shared();
    let (good, other) = (shared.log_in("alice").unwrap(), shared.log_in("alice").unwrap());
    let requests = [
        Request::get("/orders").bearer(&good).bearer("nonsense"),
        Request::get("/orders").bearer("nonsense").bearer(&good),
        Request::get("/orders").bearer(&good).bearer(&other),
        Request::get("/orders").bearer(&good).bearer(&good),
        Request::get("/orders").header("authorization", format!("Bearer {good}, Bearer {other}")),
        Request::get("/orders").header("authorization", format!("Basic x, Bearer {good}")),
    ];
    for request in requests {
        assert_eq!(told(&shared.send(&request)), (401, "token_invalid".into()), "{:?}", request.headers);
        let logout = Request { method: "POST".into(), target: "/api/v2/logout".into(), ..request };
        assert_eq!(told(&shared.send(&logout)), (401, "token_invalid".into()));
    }
    assert_eq!(shared.use_token(&good).status, 200);
}

#[test]
fn the_upstream_never_sees_an_identity_that_the_client_wrote() {
    let shared = shared();
    let token = shared.log_in("alice").unwrap();
    let mut request = Request::get("/orders").bearer(&token);
    for name in ["x-user-id", "X-User-Id", "X-USER-ID", "x_user_id", "X_User-Id"] {
        request = request.header(name, "root");
    }
    let answer = shared.send(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(echoed_header(&answer.json(), "x-user-id").as_deref(), Some("alice"));
    assert!(!answer.text().contains("root"), "{}", answer.text());
}

/// The upstream here drops trailers. The test shows that requests get through with trailers that the filter strips, and
/// with others.
#[test]
fn a_request_with_trailers_arrives() {
    let shared = shared();
    let upload = Request::post("/upload").bearer(&shared.log_in("alice").unwrap()).body("body");
    let trailers = [("x-user-id", "root"), ("authorization", "Bearer a.b.c"), ("x-checksum", "1")];
    for _ in 0..2 {
        let answer = http2::send_with_trailers(shared.stack.address(), &upload, &trailers).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(echoed_header(&answer.json(), "x-user-id").as_deref(), Some("alice"));
    }
}

#[test]
fn bytes_that_are_not_utf8_do_no_harm() {
    let shared = shared();
    let token = shared.log_in("alice").unwrap();
    let odd = Request::get("/orders").bearer(&token).header("x-name", b"caf\xe9").header("cookie", b"\xff=\x80");
    let answer = shared.send(&odd);
    assert_eq!(answer.status, 200, "{}", answer.text());
    for value in [&b"Bearer \xff\xfe"[..], b"\xe2\x98\x83", b"Bearer \xc2\xa0a.b.c"] {
        let answer = shared.send(&Request::get("/orders").header("authorization", value));
        assert!(matches!(answer.status, 400 | 401), "{}", answer.text());
    }
    let raw = b"GET /caf\xe9 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(shared.stack.address(), raw, "GET").unwrap();
    assert!(matches!(answer.status, 400 | 401), "{}", answer.text());
    assert_eq!(shared.use_token(&token).status, 200, "the VMs are alive");
}

#[test]
fn no_odd_path_reaches_what_is_protected() {
    let shared = shared();
    for path in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/%2E%2E%2Fadmin",
        "/public/%252e%252e/admin",
        "//public/../admin",
        "//admin",
        "/./admin",
        "/public/..;/admin",
        "/public;x=1/../admin",
        "/public/..\\admin",
        "/public\\..\\admin",
        "/PUBLIC/admin",
        "/%61dmin",
        "/admin%00.css",
        "/admin?x=/public/",
        "/admin#/public/",
        "/api/v2/logout/../../../admin",
        "/healthz/../admin",
        "http://localhost/admin",
        "/public/%c0%ae%c0%ae/admin",
    ] {
        let answer = shared.send(&Request::get(path));
        let reached = answer.json()["path"].as_str().unwrap_or_default().to_owned();
        let harmless = answer.status != 200 || (reached.starts_with("/public/") && !reached.contains(".."));
        assert!(harmless, "{path} reached {reached}: {}", answer.text());
    }
}

#[test]
fn odd_methods_and_shapes_get_an_answer() {
    let shared = shared();
    for method in ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        let answer = shared.send(&Request::new(method, "/orders"));
        assert!((400..=405).contains(&answer.status), "{method}: {}", answer.status);
    }
    let large = Request::get("/orders").header("x-large", "x".repeat(80_000));
    assert!(matches!(shared.send(&large).status, 400 | 431));
    let upgrade = Request::get("/orders").header("upgrade", "websocket");
    assert!(matches!(shared.send(&upgrade).status, 400..=403));
}

#[test]
fn a_grpc_call_gets_a_grpc_status() {
    let shared = shared();
    let answer = shared.send(&Request::post("/shop.Orders/List").header("content-type", "application/grpc"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("grpc-status"), Some("16"), "{:?}", answer.headers);
    assert!(answer.body.is_empty());
}

#[test]
fn the_internal_listener_gives_nothing_away_without_its_secret() {
    let shared = shared();
    let internal = shared.stack.control_plane.internal();
    for (method, path) in
        [("POST", "/internal/v1/check"), ("POST", "/internal/v1/tokens"), ("GET", "/internal/v1/users/alice/sessions")]
    {
        for authorization in ["", "Bearer wrong", "Basic eDp5"] {
            let request = Request::new(method, path).header("authorization", authorization).body("{}");
            let answer = request.header("content-type", "application/json").send(internal).unwrap();
            assert_eq!(told(&answer), (401, "credentials_invalid".into()), "{path} {authorization}");
        }
        assert_ne!(shared.send(&Request::new(method, path)).status, 200, "{path} through Envoy");
    }
}
