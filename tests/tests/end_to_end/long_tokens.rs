//! The longest tokens that can be allowed, through every part.

use curfew_testbed::http::Request;
use curfew_testbed::http2;
use curfew_testbed::stack::Plan;
use curfew_testbed::tokens::{Signer, claims, now, with};
use serde_json::json;

use crate::shared::told;

const LONGEST: usize = 48 * 1024;

/// A token of exactly this length, with as many roles as it takes.
fn token(signer: &Signer, user: &str, length: usize) -> String {
    let mut claims = with(claims(user), json!({"iat": now(), "roles": []}));
    let with_text = |text: usize, claims: &mut serde_json::Value| {
        claims["roles"] = json!(vec!["orders.read"; 20]);
        claims["groups"] = json!("g".repeat(text));
        signer.sign(claims).unwrap()
    };
    let bare = with_text(0, &mut claims).len();
    let estimate = (length - bare) * 3 / 4;
    // Three bytes become four characters.
    let found = (estimate - 4..estimate + 5).map(|text| with_text(text, &mut claims));
    found.into_iter().find(|token| token.len() == length).unwrap()
}

#[test]
fn a_token_of_48_kib_is_admitted_registered_explained_and_logged_out() {
    let mut plan = Plan::shipped().unwrap();
    plan.settings.set("CURFEW_MAX_TOKEN_BYTES", LONGEST.to_string());
    let plan = plan.change_filter(|filter| filter["max_token_bytes"] = json!(LONGEST)).unwrap();
    let stack = plan.start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    let get = |token: &str| Request::get("/orders").bearer(token);
    let post = |path: &str, token: &str| Request::post(path).bearer(token);
    let over_either = |request: &Request| {
        [stack.send(request).unwrap(), http2::send(stack.address(), request).unwrap()].map(|answer| told(&answer))
    };
    let [one, two, all] = ["alice", "bob", "carol"].map(|user| token(&signer, user, LONGEST));

    let registered = stack.control_plane.register(&[&one]).unwrap();
    assert_eq!((registered.status, registered.json()["registered"].clone()), (200, json!(1)), "{}", registered.text());
    for token in [&one, &two, &all] {
        assert_eq!(over_either(&get(token)), [(200, String::new()), (200, String::new())]);
    }
    let explained = |token: &str| {
        let answer = stack.control_plane.ask(Request::post("/internal/v1/explain").json(&json!({"token": token})));
        let answer = answer.unwrap().json();
        (answer["accepted"].clone(), answer["revoked"].clone())
    };
    assert_eq!(explained(&one), (json!(true), json!(false)));
    assert_eq!(stack.send(&post("/api/v2/logout", &one)).unwrap().status, 200);
    assert_eq!(http2::send(stack.address(), &post("/api/v2/logout", &two)).unwrap().status, 200);
    assert_eq!(stack.send(&post("/api/v2/logout-all-device", &all)).unwrap().status, 200);
    for token in [&one, &two, &all] {
        let refused = (401, "token_revoked".to_owned());
        assert_eq!(over_either(&get(token)), [refused.clone(), refused]);
        assert_eq!(explained(token), (json!(true), json!(true)));
    }

    let longer = token(&signer, "dave", LONGEST + 1);
    let refused = (401, "token_invalid".to_owned());
    assert_eq!(over_either(&get(&longer)), [refused.clone(), refused.clone()]);
    assert_eq!(stack.send(&get(&longer)).unwrap().json()["detail"], "The token is too long.");
    assert_eq!(told(&stack.send(&post("/api/v2/logout", &longer)).unwrap()), refused);
    assert_ne!(stack.control_plane.register(&[&longer]).unwrap().status, 200);
}
