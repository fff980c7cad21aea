//! The cost of a trap in the filter, wherever it happens: with the module that traps on command and otherwise is the
//! shipped one.
//!
//! Envoy starts a new VM when the next request comes, unless the dead one was younger than about a second; until then
//! it refuses. A dead VM admits no request.

mod storm;
mod waiting;

use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use curfew_testbed::http::{Answer, Request, connect, read_answer};
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use curfew_testbed::upstream::SLOW;

use crate::shared::{PATIENCE, told};

/// A VM that has lived for longer is replaced at once: Envoy's reload back-off is 1 s to 1.5 s from the VM's start.
const BACK_OFF: Duration = Duration::from_millis(1_500);

/// The shortest reload back-off of Envoy's.
const SHORTEST_BACK_OFF: Duration = Duration::from_secs(1);

/// Long enough for a request to reach the filter and its question to reach the control plane.
const A_MOMENT: Duration = Duration::from_millis(500);

fn plan() -> Result<(Plan, Signer)> {
    let mut plan = Plan::shipped()?.bounded("2s")?;
    plan.trapping = true;
    let signer = Signer::from_secret(plan.settings.required("JWT_SECRET")?);
    Ok((plan, signer))
}

/// One connection, and so one worker.
struct Client(BufReader<TcpStream>);

impl Client {
    fn to(stack: &Stack) -> Result<Self> {
        Ok(Self(BufReader::new(connect(stack.address())?)))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.get_mut().write_all(bytes)?)
    }

    fn get(&mut self, path: &str, token: &str, trap: Option<&str>) -> Result<Answer> {
        let trap = trap.map_or(String::new(), |place| format!("x-curfew-trap: {place}\r\n"));
        self.write(format!("{}{trap}\r\n", head("GET", path, token)).as_bytes())?;
        read_answer(&mut self.0, "GET")
    }
}

fn head(method: &str, path: &str, token: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n")
}

/// How often Envoy has replaced a VM.
fn reloads(stack: &Stack) -> Result<u64> {
    Ok(stack.envoy.metric("envoy_wasm_curfew_vm_reload_success")?.unwrap_or(0))
}

/// Envoy's own refusal: no problem document.
fn is_envoys_refusal(answer: &Answer) -> bool {
    answer.status == 503 && answer.body.is_empty()
}

#[test]
fn a_trap_refuses_its_request_and_the_next_one_meets_a_new_vm() {
    let (plan, signer) = plan().unwrap();
    let stack = plan.start().unwrap();
    let [good, dead] = [(); 2].map(|()| signer.sign(&claims("alice")).unwrap());
    let logout = stack.send(&Request::post("/api/v2/logout").bearer(&dead)).unwrap();
    assert_eq!(logout.status, 200, "{}", logout.text());
    thread::sleep(BACK_OFF);
    let mut client = Client::to(&stack).unwrap();
    assert_eq!(told(&client.get("/dead", &dead, None).unwrap()), (401, "token_revoked".into()));
    let trapped = client.get("/trap", &good, Some("headers")).unwrap();
    assert!(is_envoys_refusal(&trapped), "{} {}", trapped.status, trapped.text());
    assert_eq!(told(&client.get("/dead", &dead, None).unwrap()), (401, "token_revoked".into()));
    assert_eq!(client.get("/orders", &good, None).unwrap().status, 200);
    assert_eq!(reloads(&stack).unwrap(), 1);

    a_second_trap_too_soon_closes_the_worker_for_a_while(&stack, &mut client, &good, &dead).unwrap();
    exchanges_under_way_in_the_vm_are_lost(&stack, &good).unwrap();
    storm::admits_no_dead_or_forged_token(&stack, &good, &dead).unwrap();
    assert_eq!((stack.upstream.requests_to("/trap"), stack.upstream.requests_to("/dead")), (0, 0));
    thread::sleep(BACK_OFF);
    assert_eq!(told(&stack.send(&Request::get("/dead").bearer(&dead)).unwrap()), (401, "token_revoked".into()));
}

/// Envoy delays the next reload; until then this worker refuses every request, and so admits none wrongly.
fn a_second_trap_too_soon_closes_the_worker_for_a_while(
    stack: &Stack,
    client: &mut Client,
    good: &str,
    dead: &str,
) -> Result<()> {
    // A fresh VM, because the one before may have lived for a second already.
    thread::sleep(BACK_OFF);
    let before = reloads(stack)?;
    let begun = Instant::now();
    for _ in 0..2 {
        assert!(is_envoys_refusal(&client.get("/trap", good, Some("headers"))?));
    }
    let (trapped, seen) = (Instant::now(), stack.upstream.requests_to("/orders"));
    let mut refused = 0;
    while is_envoys_refusal(&client.get("/orders", good, None)?) {
        ensure!(stack.upstream.requests_to("/orders") == seen, "a refused request has reached the upstream");
        ensure!(client.get("/dead", dead, None)?.status != 200, "a logged-out token was admitted");
        ensure!(trapped.elapsed() < PATIENCE, "the worker stays closed");
        refused += 1;
        thread::sleep(Duration::from_millis(20));
    }
    // The second VM started after the first trap, so within a second of that trap it is too young.
    ensure!(refused > 0 || trapped - begun > SHORTEST_BACK_OFF, "a VM was replaced at once that was too young");
    println!("back-off: {refused} refusals in {:.2} s after the second trap", trapped.elapsed().as_secs_f64());
    assert_eq!(stack.upstream.requests_to("/orders"), seen + 1, "the one that ended it was admitted");
    assert!(reloads(stack)? - before >= 2);
    Ok(())
}

/// Envoy refuses the next step of every stream of a dead VM, admitted or not: the rest of a body, or the answer's head.
fn exchanges_under_way_in_the_vm_are_lost(stack: &Stack, good: &str) -> Result<()> {
    thread::sleep(BACK_OFF);
    let mut clients = Vec::new();
    for number in 0..16 {
        let mut client = Client::to(stack)?;
        let uploads = number % 2 == 0;
        let request = match uploads {
            true => head("POST", "/upload", good) + "content-length: 10\r\n\r\nhalf ",
            false => head("GET", SLOW, good) + "\r\n",
        };
        client.write(request.as_bytes())?;
        clients.push((uploads, client));
    }
    let begun = Instant::now();
    while [SLOW, "/upload"].map(|path| stack.upstream.requests_to(path)) != [8, 8] {
        ensure!(begun.elapsed() < PATIENCE, "not all were admitted");
        thread::sleep(Duration::from_millis(20));
    }
    // Enough connections to reach both workers.
    for _ in 0..16 {
        assert!(is_envoys_refusal(&Client::to(stack)?.get("/trap", good, Some("headers"))?));
    }
    for (uploads, mut client) in clients {
        if uploads {
            client.write(b"body.")?;
        }
        let answer = read_answer(&mut client.0, "GET")?;
        assert!(is_envoys_refusal(&answer), "upload: {uploads}: {} {}", answer.status, answer.text());
    }
    Ok(())
}
