//! Failed logouts through Envoy are counted under the client's address as Envoy saw it.

use curfew_testbed::http::Request;
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
    // It is Envoy's word that counts: another one from it is another client.
    let as_if_from_envoy = forged(5).send(stack.control_plane.public()).unwrap();
    assert_eq!(told(&as_if_from_envoy), invalid);
    // A real logout of the same client goes through.
    let token = signer.sign(&claims("alice")).unwrap();
    let logout = stack.send(&Request::post("/api/v2/logout").bearer(&token)).unwrap();
    assert_eq!((logout.status, logout.text().as_str()), (200, r#"{"message":"Successfully Logged Out."}"#));
}
