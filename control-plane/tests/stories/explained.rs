//! Explaining a token: by the endpoint, and by `curfew explain`.

use std::fs::File;
use std::process::Stdio;

use curfew_control_plane::leases;
use curfew_testbed::servers::Postgres;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::binary::{Server, command, curfew, curfew_with};
use crate::plane::{Plane, ask_json, post, with_secret};
use crate::tokens::{ISSUER, NOW, SECRET, claims, token, with};
use crate::worker::Worker;

const PATH: &str = "/internal/v1/explain";

async fn explained(plane: &Plane, token: &str) -> Value {
    let answer = plane.internal_post(PATH, json!({ "token": token })).await;
    assert_eq!(answer.status, 200, "{}", answer.whole());
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn a_token_is_explained_by_its_key_its_revocations_and_the_workers_that_hold_them() {
    let plane = Plane::start().await;
    let (phone, laptop) = (token(&claims("alice", "1")), token(&with(claims("alice", "2"), json!({"iat": NOW + 1}))));
    plane.register(&[&phone]).await;
    let before = explained(&plane, &phone).await;
    assert_eq!((&before["accepted"], &before["revoked"]), (&json!(true), &json!(false)));
    let key = json!({"algorithm": "HS256", "kid": null, "thumbprint": null, "source": "a secret", "changed_at": null});
    assert_eq!(before["token"]["key"], key);
    assert_eq!(before["stored"]["other_control_planes"], 0);
    assert_eq!((&before["token"]["user"], &before["token"]["issuer"]), (&json!("alice"), &json!(ISSUER)));
    assert_eq!(before["stored"]["registration"]["blocked"], false);
    let (mut holds, mut lacks) = (Worker::new(1), Worker::new(2));
    lacks.start(&plane).await;
    plane.logout_all(&phone).await;
    holds.start(&plane).await;
    holds.poll(&plane, 0).await;
    let after = explained(&plane, &phone).await;
    assert_eq!((&after["accepted"], &after["revoked"]), (&json!(true), &json!(true)));
    let stored = &after["stored"];
    let found: Vec<_> =
        stored["revocations"].as_array().unwrap().iter().map(|it| (&it["kind"], &it["covers"])).collect();
    assert_eq!(found, [(&json!("token"), &json!("yes")), (&json!("subject"), &json!("same_second"))]);
    assert_eq!(stored["revocations"][0]["reason"], "logout_all_device");
    assert_eq!(stored["registration"]["block_reason"], "logout_all_device");
    assert_eq!(stored["seq"], 2);
    let mut workers: Vec<_> = stored["workers"].as_array().unwrap().iter().map(|it| it["holds"].as_bool()).collect();
    workers.sort();
    assert_eq!(workers, [Some(false), Some(true)]);
    // A later login of the same user.
    plane.advance(2);
    let later = explained(&plane, &laptop).await;
    assert_eq!((&later["revoked"], &later["stored"]["revocations"][0]["covers"]), (&json!(false), &json!("no")));
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_explained_as_far_as_it_can_be_read() {
    let plane = Plane::start().await;
    let good = token(&claims("alice", "1"));
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let answer = explained(&plane, &forged).await;
    assert_eq!((&answer["accepted"], &answer["refusal"]["reason"]), (&json!(false), &json!("signature")));
    assert_eq!((&answer["token"]["user"], &answer["token"]["key"]), (&json!("alice"), &Value::Null));
    plane.logout(&good).await;
    // The key of the revocation is over what was signed, so it is found for the forged one, too.
    assert_eq!(explained(&plane, &forged).await["revoked"], true);
    let unread = explained(&plane, "no token").await;
    assert_eq!((&unread["accepted"], unread.get("revoked"), unread.get("token")), (&json!(false), None, None));
    let unknown = plane.internal_post(PATH, json!({"token": good, "path": "/"})).await;
    assert_eq!(unknown.problem(), (400, "request_malformed".to_owned()));
    let stranger = ask_json(plane.internal(), post(PATH), &json!({ "token": good }).to_string()).await;
    assert_eq!(stranger.problem(), (401, "credentials_invalid".to_owned()));
}

#[test]
fn the_command_line_explains_a_token_and_tells_a_good_one_by_its_exit_code() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    let (code, minted, _) = curfew(directory.path(), &server, &["token", "mint", "--user", "alice", "--register"]);
    assert_eq!(code, Some(0));
    let (code, told, _) = curfew(directory.path(), &server, &["explain", minted.trim()]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.starts_with("accepted, and not logged out\nkey         HS256 without kid\nof the set  from "),
        "{told}"
    );
    assert!(told.contains("\nuser        \"alice\"\n"), "{told}");
    assert_eq!(curfew(directory.path(), &server, &["logout", "--token", minted.trim()]).0, Some(0));
    // From standard input, where tokens belong.
    let mut explain = command(directory.path());
    let file = directory.path().join("token.txt");
    std::fs::write(&file, &minted).unwrap();
    explain.args(["explain", "-"]).stdin(File::open(file).unwrap());
    let (code, told, problem) = curfew_with(explain, &server);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.starts_with("logged out (token_revoked)\n") && told.contains("through logout, kept until"), "{told}");
    assert!(problem.contains("the token is not accepted"), "{problem}");
    let (code, json, _) = curfew(directory.path(), &server, &["explain", "--json", minted.trim()]);
    assert_eq!((code, serde_json::from_str::<Value>(&json).unwrap()["revoked"].clone()), (Some(1), json!(true)));
}

/// The configuration of a filter beside [`Plane::start`], with these members besides.
fn filter(changes: Value) -> Value {
    let filter = json!({
        "issuers": [{"issuer": ISSUER, "secret": SECRET}],
        "identity_headers": {"x-user-id": "sub"},
        "rules": [{"prefix": "/public", "action": "skip"}],
        "control_plane": {"cluster": "curfew", "secret_env": "HOME"},
    });
    with(filter, changes)
}

async fn answered(plane: &Plane, token: &str, filter: Value, request: Value) -> Value {
    let answer = plane.internal_post(PATH, json!({"token": token, "filter": filter, "request": request})).await;
    assert_eq!(answer.status, 200, "{}", answer.whole());
    serde_json::from_str::<Value>(&answer.body).unwrap()["filter"].clone()
}

#[tokio::test]
async fn what_a_filter_would_answer_follows_its_rules_and_the_log() {
    let plane = Plane::start().await;
    let phone = token(&claims("alice", "1"));
    let orders = || json!({"method": "POST", "path": "/orders", "host": "shop.example.com"});
    let admitted = answered(&plane, &phone, filter(json!({})), orders()).await;
    assert_eq!(
        admitted,
        json!({
            "decision": "admitted", "reason": "active", "token_in": "the header authorization", "rules": [],
            "ambiguous": false, "remarks": [],
            "upstream": {"set": [{"name": "x-user-id", "value": "alice"}], "removed": [], "replaced": []},
        })
    );
    let text = Value::String(filter(json!({"consistency": "bounded"})).to_string());
    assert_eq!(answered(&plane, &phone, text, orders()).await, admitted, "as a text, and in bounded mode");
    let skipped = answered(&plane, &phone, filter(json!({})), json!({"path": "/public/a", "source": "none"})).await;
    assert_eq!((&skipped["reason"], &skipped["rules"][0]["index"]), (&json!("skipped"), &json!(0)));
    plane.logout(&phone).await;
    for changes in [json!({}), json!({"consistency": "bounded"})] {
        let revoked = answered(&plane, &phone, filter(changes.clone()), orders()).await;
        let refusal = json!({
            "status": 401, "code": "token_revoked", "detail": "The token was logged out.",
            "response_code_details": "curfew_token_revoked",
            "challenge": "Bearer realm=\"curfew\", error=\"invalid_token\", error_description=\"The token was logged out.\"",
        });
        assert_eq!((&revoked["decision"], &revoked["refusal"]), (&json!("refused"), &refusal), "{changes}");
        assert_eq!(revoked.get("upstream"), None);
    }
    let reported = answered(&plane, &phone, filter(json!({"report_only": true})), orders()).await;
    assert_eq!((&reported["decision"], &reported["refusal"]["code"]), (&json!("reported"), &json!("token_revoked")));
    assert_eq!(plane.rows().await.2, 1, "explaining changes nothing");
}

#[tokio::test]
async fn a_filter_that_could_not_work_is_told_what_to_mend() {
    let plane = Plane::start().await;
    let phone = token(&claims("alice", "1"));
    let other = answered(&plane, &phone, filter(json!({"user_claim": "uid"})), json!({})).await;
    assert_eq!(other["refusal"]["code"], "unavailable");
    let remark = other["remarks"][0].as_str().unwrap();
    assert!(remark.contains("keyspace_unknown") && remark.contains("user_claim"), "{remark}");
    // The control plane signs for this issuer with a secret, and does not know the other one.
    let handed_out = json!({"issuers": [{"issuer": ISSUER}, {"issuer": "https://unknown.example.com"}]});
    let without = answered(&plane, &phone, filter(handed_out), json!({})).await;
    assert_eq!(without["refusal"]["response_code_details"], "curfew_unavailable_without_keys");
    let remarks = without["remarks"].to_string();
    assert!(remarks.contains("never handed out") && remarks.contains("which has no such issuer"), "{remarks}");
    // The control plane knows the keyspace of this token, and not all that a worker names in its polls.
    let one_more = json!({"issuers": [
        {"issuer": ISSUER, "secret": SECRET}, {"issuer": "https://unknown.example.com", "secret": SECRET.repeat(2)},
    ]});
    let asking = answered(&plane, &phone, filter(one_more), json!({})).await;
    assert_eq!(asking["decision"], "admitted");
    assert!(asking["remarks"][0].as_str().unwrap().contains("no lease (keyspace_unknown)"), "{asking}");
    let elsewhere = json!({"sources": [{"cookie": "t"}, {"query": "q"}], "forward": false});
    let taken =
        answered(&plane, &phone, filter(elsewhere.clone()), json!({"path": "/a?b=1", "source": "query:q"})).await;
    assert_eq!(
        (&taken["token_in"], &taken["upstream"]["replaced"]),
        (&json!("the query parameter q"), &json!([":path"]))
    );
    assert!(!taken.to_string().contains(&phone), "{taken}");
}

#[tokio::test]
async fn settings_that_differ_are_remarks_with_both_values_and_a_stricter_filter_is_none() {
    let issuer = json!({"issuer": ISSUER, "secret": SECRET, "audiences": ["shop"]});
    let plane = Plane::start_with(json!({"issuers": [issuer]})).await;
    let phone = token(&with(claims("alice", "1"), json!({"aud": "shop"})));
    let remarks = async |issuer: Value, changes: Value, request: Value| {
        let issuer = with(json!({"issuer": ISSUER, "secret": SECRET, "audiences": ["shop"]}), issuer);
        let filter = filter(with(json!({"issuers": [issuer]}), changes));
        answered(&plane, &phone, filter, request).await["remarks"].clone()
    };
    let [plain, public] = [json!({}), json!({"path": "/public/a"})];
    assert_eq!(remarks(json!({"require_user": true}), json!({}), plain.clone()).await, json!([]), "it accepts less");
    let named = format!("{ISSUER:?}");
    let refused = "The control plane refuses the filter's questions (keyspace_unknown). The settings differ: ";
    assert_eq!(
        remarks(json!({"token_lifetime": "1h", "clock_skew": "9s"}), json!({}), plain.clone()).await,
        json!([format!(
            "{refused}clock_skew of the issuer {named} is 9s in the filter and 5s in the control plane; token_lifetime of the \
             issuer {named} is 1h in the filter and not set in the control plane."
        )])
    );
    assert_eq!(
        remarks(json!({}), json!({"user_claim": "uid"}), public).await,
        json!([
            "The control plane refuses questions of this filter (keyspace_unknown); this request needs none of them. The \
                settings differ: user_claim is \"uid\" in the filter and \"sub\" in the control plane."
        ])
    );
    assert_eq!(
        remarks(json!({"audiences": ["shop", "admin"]}), json!({"max_token_bytes": 20000}), plain).await,
        json!([
            "The filter accepts tokens that the control plane refuses, and that cannot be logged out: max_token_bytes is 20000 \
             in the filter and 16384 in the control plane.",
            format!(
                "The filter accepts tokens that the control plane refuses, and that cannot be logged out: audiences of the issuer \
                 {named} is [\"shop\", \"admin\"] in the filter and [\"shop\"] in the control plane."
            )
        ])
    );
}

#[tokio::test]
async fn an_ambiguous_path_names_the_rules_that_do_not_apply() {
    let plane = Plane::start().await;
    let request = json!({"path": "/public/%2e%2e/x", "source": "none"});
    let body = json!({"filter": filter(json!({})), "request": request});
    let answer = plane.internal_post(PATH, body).await;
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&answer["accepted"], answer.get("refusal"), answer.get("token")), (&json!(false), None, None));
    let told = &answer["filter"];
    assert_eq!((&told["reason"], &told["rules"]), (&json!("token_missing"), &json!([])));
    assert_eq!((&told["ambiguous"], &told["ambiguity"]), (&json!(true), &json!("path")));
    let rule = json!({"index": 0, "rule": {"prefix": "/public", "action": "skip"}});
    assert_eq!(told["passed_over"], json!([rule]));
}

#[tokio::test]
async fn a_configuration_that_names_a_member_twice_is_refused_however_it_is_sent() {
    let plane = Plane::start().await;
    let twice = r#"{"issuers": [], "control_plane": {"cluster": "a", "cluster": "b"}}"#;
    let phone = token(&claims("alice", "1"));
    for (filter, code) in
        [(twice.to_owned(), "request_malformed"), (json!(twice).to_string(), "filter_configuration_invalid")]
    {
        let body = format!(r#"{{"token": "{phone}", "filter": {filter}}}"#);
        let answer = ask_json(plane.internal(), with_secret(post(PATH)), &body).await;
        assert_eq!(answer.problem(), (400, code.to_owned()));
        assert!(answer.body.contains("names a member twice"), "{}", answer.body);
    }
}

#[tokio::test]
async fn what_cannot_be_rehearsed_is_refused_with_its_reason() {
    let plane = Plane::start().await;
    let phone = token(&claims("alice", "1"));
    let refused = async |filter: Value, request: Value| {
        let body = json!({"token": phone, "filter": filter, "request": request});
        let answer = plane.internal_post(PATH, body).await;
        (answer.problem(), serde_json::from_str::<Value>(&answer.body).unwrap()["detail"].as_str().unwrap().to_owned())
    };
    let (problem, detail) = refused(filter(json!({"rulez": [], "cache_bytes": 1})), json!({})).await;
    assert_eq!(problem, (400, "filter_configuration_invalid".to_owned()));
    assert!(detail.contains("rulez") && detail.contains("cache_bytes"), "{detail}");
    assert_eq!(refused(json!("no JSON"), json!({})).await.0.1, "filter_configuration_invalid");
    let long = "x".repeat(60 * 1024);
    let many = json!({"headers": vec![json!({"name": "a", "value": ""}); 101]});
    for (request, word) in [
        (json!({"method": "GET /"}), "method"),
        (json!({"method": ""}), "method"),
        (json!({"path": "orders"}), "path"),
        (json!({"path": "/a b"}), "path"),
        (json!({"path": "/a\u{0}"}), "path"),
        (json!({"path": format!("/{long}")}), "head"),
        (json!({"host": ""}), "host"),
        (json!({"headers": [{"name": ":path", "value": "/"}]}), "headers[0].name"),
        (json!({"headers": [{"name": "host", "value": "a"}]}), "request.host"),
        (json!({"headers": [{"name": "a", "value": "b\r\nc: d"}]}), "headers[0].value"),
        (json!({"source": "cookie:nowhere"}), "header:authorization"),
        (many, "headers"),
    ] {
        let (problem, detail) = refused(filter(json!({})), request.clone()).await;
        assert_eq!(problem, (400, "request_malformed".to_owned()), "{request}");
        assert!(detail.contains(word), "{request}: {detail}");
    }
    assert_eq!(refused(json!(7), json!({})).await.0.1, "request_malformed");
    assert_eq!(refused(json!("x".repeat(257 * 1024)), json!({})).await.0.1, "request_malformed");
    for body in [
        json!({"token": phone, "request": {"path": "/"}}),
        json!({}),
        json!({"filter": filter(json!({}))}),
        json!({"filter": filter(json!({})), "request": {"source": "header:authorization"}}),
    ] {
        assert_eq!(plane.internal_post(PATH, body).await.problem(), (400, "request_malformed".to_owned()));
    }
}

#[tokio::test]
async fn other_control_planes_are_counted() {
    let postgres = Postgres::start().unwrap();
    let url = postgres.fresh_database("explained").unwrap();
    let policy = json!({"issuers": [{"issuer": ISSUER, "secret": SECRET}]});
    let here = Plane::start_on(Some(&url), policy.clone(), None, leases::Settings::default()).await;
    let there = Plane::start_on(Some(&url), policy, None, leases::Settings::default()).await;
    let phone = token(&claims("alice", "1"));
    let mut worker = Worker::new(1);
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        worker.poll(&there, 0).await;
        let told = explained(&here, &phone).await;
        if told["stored"]["other_control_planes"] == 1 {
            assert_eq!(told["stored"]["workers"], json!([]));
            break;
        }
        assert!(Instant::now() < until, "{told}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn the_command_line_says_what_a_filter_would_answer() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    let (_, minted, _) = curfew(directory.path(), &server, &["token", "mint", "--user", "alice"]);
    let run = |arguments: &[&str]| {
        let token = directory.path().join("token.txt");
        std::fs::write(&token, &minted).unwrap();
        let mut explain = command(directory.path());
        explain.arg("explain").args(arguments).stdin(File::open(token).unwrap());
        curfew_with(explain, &server)
    };
    let generated = std::fs::read(directory.path().join("curfew-data/secrets.json")).unwrap();
    let generated: Value = serde_json::from_slice(&generated).unwrap();
    let filter = json!({
        "issuers": [{"issuer": "http://curfew.localhost", "secret": generated["jwt_secret"]}],
        "rules": [{"prefix": "/public", "action": "skip"}],
        "identity_headers": {"x-user-id": "sub"},
        "control_plane": {"cluster": "curfew", "secret": "0123456789abcdef"},
    });
    std::fs::write(directory.path().join("filter.json"), filter.to_string()).unwrap();
    let (code, told, _) = run(&["--filter", "filter.json", "--path", "/orders", "--header", "X-User-Id: root"]);
    let lines: Vec<_> = told.lines().take(6).collect();
    assert_eq!(
        (code, lines),
        (
            Some(0),
            vec![
                "accepted, and not logged out",
                "filter      admits it (active)",
                "token in    the header authorization",
                "rule        none matches: the request needs a token",
                r#"upstream    gets x-user-id: "alice""#,
                "upstream    does not get the client's x-user-id",
            ]
        ),
        "{told}"
    );
    let (code, told, problem) = run(&["--filter", "filter.json", "--source", "none", "--path", "/orders"]);
    assert!(told.contains("filter      answers 401 token_missing: No token was sent"), "{told}");
    assert_eq!((code, problem.as_str()), (Some(1), "error: the filter would refuse the request"));
    let (code, told, _) = run(&["--filter", "filter.json", "--source", "none", "--path", "/public/a"]);
    assert!(told.contains(r#"rule        rules[0] {"action":"skip","prefix":"/public"}"#), "{told}");
    assert_eq!(code, Some(0));
    // Nobody has to send a token for that.
    let mut without = command(directory.path());
    without.args(["explain", "--filter", "filter.json", "--source", "none", "--path", "/public/%2e%2e/x"]);
    without.stdin(Stdio::piped());
    let (code, told, _) = curfew_with(without, &server);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[0], "no token: what the filter answers without one");
    assert_eq!(lines[5], r#"passed over rules[0] {"action":"skip","prefix":"/public"}"#, "{told}");
    assert_eq!(code, Some(1));
    std::fs::write(directory.path().join("envoy.yaml"), "static_resources:\n").unwrap();
    let (code, _, problem) = run(&["--filter", "envoy.yaml"]);
    assert!(problem.contains("this is a configuration of Envoy"), "{problem}");
    assert_eq!(code, Some(2));
    std::fs::write(directory.path().join("wrong.json"), "{}").unwrap();
    let (code, _, problem) = run(&["--filter", "wrong.json"]);
    assert!(problem.starts_with("error: --filter: wrong.json: The filter would refuse its configuration"), "{problem}");
    assert!(problem.ends_with("(filter_configuration_invalid)"), "{problem}");
    assert_eq!((code, run(&["--filter", "none.json"]).0, run(&["--path", "/"]).0), (Some(2), Some(2), Some(2)));
    let nowhere = run(&["--filter", "filter.json", "--source", "cookie:nowhere"]);
    assert_eq!((nowhere.0, nowhere.2.ends_with("(request_malformed)")), (Some(2), true), "{}", nowhere.2);
}
