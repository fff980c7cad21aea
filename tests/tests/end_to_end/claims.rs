//! Rules that ask for claims, audiences, templates and hosts, and claims that become headers.

use std::collections::BTreeSet;

use curfew_testbed::http::{Answer, Request};
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use curfew_testbed::upstream::echoed_header;
use serde_json::{Value, json};

use crate::shared::told;

fn stack(change: impl FnOnce(&mut Value)) -> (Stack, Signer) {
    let stack = Plan::shipped().unwrap().change_filter(change).unwrap().start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    (stack, signer)
}

fn token(signer: &Signer, changes: &Value) -> String {
    let mut claims = claims("alice");
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    signer.sign(&claims).unwrap()
}

#[test]
fn a_token_without_the_claim_that_a_path_requires_is_forbidden() {
    let (stack, signer) = stack(|filter| {
        let more = json!([
            {"path": "/orders", "methods": ["GET"], "action": "require", "claims": {"scope": {"contains": "orders.read"}}},
            {"prefix": "/orders", "action": "require", "claims": {"scope": {"contains": "orders.write"}}},
            {"template": "/tenants/{id}/billing", "action": "require", "audiences": ["billing"]},
            {"prefix": "/", "hosts": ["admin.example.com"], "action": "require", "claims": {"realm_access.roles": "admin"}},
            {"prefix": "/trial", "action": "require", "claims": {"trial": true}, "report_only": true},
        ]);
        filter["rules"].as_array_mut().unwrap().extend(more.as_array().unwrap().clone());
    });
    let get = |target: &str, token: &str| stack.send(&Request::get(target).bearer(token)).unwrap();
    let reader = token(&signer, &json!({"scope": "profile orders.read"}));
    let biller = token(&signer, &json!({"aud": ["shop", "billing"], "realm_access": {"roles": ["user", "admin"]}}));

    assert_eq!(get("/orders", &reader).status, 200);
    let refused: Answer = stack.send(&Request::post("/orders").bearer(&reader)).unwrap();
    assert_eq!(told(&refused), (403, "insufficient_scope".into()));
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
    for target in ["/orders/7", "/ORDERS/7", "/ord%65rs/7"] {
        assert_eq!(told(&get(target, &reader)), (403, "insufficient_scope".into()), "{target}");
    }
    assert_eq!(get("/tenants/7/billing", &biller).status, 200);
    assert_eq!(told(&get("/tenants/7/billing", &reader)).0, 403);
    assert_eq!(get("/tenants/7", &reader).status, 200);
    let to =
        |host: &str, token: &str| stack.send(&Request::get("/").header("Host", host).bearer(token)).unwrap().status;
    assert_eq!(
        [to("admin.example.com", &biller), to("admin.example.com", &reader), to("example.com", &reader)],
        [200, 403, 200]
    );
    assert_eq!(get("/trial", &reader).status, 200);
    assert_eq!(stack.send(&Request::get("/trial")).unwrap().status, 200);

    assert_eq!(stack.send(&Request::post("/api/v2/logout").bearer(&reader)).unwrap().status, 200);
    assert_eq!(told(&get("/orders/7", &reader)), (401, "token_revoked".into()));
}

#[test]
fn claims_become_headers_and_an_empty_one_none() {
    let (stack, signer) = stack(|filter| {
        filter["identity_headers"] = json!({
            "x-user-id": "sub", "x-name": "name", "x-roles": {"claim": "realm_access.roles", "list": "comma"},
            "x-groups": {"claim": "groups"}, "x-payload": {"payload": "base64url"},
            "x-padded": {"payload": "base64url_padded"},
            "x-app-groups": {"claim": ["https://example.com/app", "groups"], "list": "comma"},
            "x-no-way": {"claim": "https://example.com/app.groups"},
        });
    });
    let changes = json!({
        "name": "", "realm_access": {"roles": ["a", "b"]}, "groups": ["ü", "x\r\nx-roles: root"],
        "https://example.com/app": {"groups": ["c", "d"]},
    });
    let token = token(&signer, &changes);
    let request = Request::get("/orders").bearer(&token).header("X-Name", "root").header("x-roles", "root");
    let answer = stack.send(&request).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = |name: &str| echoed_header(&answer.json(), name);
    assert_eq!(seen("x-user-id").as_deref(), Some("alice"));
    assert_eq!(seen("x-name"), None);
    assert_eq!(seen("x-roles").as_deref(), Some("a,b"));
    assert_eq!(seen("x-groups").as_deref(), Some(r#"["\u00fc","x\r\nx-roles: root"]"#));
    let payload = token.split('.').nth(1).unwrap();
    assert_eq!(seen("x-payload").as_deref(), Some(payload));
    assert_eq!(seen("x-app-groups").as_deref(), Some("c,d"), "a list names each step");
    assert_eq!(seen("x-no-way"), None, "dots in a name lead elsewhere");

    // Payloads of every length that base64 has.
    let mut paddings = BTreeSet::new();
    for more in ["", "1", "22", "333"] {
        let token = self::token(&signer, &json!({ "more": more }));
        let answer = stack.send(&Request::get("/orders").bearer(&token)).unwrap();
        let padded = echoed_header(&answer.json(), "x-padded").unwrap();
        assert_eq!(padded.len() % 4, 0);
        assert_eq!(padded.trim_end_matches('='), token.split('.').nth(1).unwrap());
        paddings.insert(padded.len() - padded.trim_end_matches('=').len());
    }
    assert_eq!(paddings, BTreeSet::from([0, 1, 2]));
}
