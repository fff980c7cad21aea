//! Explaining a token: by the endpoint, and by `curfew explain`.

use std::fs::File;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{Server, command, curfew, curfew_with};
use crate::plane::{Plane, ask_json, post};
use crate::tokens::{ISSUER, NOW, claims, token, with};
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
    assert_eq!(before["token"]["key"], json!({"algorithm": "HS256", "kid": null}));
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
    assert!(told.starts_with("accepted, and not logged out\nkey         HS256 without kid\n"), "{told}");
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
