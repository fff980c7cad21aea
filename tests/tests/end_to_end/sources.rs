//! Where a token may be, and how the upstream gets the request without it.

use curfew_testbed::http::Request;
use curfew_testbed::http2;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use curfew_testbed::upstream::echoed_header;
use serde_json::json;

use crate::shared::told;

fn stack(forward: bool) -> (Stack, String) {
    let plan = Plan::shipped().unwrap().change_filter(|filter| {
        filter["sources"] = json!([
            {"header": "authorization", "prefix": "JWT"}, {"header": "x-token"}, {"cookie": "access_token"},
            {"query": "token"}, {"subprotocol": "bearer"},
        ]);
        filter["other_schemes"] = json!("ignore");
        filter["forward"] = json!(forward);
    });
    let stack = plan.unwrap().start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    let token = signer.sign(&claims("alice")).unwrap();
    (stack, token)
}

/// A request with the token in each kind of place, and something beside it that must stay.
fn places(token: &str) -> [Request; 7] {
    let orders = || Request::get("/orders?a=%2Fb");
    [
        orders().header("Cookie", format!("access_token={token}")).header("Authorization", "Basic dTpw"),
        orders().header("Authorization", format!("JWT {token}")),
        orders().header("Authorization", format!("jwt  {token}")),
        orders().header("X-Token", token).header("Authorization", "Basic dTpw"),
        orders().header("Cookie", format!("theme=dark; access_token={token}; last=1")),
        Request::get(&format!("/orders?token={token}&a=%2Fb")),
        orders().header("Sec-WebSocket-Protocol", format!("chat.v1, bearer, {token}")),
    ]
}

#[test]
fn tokens_are_found_in_every_place_and_forwarded() {
    let (stack, token) = stack(true);
    for request in places(&token) {
        let answer = stack.send(&request).unwrap();
        assert_eq!(answer.status, 200, "{request:?}: {}", answer.text());
        assert!(answer.text().contains(&token), "{request:?}");
        assert_eq!(echoed_header(&answer.json(), "x-user-id").as_deref(), Some("alice"));
    }
    let bearer = stack.send(&Request::get("/orders").bearer(&token)).unwrap();
    assert_eq!(told(&bearer), (401, "token_invalid".into()));
    let twice = Request::get("/orders").header("Cookie", format!("access_token=stale.b.c; access_token={token}"));
    let answer = stack.send(&twice).unwrap();
    assert_eq!(told(&answer), (401, "token_invalid".into()));
    assert!(answer.text().contains("the cookie access_token more than once"), "{}", answer.text());
    assert_eq!(
        told(&stack.send(&Request::get("/orders").header("Authorization", "Basic dTpw")).unwrap()).1,
        "token_missing"
    );
}

#[test]
fn the_upstream_does_not_see_a_token_that_is_not_forwarded() {
    let (stack, token) = stack(false);
    for request in places(&token) {
        for answer in [stack.send(&request), http2::send(stack.address(), &request)] {
            let answer = answer.unwrap();
            assert_eq!(answer.status, 200, "{request:?}: {}", answer.text());
            let text = answer.text();
            assert!(!text.contains(&token) && !text.contains(token.rsplit('.').next().unwrap()), "{request:?}: {text}");
            assert_eq!(answer.json()["path"], "/orders?a=%2Fb", "{request:?}");
            assert_eq!(echoed_header(&answer.json(), "x-user-id").as_deref(), Some("alice"));
        }
    }
    let [cookie_and_basic, .., basic, cookies, _, protocols] = places(&token);
    let seen = |request: &Request, name: &str| echoed_header(&stack.send(request).unwrap().json(), name);
    assert_eq!(seen(&basic, "authorization").as_deref(), Some("Basic dTpw"));
    assert_eq!(seen(&cookie_and_basic, "authorization").as_deref(), Some("Basic dTpw"));
    assert_eq!(seen(&cookie_and_basic, "cookie"), None);
    assert_eq!(seen(&cookies, "cookie").as_deref(), Some("theme=dark; last=1"));
    assert_eq!(seen(&protocols, "sec-websocket-protocol").as_deref(), Some("chat.v1"));
    // The control plane needs the token, and these paths are skipped.
    let logout = Request::post("/api/v2/logout").bearer(&token);
    assert_eq!(stack.send(&logout).unwrap().status, 200);
    for request in places(&token) {
        assert_eq!(told(&stack.send(&request).unwrap()), (401, "token_revoked".into()), "{request:?}");
    }
}
