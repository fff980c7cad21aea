//! Requests that wait for an answer in a VM that dies.
//!
//! Envoy makes no more calls into a failed VM, not even for the answer, and no event ends a paused stream but a
//! timeout. As long as no body is delivered and no response has begun, that is `stream_idle_timeout`, or
//! `request_timeout`, which runs until all filters have admitted the request.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use curfew_testbed::http::{Answer, Request};
use curfew_testbed::http2;
use curfew_testbed::link::Link;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};

use super::{A_MOMENT, BACK_OFF, is_envoys_refusal};

/// How much later than its bound a request may end on a busy machine.
const SLACK: Duration = Duration::from_secs(8);

/// The value in the shipped file.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The answers to all requests, and how long the last one took.
struct Waited {
    answers: Vec<Answer>,
    took: Duration,
    ended: Instant,
}

/// The control plane's answers pass a link that can hold them, and the filter waits long for them.
fn linked_plan() -> Result<(Plan, Signer)> {
    let (mut plan, signer) = super::plan()?;
    plan.linked = true;
    let plan = plan.change_filter(|filter| filter["control_plane"]["timeout"] = "20s".into())?;
    Ok((plan, signer))
}

fn link(stack: &Stack) -> Result<&Link> {
    stack.link.as_ref().context("the plan asked for a link")
}

/// Sends requests that wait for one answer, on one connection and so in one VM, and that trap there.
fn crowd(stack: &Stack, token: &str, place: &str) -> Result<Waited> {
    let request = Request::post(&format!("/{place}")).header("x-curfew-trap", place).bearer(token).body("a body");
    let begun = Instant::now();
    let answers = http2::send_crowd(stack.address(), &request, 1, 20)?;
    let ended = Instant::now();
    Ok(Waited { answers, took: ended - begun, ended })
}

/// Starts one crowd after the other, each of which makes its VM die. Returns their answers, and when the control
/// plane's answer to each was released.
fn crowds<const N: usize>(stack: &Stack, signer: &Signer, places: [&'static str; N]) -> Result<Vec<(Waited, Instant)>> {
    let link = link(stack)?;
    thread::scope(|scope| {
        let crowds = places.map(|place| {
            thread::sleep(BACK_OFF);
            let token = signer.sign(&claims("alice"));
            link.hold_all();
            let crowd = scope.spawn(move || crowd(stack, &token?, place));
            thread::sleep(A_MOMENT);
            let answered = Instant::now();
            link.mend();
            thread::sleep(A_MOMENT);
            (crowd, answered)
        });
        let joined = crowds.into_iter().map(|(crowd, answered)| {
            let waited = crowd.join().map_err(|_| anyhow!("a client panicked"))??;
            Ok((waited, answered))
        });
        joined.collect()
    })
}

/// All requests are refused, the last one at the bound.
fn all_end_at(bound: Duration, crowd: &Waited) {
    println!("{} waiting requests had ended after {:.2} s", crowd.answers.len(), crowd.took.as_secs_f64());
    assert!(crowd.answers.iter().all(is_envoys_refusal), "{:?}", crowd.answers);
    // Envoy's timer and this clock differ a little.
    let early = Duration::from_millis(50);
    assert!(crowd.took + early >= bound && crowd.took < bound + SLACK, "{:?} instead of {bound:?}", crowd.took);
}

#[test]
fn requests_that_wait_in_a_vm_that_dies_are_refused_at_the_idle_timeout() {
    let (plan, signer) = linked_plan().unwrap();
    let stack = plan.start().unwrap();
    for (crowd, _) in crowds(&stack, &signer, ["answer", "tick"]).unwrap() {
        all_end_at(IDLE_TIMEOUT, &crowd);
    }
    assert_eq!((stack.upstream.requests_to("/answer"), stack.upstream.requests_to("/tick")), (0, 0));
}

#[test]
fn a_request_timeout_ends_the_wait_in_a_dead_vm_sooner() {
    let (mut plan, signer) = linked_plan().unwrap();
    plan.bootstrap.add_to_connection_manager("request_timeout", "2s".into()).unwrap();
    let stack = plan.start().unwrap();
    let waited = crowds(&stack, &signer, ["answer", "tick", "body"]).unwrap();
    let [(answer, _), (tick, _), (body, answered)] = waited.as_slice() else { panic!("three crowds") };
    all_end_at(Duration::from_secs(2), answer);
    all_end_at(Duration::from_secs(2), tick);
    assert_eq!((stack.upstream.requests_to("/answer"), stack.upstream.requests_to("/tick")), (0, 0));
    // A body reaches the filter only after the verdict. The trap then ends its own stream and all that were released
    // with it; no request waits for a timeout.
    println!("{} requests with a body that traps had ended after {:?}", body.answers.len(), body.took);
    assert!(body.answers.iter().all(is_envoys_refusal), "{:?}", body.answers);
    assert!(body.ended > *answered, "the body came before the verdict");
}
