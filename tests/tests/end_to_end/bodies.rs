//! Requests that wait for a late answer: their bodies, their clients, their number, and logouts meanwhile.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use curfew_testbed::http::{Answer, Request, connect};
use curfew_testbed::http2;
use curfew_testbed::link::Link;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use curfew_testbed::upstream::sha256_hex;
use serde_json::json;

const SIZE: usize = 10 << 20;

/// Long enough for a request to reach the filter and its question to reach the link.
const A_MOMENT: Duration = Duration::from_millis(500);

fn start() -> Result<(Stack, Signer)> {
    let mut plan =
        Plan::shipped()?.bounded("2s")?.change_filter(|filter| filter["control_plane"]["timeout"] = json!("20s"))?;
    plan.linked = true;
    let signer = Signer::from_secret(plan.settings.required("JWT_SECRET")?);
    Ok((plan.start()?, signer))
}

fn link(stack: &Stack) -> Result<&Link> {
    stack.link.as_ref().context("the plan asked for a link")
}

/// Sends a request while the link holds everything, and mends the link a moment later.
fn send_through_a_held_link(stack: &Stack, send: impl FnOnce() -> Result<Answer> + Send) -> Result<Answer> {
    let link = link(stack)?;
    link.hold_all();
    thread::scope(|scope| {
        let answer = scope.spawn(send);
        thread::sleep(A_MOMENT);
        link.mend();
        answer.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the client panicked")))
    })
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in body.chunks(64 * 1024 + 7) {
        framed.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        framed.extend(chunk);
        framed.extend(b"\r\n");
    }
    framed.extend(b"0\r\n\r\n");
    framed
}

#[test]
fn large_bodies_wait_for_the_verdict_and_arrive_whole() {
    let (stack, signer) = start().unwrap();
    let body: Vec<u8> = (0..=250).cycle().take(SIZE).collect();
    let expected = (json!(SIZE), json!(sha256_hex(&body)));
    let upload = || Request::post("/upload").bearer(&signer.sign(&claims("alice")).unwrap());
    let address = stack.address();

    let with_length = upload().body(body.clone());
    let in_chunks = upload().header("transfer-encoding", "chunked").body(chunked(&body));
    let over_http2 = upload().body(body.clone());
    let answers = [
        send_through_a_held_link(&stack, || with_length.send(address)).unwrap(),
        send_through_a_held_link(&stack, || in_chunks.send(address)).unwrap(),
        send_through_a_held_link(&stack, || http2::send(address, &over_http2)).unwrap(),
    ];
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let echo = answer.json();
        assert_eq!((echo["body_bytes"].clone(), echo["body_sha256"].clone()), expected);
    }

    clients_that_leave_take_nothing_from_others(&stack, &signer).unwrap();
    a_logout_overtakes_a_question_on_its_way(&stack, &signer).unwrap();
    a_refused_upload_does_not_reach_the_upstream(&stack, body).unwrap();
    a_crowd_that_waits_for_one_token_does_not_kill_the_vm(&stack, &signer).unwrap();
}

/// Some 300 local replies in one callback overflow V8's stack: the VM dies, and with it all requests that wait.
fn a_crowd_that_waits_for_one_token_does_not_kill_the_vm(stack: &Stack, signer: &Signer) -> Result<()> {
    let [dead, alive] = [signer.sign(&claims("alice"))?, signer.sign(&claims("alice"))?];
    let logout = Request::post("/api/v2/logout").bearer(&dead).send(stack.control_plane.public())?;
    assert_eq!(logout.status, 200, "{}", logout.text());
    let crowd = |request: Request| -> Result<Vec<Answer>> {
        let link = link(stack)?;
        link.hold_all();
        thread::scope(|scope| {
            let answers = scope.spawn(|| http2::send_crowd(stack.address(), &request, 12, 100));
            thread::sleep(A_MOMENT * 4);
            link.mend();
            answers.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the client panicked")))
        })
    };
    for answer in crowd(Request::get("/orders").bearer(&dead))? {
        assert_eq!((answer.status, answer.code().as_str()), (401, "token_revoked"), "{}", answer.text());
    }
    for answer in crowd(Request::post("/upload").bearer(&alive).body("ten bytes."))? {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    Ok(())
}

fn clients_that_leave_take_nothing_from_others(stack: &Stack, signer: &Signer) -> Result<()> {
    let token = signer.sign(&claims("alice"))?;
    let request = format!("GET /orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    let seen = stack.upstream.requests_seen();
    let patient = send_through_a_held_link(stack, || {
        for _ in 0..20 {
            connect(stack.address())?.write_all(request.as_bytes())?;
        }
        stack.send(&Request::get("/orders").bearer(&token))
    })?;
    assert_eq!(patient.status, 200, "{}", patient.text());
    assert!(stack.upstream.requests_seen() > seen);
    assert_eq!(stack.send(&Request::get("/orders").bearer(&token))?.status, 200);
    Ok(())
}

/// The control plane reads the log for the question after the logout was committed, so its answer must know of it.
fn a_logout_overtakes_a_question_on_its_way(stack: &Stack, signer: &Signer) -> Result<()> {
    let token = signer.sign(&claims("alice"))?;
    let link = link(stack)?;
    link.hold_all();
    let waiting = thread::scope(|scope| -> Result<Answer> {
        let waiting = scope.spawn(|| stack.send(&Request::get("/orders").bearer(&token)));
        thread::sleep(A_MOMENT);
        let logout = stack.send(&Request::post("/api/v2/logout").bearer(&token));
        link.mend();
        assert_eq!(logout?.status, 200);
        waiting.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the client panicked")))
    })?;
    assert_eq!((waiting.status, waiting.code().as_str()), (401, "token_revoked"));
    Ok(())
}

fn a_refused_upload_does_not_reach_the_upstream(stack: &Stack, body: Vec<u8>) -> Result<()> {
    let seen = stack.upstream.requests_seen();
    let answer = stack.send(&Request::post("/upload").bearer("nonsense").body(body))?;
    assert_eq!(answer.status, 401);
    assert_eq!(stack.upstream.requests_seen(), seen);
    Ok(())
}
