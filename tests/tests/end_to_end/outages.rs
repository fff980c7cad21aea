//! Parts that die: the answers to clients meanwhile, and that nothing is forgotten.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use curfew_testbed::http::Request;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};

use crate::shared::{PATIENCE, dies_within_the_bound, told};

const BOUND: Duration = Duration::from_secs(1);

fn start() -> Result<(Stack, Signer)> {
    let plan = Plan::shipped()?.bounded("1s")?;
    let signer = Signer::from_secret(plan.settings.required("JWT_SECRET")?);
    Ok((plan.start()?, signer))
}

fn use_token(stack: &Stack, token: &str) -> Result<curfew_testbed::http::Answer> {
    stack.send(&Request::get("/orders").bearer(token))
}

/// Envoy may need a moment to notice that the control plane is back.
pub(crate) fn is_admitted_again(stack: &Stack, token: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = use_token(stack, token)?;
        if answer.status == 200 {
            return Ok(());
        }
        ensure!(answer.status == 503, "{} {}", answer.status, answer.text());
        ensure!(Instant::now() < deadline, "still {} after {PATIENCE:?}", answer.text());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_control_plane_that_dies_costs_fresh_answers_and_forgets_nothing() {
    let (mut stack, signer) = start().unwrap();
    let [alive, dead, fresh] = [(); 3].map(|()| signer.sign(&claims("alice")).unwrap());
    for token in [&alive, &dead] {
        assert_eq!(use_token(&stack, token).unwrap().status, 200);
    }

    // Killed right after the 200: an answered logout is durable.
    let logout = stack.send(&Request::post("/api/v2/logout").bearer(&dead)).unwrap();
    let at = Instant::now();
    stack.control_plane.kill().unwrap();
    assert_eq!(logout.status, 200, "{}", logout.text());

    let unsure = use_token(&stack, &fresh).unwrap();
    assert_eq!(told(&unsure), (503, "unavailable".into()));
    assert_eq!(unsure.header("retry-after"), Some("1"));
    assert_eq!(unsure.header("content-type"), Some("application/problem+json"));
    std::thread::sleep((at + BOUND).saturating_duration_since(Instant::now()));
    for token in [&alive, &dead] {
        for _ in 0..10 {
            let answer = use_token(&stack, token).unwrap();
            assert_ne!(answer.status, 200, "nobody can say whether it is alive");
        }
    }
    // A request that needs no answer from the control plane is decided; the logout itself is refused, not swallowed.
    assert_eq!(told(&stack.send(&Request::get("/orders")).unwrap()), (401, "token_missing".into()));
    assert_eq!(stack.send(&Request::get("/healthz")).unwrap().status, 200);
    assert_eq!(stack.send(&Request::post("/api/v2/logout").bearer(&alive)).unwrap().status, 503);
    assert!(stack.envoy.is_running());
    let denied = stack.envoy.metric("curfew_requests_unavailable_denied").unwrap();
    assert!(denied.is_some_and(|denied| denied > 0), "{denied:?}");

    stack.control_plane.restart().unwrap();
    is_admitted_again(&stack, &alive).unwrap();
    is_admitted_again(&stack, &fresh).unwrap();
    dies_within_the_bound(&stack, &dead, at, BOUND).unwrap();
}

#[test]
fn a_control_plane_with_another_rule_for_keys_is_an_outage_and_not_a_bypass() {
    let mut plan = Plan::shipped().unwrap();
    plan.settings.set("CURFEW_USER_CLAIM", "user_id");
    let signer = Signer::from_secret(plan.settings.required("JWT_SECRET").unwrap());
    let stack = plan.start().unwrap();
    let token = signer.sign(&claims("alice")).unwrap();
    let answer = use_token(&stack, &token).unwrap();
    assert_eq!(told(&answer), (503, "unavailable".into()), "{}", answer.text());
    let log = stack.envoy.output();
    assert!(log.contains("the control plane gives no verdicts: 409: "), "{log}");
}
