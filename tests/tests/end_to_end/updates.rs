//! The listener changes under load: no request is admitted that must not be, and none is refused that must not be.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use curfew_testbed::http::Request;
use curfew_testbed::stack::{Plan, Stack, runs};
use curfew_testbed::tokens::{ISSUER, Signer, claims, jwks};
use serde_json::{Value, json};

use crate::shared::StopAtEnd;

/// How often the listener changes.
const CHANGES: u64 = 4;

/// How many clients send requests meanwhile, one after the other and each on a new connection.
const CLIENTS: usize = 3;

/// Long enough for some requests by each configuration.
const PAUSE: Duration = Duration::from_millis(700);

/// Sends this request until it is told to stop. Returns how many were sent, and every answer that is none of these.
fn send_on(stack: &Stack, request: &Request, expected: &[u16], stop: &AtomicBool) -> (u64, Vec<String>) {
    let (mut sent, mut wrong) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        sent += 1;
        match stack.send(request) {
            Ok(answer) if expected.contains(&answer.status) => {}
            Ok(answer) => wrong.push(format!("{} {}", answer.status, answer.text())),
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    (sent, wrong)
}

/// The shipped rules, one rule whose claim every configuration asks for, and one that differs in each.
fn change(filter: &mut Value, round: u64) {
    let rules = filter["rules"].as_array_mut().unwrap();
    rules.push(json!({"prefix": "/orders", "action": "require", "claims": {"scope": {"contains": "orders"}}}));
    rules.push(json!({"path": format!("/round/{round}"), "action": "skip"}));
    filter["cache_bytes"] = json!((16 + round) << 20);
    filter["control_plane"]["timeout"] = json!("5s");
}

#[test]
fn a_change_of_the_listener_under_load_leaves_no_gap() {
    let plan = Plan::shipped().unwrap();
    let signer = Signer::from_secret(plan.settings.required("JWT_SECRET").unwrap());
    play(plan, &signer);
}

/// Each new configuration has a root context in each VM, which has no keys until the control plane hands them out.
#[test]
fn a_change_of_the_listener_under_load_leaves_no_gap_where_the_control_plane_hands_out_the_keys() {
    let directory = tempfile::tempdir_in(runs().unwrap()).unwrap();
    let signer = Signer::generate("ES256").unwrap();
    let file = directory.path().join("jwks.json");
    std::fs::write(&file, jwks([&signer]).to_string()).unwrap();
    let mut plan = Plan::shipped().unwrap();
    plan.settings.unset("JWT_SECRET");
    plan.settings.set("JWKS_FILE", file.to_string_lossy());
    let plan = plan.change_filter(|filter| filter["issuers"] = json!([{"issuer": ISSUER}])).unwrap();
    play(plan, &signer);
}

/// Changes the listener again and again while clients send requests that must all get the same answer.
fn play(plan: Plan, signer: &Signer) {
    let mut plan = plan.change_filter(|filter| change(filter, 0)).unwrap();
    plan.updatable = true;
    let stack = plan.start().unwrap();
    let token = |user: &str, scope: &str| {
        let mut claims = claims(user);
        claims["scope"] = json!(scope);
        signer.sign(&claims).unwrap()
    };
    let [good, lacking, revoked] = [token("alice", "orders"), token("bob", "profile"), token("carol", "orders")];
    let logout = |token: &str| stack.send(&Request::post("/api/v2/logout").bearer(token)).unwrap().status;
    assert_eq!(logout(&revoked), 200);
    let get = |token: &str| Request::get("/orders").bearer(token);
    let (stop, wrongly) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let mut clients = Vec::new();
        for (request, status) in
            [(get(&good), 200), (get(&lacking), 403), (get(&revoked), 401), (Request::get("/orders"), 401)]
        {
            for _ in 0..CLIENTS {
                let (request, stack, stop) = (request.clone(), &stack, &stop);
                clients.push(scope.spawn(move || (status, send_on(stack, &request, &[status], stop))));
            }
        }
        for round in 1..=CHANGES {
            thread::sleep(PAUSE);
            stack.update_filter(|filter| change(filter, round)).unwrap();
            // A logout that is answered while two listeners serve holds in both.
            let late = token(&format!("dave-{round}"), "orders");
            assert_eq!(stack.send(&get(&late)).unwrap().status, 200, "{round}");
            assert_eq!(logout(&late), 200, "{round}");
            for _ in 0..8 {
                let status = stack.send(&get(&late)).unwrap().status;
                wrongly.fetch_add(u64::from(status != 401), Ordering::Relaxed);
            }
        }
        thread::sleep(PAUSE);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            let (status, (sent, wrong)) = client.join().unwrap();
            assert_eq!(wrong, Vec::<String>::new(), "of {sent} requests that must get {status}");
            assert!(sent > CHANGES, "{sent}");
        }
    });
    assert_eq!(wrongly.into_inner(), 0, "admitted after their logout");
    assert_eq!(stack.send(&Request::get(&format!("/round/{CHANGES}"))).unwrap().status, 200, "the last one serves");
    let before = Request::get(&format!("/round/{}", CHANGES - 1));
    assert_eq!(stack.send(&before).unwrap().status, 401, "the one before does not");
}
