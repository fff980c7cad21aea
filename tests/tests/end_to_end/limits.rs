//! Failed logouts through Envoy are counted under the client's address as Envoy saw it, and unfinished ones hold up no
//! other client.

use std::io::Write;
use std::time::{Duration, Instant};

use curfew_testbed::http::Request;
use curfew_testbed::http::connect;
use curfew_testbed::stack::Plan;
use curfew_testbed::tokens::{Signer, claims};

use crate::shared::told;

#[test]
fn a_client_cannot_choose_the_address_that_its_failures_are_counted_under() {
    let mut plan = Plan::shipped().unwrap();
    plan.settings.set("CURFEW_FAILED_LOGOUTS_PER_MINUTE", "2");
    let signer = Signer::from_secret(plan.settings.required("JWT_SECRET").unwrap());
    let stack = plan.start().unwrap();
    let forged = |number: u8| {
        let from = format!("198.51.100.{number}");
        Request::post("/api/v2/logout").bearer(&format!("a.b.c{number}")).header("x-forwarded-for", from)
    };
    let invalid = (401, "token_invalid".to_owned());
    let too_many = (429, "too_many_requests".to_owned());
    for (number, expected) in [(1, &invalid), (2, &invalid), (3, &too_many)] {
        assert_eq!(&told(&stack.send(&forged(number)).unwrap()), expected, "{number}");
    }
    let limited = stack.send(&forged(4)).unwrap();
    assert_eq!(limited.header("content-type"), Some("application/problem+json"));
    assert_eq!(limited.header("cache-control"), Some("no-store"));
    assert!(limited.header("retry-after").is_some_and(|seconds| (1..=30).contains(&seconds.parse().unwrap())));
    // The address that Envoy writes counts: another address is another client.
    let as_if_from_envoy = forged(5).send(stack.control_plane.public()).unwrap();
    assert_eq!(told(&as_if_from_envoy), invalid);
    // A real logout of the same client succeeds.
    let token = signer.sign(&claims("alice")).unwrap();
    let logout = stack.send(&Request::post("/api/v2/logout").bearer(&token)).unwrap();
    assert_eq!((logout.status, logout.text().as_str()), (200, r#"{"message":"Successfully Logged Out."}"#));
}

/// More requests than Envoy's default limit for one cluster.
const UNFINISHED: usize = 1_100;

#[test]
fn clients_that_never_finish_their_logouts_do_not_keep_others_from_theirs() {
    let stack = Plan::shipped().unwrap().start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    let unfinished = b"POST /api/v2/logout HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n";
    let began = Instant::now();
    let held: Vec<_> = (0..UNFINISHED)
        .map(|_| {
            let mut client = connect(stack.address()).unwrap();
            client.write_all(unfinished).unwrap();
            client
        })
        .collect();
    let token = signer.sign(&claims("alice")).unwrap();
    let asked = Instant::now();
    let logout = stack.send(&Request::post("/api/v2/logout").bearer(&token)).unwrap();
    println!("{} begun in {:?}, then a logout in {:?}", held.len(), asked - began, asked.elapsed());
    assert_eq!((logout.status, logout.text().as_str()), (200, r#"{"message":"Successfully Logged Out."}"#));
    // Waiting for one of those bodies would take 10 s.
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
}

#[test]
fn a_logout_with_a_small_body_is_answered_over_either_protocol() {
    let stack = Plan::shipped().unwrap().start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    for round in 0..20 {
        let logout = |user: &str| {
            let token = signer.sign(&claims(user)).unwrap();
            Request::post("/api/v2/logout").bearer(&token).json(&serde_json::json!({"round": round}))
        };
        assert_eq!(stack.send(&logout("alice")).unwrap().status, 200);
        assert_eq!(curfew_testbed::http2::send(stack.address(), &logout("bob")).unwrap().status, 200);
    }
}
