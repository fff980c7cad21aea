//! Texts that are not acceptable tokens: each gets 401 with its code, and leaves no trace in the database.

use axum::http::HeaderValue;
use serde_json::json;

use crate::plane::{Plane, ask, post};
use crate::tokens::{ISSUER, NOW, SECRET, claims, encoded, signed, token, token_of, with};

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Tries a token on every public endpoint, and as a registration.
async fn refused(plane: &Plane, what: &str, text: &str, code: &str) {
    for path in ["/api/v2/logout", "/api/v2/logout-all-device"] {
        let value = HeaderValue::from_bytes(format!("Bearer {text}").as_bytes()).unwrap();
        let answer = ask(plane.public(), post(path).header("authorization", value)).await;
        assert_eq!(answer.problem(), (401, code.to_owned()), "{what}: {}", answer.whole());
        assert!(answer.body.contains(r#""title":"Unauthorized""#), "{what}: {}", answer.whole());
        assert!(answer.head.contains("www-authenticate: Bearer "), "{what}: {}", answer.whole());
    }
    let registered = plane.register(&[&token_of("bob", "good"), text]).await;
    assert_eq!(registered.problem(), (400, code.to_owned()), "{what}: {}", registered.whole());
    assert!(registered.body.contains("tokens[1]: "), "{what}: {}", registered.whole());
    assert_eq!(plane.rows().await, (0, 0, 0), "{what}");
}

#[tokio::test]
async fn framing() {
    let plane = Plane::start().await;
    let good = token_of("alice", "1");
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = input.split_once('.').unwrap();
    // The last character of 32 bytes carries two bits that must be zero.
    let respelled = ["B", "C", "D"].map(|last| format!("{}{last}", &good[..good.len() - 1]));
    let cases = [
        ("no dots", "abc".to_owned()),
        ("one dot", input.to_owned()),
        ("four parts", format!("{good}.x")),
        ("JWE", "a.b.c.d.e".to_owned()),
        ("empty header", format!(".{payload}.{signature}")),
        ("empty payload", format!("{header}..{signature}")),
        ("empty signature", format!("{input}.")),
        ("doubled dot", format!("{header}..{payload}.{signature}")),
        ("padding", format!("{good}=")),
        ("trailing dot", format!("{good}.")),
        ("standard alphabet", format!("{input}.+/+/")),
        ("inner space", format!("{header} .{payload}.{signature}")),
        ("two credentials", format!("{good}, Bearer {good}")),
        ("JSON serialisation", r#"{"payload":"e30","protected":"e30","signature":"e30"}"#.to_owned()),
        ("not ASCII", format!("{good}\u{e9}")),
        ("over 16 KiB", format!("{header}.{}.{signature}", "A".repeat(16_384))),
        ("60 KB", "A".repeat(60_000)),
    ];
    for (what, text) in cases {
        refused(&plane, what, &text, "token_invalid").await;
    }
    for text in respelled.iter().filter(|text| **text != good) {
        refused(&plane, "respelled signature", text, "token_invalid").await;
    }
}

#[tokio::test]
async fn headers() {
    let plane = Plane::start().await;
    let payload = claims("alice", "1").to_string();
    let headers = [
        r#"{"alg":"none","typ":"JWT"}"#,
        r#"{"alg":"None"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS256 "}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","kid":7}"#,
        r#"{"alg":"HS256","kid":"../../etc/passwd"}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","b64":true}"#,
        r#"{"alg":"HS256","zip":"DEF"}"#,
        r#"{"alg":"HS256","cty":"JWT"}"#,
        r#"{"alg":"HS256","typ":"logout+jwt"}"#,
        r#"{"alg":"HS256","typ":"dpop+jwt"}"#,
        r#"["HS256"]"#,
        r#" {"alg":"HS256"}"#,
        "\u{feff}{}",
    ];
    for header in headers {
        refused(&plane, header, &signed(header, &payload), "token_invalid").await;
    }
    let long = format!(r#"{{"alg":"HS256","x":"{}"}}"#, "a".repeat(8192));
    refused(&plane, "a header over 8 KiB", &signed(&long, &payload), "token_invalid").await;
}

#[tokio::test]
async fn claims_of_the_wrong_kind() {
    let plane = Plane::start().await;
    let changes = [
        json!({"exp": null}),
        json!({"exp": "1900000000"}),
        json!({"exp": true}),
        json!({"exp": [NOW + 60]}),
        json!({"exp": -1}),
        json!({"exp": 0}),
        json!({"exp": NOW + 31 * 24 * 3600}),
        json!({"nbf": NOW + 6}),
        json!({"nbf": "now"}),
        json!({"iat": NOW + 6}),
        json!({"iat": "now"}),
        json!({"iss": "https://evil.example.com"}),
        json!({"iss": ["https://issuer.example.com"]}),
        json!({"iss": null}),
        json!({"jti": ""}),
        json!({"jti": "a\u{0}b"}),
        json!({"jti": "a".repeat(257)}),
        json!({"sid": ""}),
        json!({"sid": {"a": 1}}),
        json!({"sub": ""}),
        json!({"sub": "a\u{0}b"}),
        json!({"sub": "a".repeat(257)}),
        json!({"sub": 1.5}),
        json!({"sub": ["alice"]}),
    ];
    for change in changes {
        let text = token(&with(claims("alice", "1"), change.clone()));
        refused(&plane, &change.to_string(), &text, "token_invalid").await;
    }
}

#[tokio::test]
async fn payloads_that_are_not_one_strict_object() {
    let plane = Plane::start().await;
    let good = claims("alice", "1").to_string();
    let inner = &good[1..good.len() - 1];
    let payloads = [
        format!("{{{inner},\"jti\":\"2\"}}"),
        format!("{{{inner},\"\\u006ati\":\"2\"}}"),
        format!("{{{inner},\"exp\":1e400}}"),
        format!("{{{inner},\"x\":{}1{}}}", "[".repeat(40), "]".repeat(40)),
        format!("{{{inner}}} trailing"),
        format!("[{good}]"),
        "null".to_owned(),
        String::from("{"),
    ];
    for payload in payloads {
        refused(&plane, &payload, &signed(HEADER, &payload), "token_invalid").await;
    }
    let not_utf8 = format!("{}.{}.AAAA", encoded(HEADER.as_bytes()), encoded(b"{\"sub\":\"\xff\"}"));
    refused(&plane, "not UTF-8", &not_utf8, "token_invalid").await;
}

#[tokio::test]
async fn signatures() {
    let plane = Plane::start().await;
    let good = token_of("alice", "1");
    let (input, signature) = good.rsplit_once('.').unwrap();
    let other = token_of("mallory", "1");
    let (_, foreign) = other.rsplit_once('.').unwrap();
    let cases = [
        ("another token's signature", format!("{input}.{foreign}")),
        ("truncated", format!("{input}.{}", &signature[..40])),
        ("all zero", format!("{input}.{}", encoded(&[0; 32]))),
        ("longer", format!("{input}.{}", encoded(&[0; 64]))),
    ];
    for (what, text) in cases {
        refused(&plane, what, &text, "token_invalid").await;
    }
}

#[tokio::test]
async fn expired_tokens_have_a_code_of_their_own() {
    let plane = Plane::start().await;
    for exp in [1, NOW - 3600, NOW - 6, NOW - 5] {
        let text = token(&with(claims("alice", "1"), json!({"exp": exp, "iat": exp - 1})));
        refused(&plane, &exp.to_string(), &text, "token_expired").await;
    }
    let within_skew = token(&with(claims("alice", "1"), json!({"exp": NOW - 4, "iat": NOW - 60})));
    assert_eq!(plane.logout(&within_skew).await.status, 200);
}

#[tokio::test]
async fn credentials_that_are_not_a_bearer_token() {
    let plane = Plane::start().await;
    let good = token_of("alice", "1");
    let cases: [(&[u8], &str); 8] = [
        (b"", "token_missing"),
        (b"Bearer", "token_missing"),
        (b"Bearer ", "token_missing"),
        (b"Basic dXNlcjpwYXNz", "token_invalid"),
        (b"Basic x, Bearer y", "token_invalid"),
        (b"Bearer\ta.b.c", "token_invalid"),
        (b"Bearer \xc2\xa0a.b.c", "token_invalid"),
        (b"Bearer a.b.\xff", "token_invalid"),
    ];
    for (value, code) in cases {
        let request = post("/api/v2/logout").header("authorization", HeaderValue::from_bytes(value).unwrap());
        assert_eq!(ask(plane.public(), request).await.problem(), (401, code.to_owned()), "{value:?}");
    }
    let glued = post("/api/v2/logout").header("authorization", format!("Bearer{good}"));
    assert_eq!(ask(plane.public(), glued).await.problem(), (401, "token_invalid".to_owned()));
    assert_eq!(plane.rows().await, (0, 0, 0));
}

#[tokio::test]
async fn refusals_are_counted_by_code_and_by_reason() {
    let plane = Plane::start().await;
    plane.logout("x.y.z").await;
    plane.logout(&token(&with(claims("alice", "1"), json!({"exp": 1, "iat": 0})))).await;
    ask(plane.public(), post("/api/v2/logout")).await;
    assert_eq!(
        plane.state.failures.take().as_deref(),
        Some("token_expired=1 token_invalid/encoding=1 token_missing=1")
    );
    let metrics = plane.state.measured().unwrap();
    for line in [
        r#"curfew_logouts_total{endpoint="logout",outcome="token_invalid"} 1"#,
        r#"curfew_logouts_total{endpoint="logout",outcome="token_expired"} 1"#,
        r#"curfew_logouts_total{endpoint="logout",outcome="token_missing"} 1"#,
        r#"curfew_tokens_refused_total{reason="expired"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
}

/// It logs out what the filter admits, and nothing else.
#[tokio::test]
async fn refresh_tokens_and_tokens_without_a_user_where_the_issuer_says_so() {
    let required = json!({"token_type": [null, "access"]});
    let issuer = json!({"issuer": ISSUER, "secret": SECRET, "required_claims": required, "require_user": true});
    let plane = Plane::start_with(json!({"issuers": [issuer]})).await;
    let refresh = token(&with(claims("alice", "1"), json!({"token_type": "refresh"})));
    refused(&plane, "a refresh token", &refresh, "token_invalid").await;
    let nobody = token(&with(claims("alice", "1"), json!({"sub": null})));
    refused(&plane, "no user", &nobody, "token_invalid").await;
    let answer = plane.logout(&refresh).await;
    assert!(answer.body.contains("The token lacks a claim that is required here"), "{}", answer.whole());
    let answer = plane.logout(&nobody).await;
    assert!(answer.body.contains("The token names no user."), "{}", answer.whole());
    let access = token(&with(claims("alice", "1"), json!({"token_type": "access"})));
    assert_eq!(plane.logout(&access).await.status, 200);
}
