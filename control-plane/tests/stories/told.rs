//! What operators are told of calls that were answered as documented and look like a mistake in the settings.

use std::io::{Read, Write};
use std::net::TcpStream;

use curfew_core::{AGREEMENT_HEADER, Policy};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{Server, command, curfew, curfew_with};
use crate::plane::{Answer, Plane, ask_json, post, with_secret};
use crate::tokens::{ISSUER, OTHER_ISSUER, SECRET};

#[test]
fn a_logout_that_reaches_nobody_is_told_of_without_naming_anybody() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    let run = |arguments: &[&str]| curfew(directory.path(), &server, arguments);
    // The tokens carry user_id, and the server's user claim is sub.
    let mut mint = command(directory.path());
    mint.args(["token", "mint", "--user", "mallory", "--register"]).env("CURFEW_USER_CLAIM", "user_id");
    let (code, token, _) = curfew_with(mint, &server);
    assert_eq!(code, Some(0));
    let (code, shown, _) = run(&["token", "inspect", &token]);
    assert_eq!(code, Some(0));
    let told = "names no user: there is no claim \"sub\", so no logout of all devices reaches it\naccepted";
    assert!(shown.ends_with(told), "{shown}");
    for _ in 0..2 {
        assert_eq!(run(&["logout", "--user", "mallory"]).0, Some(0));
    }
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    for line in ["tokens were registered that name no user", "lgt-all: no token of this user is known"] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
    assert!(!log.contains("mallory"), "{log}");
}

/// A question of a filter with this policy, which computes its keys by another rule. `agreement` is the header that it
/// sends, if it is not too old for one.
async fn asked(plane: &Plane, path: &str, policy: &Value, agreement: bool) -> Answer {
    let (policy, _) = Policy::from_document(policy).unwrap();
    let mut request = with_secret(post(path));
    if agreement {
        request = request.header(AGREEMENT_HEADER, policy.agreement().to_string());
    }
    let keyspaces: Vec<String> = policy.keyspaces().map(|keyspace| keyspace.to_string()).collect();
    let question = match path {
        "/internal/v1/check" => json!({"keyspace": keyspaces[0], "token": "00".repeat(16)}),
        _ => json!({"worker": "aa".repeat(16), "keyspaces": keyspaces, "applied": 0}),
    };
    ask_json(plane.internal(), request, &question.to_string()).await
}

fn filter(changes: Value) -> Value {
    let mut policy = json!({"issuers": [{"issuer": ISSUER, "secret": SECRET}]});
    for (name, value) in changes.as_object().unwrap() {
        policy[name] = value.clone();
    }
    policy
}

#[tokio::test]
async fn a_filter_with_other_settings_is_told_which_ones_they_are() {
    let plane = Plane::start().await;
    let stranger = json!([{"issuer": ISSUER, "secret": SECRET}, {"issuer": "https://c.example.com", "secret": SECRET}]);
    for (changes, fields, said) in [
        (json!({"user_claim": "user_id"}), json!(["user_claim"]), "user_claim (CURFEW_USER_CLAIM)"),
        (
            json!({"issued_at_claim": "auth_time", "clock_skew": "6s"}),
            json!(["issued_at_claim", "clock_skew"]),
            "issued_at_claim (CURFEW_ISSUED_AT_CLAIM), clock_skew (CURFEW_CLOCK_SKEW)",
        ),
        (json!({"max_token_ttl": "1d"}), json!(["max_token_ttl"]), "max_token_ttl (CURFEW_MAX_TOKEN_TTL)"),
        (
            json!({"allow_missing_exp": true}),
            json!(["allow_missing_exp"]),
            "allow_missing_exp (CURFEW_ALLOW_MISSING_EXP)",
        ),
        (
            json!({"issuers": stranger, "user_claim": "uid"}),
            json!(["user_claim", "issuers"]),
            "user_claim (CURFEW_USER_CLAIM), issuers (CURFEW_ISSUER or CURFEW_ISSUERS_FILE)",
        ),
    ] {
        for path in ["/internal/v1/check", "/internal/v1/feed"] {
            let answer = asked(&plane, path, &filter(changes.clone()), true).await;
            assert_eq!(answer.problem(), (409, "keyspace_unknown".to_owned()), "{changes}");
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(body["differs"], fields, "{path} {changes}");
            assert_eq!(body["detail"], format!("The filter's settings are not the control plane's: {said}."));
        }
    }
}

#[tokio::test]
async fn a_filter_of_an_older_version_gets_the_same_answers() {
    let plane = Plane::start().await;
    let wrong = filter(json!({"user_claim": "user_id"}));
    for agreement in [false, true] {
        let answer = asked(&plane, "/internal/v1/feed", &wrong, agreement).await;
        assert_eq!(answer.problem(), (409, "keyspace_unknown".to_owned()));
        assert_eq!(answer.body.contains("differs"), agreement, "{}", answer.body);
        let answer = asked(&plane, "/internal/v1/check", &filter(json!({})), agreement).await;
        assert_eq!(answer.status, 200, "{}", answer.whole());
    }
    let nonsense = with_secret(post("/internal/v1/check")).header(AGREEMENT_HEADER, "nonsense");
    let question = json!({"keyspace": "00".repeat(16), "token": "00".repeat(16)}).to_string();
    let answer = ask_json(plane.internal(), nonsense, &question).await;
    assert_eq!(answer.problem(), (409, "keyspace_unknown".to_owned()));
    assert!(!answer.body.contains("differs"), "{}", answer.body);
}

#[test]
fn each_cause_of_a_disagreement_is_one_line_in_the_log() {
    let directory = TempDir::new().unwrap();
    let mut serve = command(directory.path());
    serve
        .env("JWT_SECRET", SECRET)
        .env("CURFEW_ISSUER", OTHER_ISSUER)
        .env("CURFEW_INTERNAL_SECRET", "0123456789abcdef");
    let server = Server::spawn(directory.path(), serve);
    for changes in [json!({}), json!({"user_claim": "user_id"}), json!({}), json!({"user_claim": "user_id"})] {
        let (policy, _) = Policy::from_document(&filter(changes)).unwrap();
        let keyspace = policy.keyspaces().next().unwrap().to_string();
        let body = json!({"keyspace": keyspace, "token": "00".repeat(16)}).to_string();
        let (agreement, length) = (policy.agreement(), body.len());
        let request = format!(
            "POST /internal/v1/check HTTP/1.1\r\nhost: x\r\nauthorization: Bearer 0123456789abcdef\r\n\
             content-type: application/json\r\n{AGREEMENT_HEADER}: {agreement}\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        );
        let mut connection = TcpStream::connect(server.internal.strip_prefix("http://").unwrap()).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    }
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("a filter has other settings")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(!lines[0].contains("CURFEW_USER_CLAIM") && lines[0].contains("CURFEW_ISSUERS_FILE"), "{log}");
    assert!(lines[1].contains("CURFEW_USER_CLAIM"), "{log}");
}
