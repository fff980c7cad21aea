//! The listener changes under load: no request is admitted that must not be, and none is refused that must not be.
//!
//! Connections stay open over the change, so that the listener that goes serves some of the requests: it has a filter of
//! its own, with its own configuration, next to that of the listener that comes.

mod client;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use curfew_testbed::http::Request;
use curfew_testbed::stack::{Plan, Stack, runs};
use curfew_testbed::tokens::{ISSUER, Signer, claims, jwks};
use serde_json::{Value, json};

use crate::shared::{PATIENCE, StopAtEnd};
use client::{Client, ROUND, Version};

/// How often the listener changes.
const CHANGES: u64 = 4;

/// The clients of each kind. They send requests one after the other.
const CLIENTS: [Version; 4] = [Version::Http1, Version::Http1, Version::Http1, Version::Http2];

/// Long enough for some requests by each configuration.
const PAUSE: Duration = Duration::from_millis(700);

/// How long a listener that goes serves its connections. Longer than the story, so that Envoy ends none with a request on it.
const DRAIN: Duration = Duration::from_secs(60);

/// What a client has seen.
#[derive(Default)]
struct Seen {
    sent: u64,
    /// Requests that began when a newer listener served already, on a connection that an older one served.
    by_old: u64,
    /// Every answer with another status than the expected one.
    wrong: Vec<String>,
}

/// Sends this request until it is told to stop. `newest` is the newest configuration that has served a request.
fn send_on(client: &mut Client, request: &Request, expected: u16, newest: &AtomicU64, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        seen.sent += 1;
        let newest = newest.load(Ordering::SeqCst);
        match client.send(request) {
            Ok(told) => {
                seen.by_old += u64::from(told.round < newest);
                if told.answer.status != expected {
                    let (status, text) = (told.answer.status, told.answer.text());
                    seen.wrong.push(format!("{status} by {} of {newest}: {text}", told.round));
                }
            }
            Err(error) => seen.wrong.push(format!("{error:#}")),
        }
    }
    seen
}

/// The shipped rules, one rule whose claim every configuration asks for, and what differs in each: a rule, and a header for the
/// upstream.
fn change(filter: &mut Value, round: u64) {
    let rules = filter["rules"].as_array_mut().unwrap();
    rules.push(json!({"prefix": "/orders", "action": "require", "claims": {"scope": {"contains": "orders"}}}));
    rules.push(json!({"path": format!("/round/{round}"), "action": "skip"}));
    filter["identity_headers"][format!("{ROUND}{round}")] = json!("sub");
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

fn token(signer: &Signer, user: &str, scope: &str) -> String {
    let mut claims = claims(user);
    claims["scope"] = json!(scope);
    signer.sign(&claims).unwrap()
}

fn get(token: &str) -> Request {
    Request::get("/orders").bearer(token)
}

fn log_out(stack: &Stack, token: &str) {
    assert_eq!(stack.send(&Request::post("/api/v2/logout").bearer(token)).unwrap().status, 200);
}

/// Changes the listener again and again while clients send requests that must all get the same answer.
fn play(plan: Plan, signer: &Signer) {
    let mut plan = plan.change_filter(|filter| change(filter, 0)).unwrap();
    (plan.updatable, plan.drain) = (true, DRAIN);
    let stack = plan.start().unwrap();
    let token = |user: &str, scope: &str| token(signer, user, scope);
    let [good, lacking, revoked] = [token("alice", "orders"), token("bob", "profile"), token("carol", "orders")];
    log_out(&stack, &revoked);
    let good = get(&good);
    let (stop, newest) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let mut clients = Vec::new();
        for (request, status) in
            [(good.clone(), 200), (get(&lacking), 403), (get(&revoked), 401), (Request::get("/orders"), 401)]
        {
            for version in CLIENTS {
                let mut client = Client::new(stack.address(), version, &good);
                let (request, newest, stop) = (request.clone(), &newest, &stop);
                let send = move || (version, status, send_on(&mut client, &request, status, newest, stop));
                clients.push(scope.spawn(send));
            }
        }
        for round in 1..=CHANGES {
            thread::sleep(PAUSE);
            change_listener(&stack, signer, &good, round, &newest);
        }
        thread::sleep(PAUSE);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            let (version, status, seen) = client.join().unwrap();
            let kind = format!("{version:?}, {} requests that must get {status}", seen.sent);
            println!("{kind}: {} by an old listener", seen.by_old);
            assert_eq!(seen.wrong, Vec::<String>::new(), "{kind}");
            assert!(seen.sent > CHANGES, "{kind}");
            assert!(seen.by_old > 0, "{kind}: none by an old listener");
        }
    });
    assert_eq!(stack.send(&Request::get(&format!("/round/{CHANGES}"))).unwrap().status, 200, "the last one serves");
    let before = Request::get(&format!("/round/{}", CHANGES - 1));
    assert_eq!(stack.send(&before).unwrap().status, 401, "the one before does not");
}

/// Changes the listener. A logout that is answered while two listeners serve holds in both.
fn change_listener(stack: &Stack, signer: &Signer, good: &Request, round: u64, newest: &AtomicU64) {
    let mut old: Vec<_> = CLIENTS.map(|version| Client::new(stack.address(), version, good)).into();
    for client in &mut old {
        assert_eq!(client.open().unwrap(), round - 1);
    }
    stack.update_filter(|filter| change(filter, round)).unwrap();
    let begun = Instant::now();
    while Client::new(stack.address(), Version::Http1, good).open().unwrap() != round {
        assert!(begun.elapsed() < PATIENCE, "configuration {round} does not serve");
    }
    newest.store(round, Ordering::SeqCst);
    let late = token(signer, &format!("dave-{round}"), "orders");
    let by_both = |old: &mut [Client], status: u16| {
        let sent = old.iter_mut().map(|client| client.send(&get(&late)).unwrap());
        let sent: Vec<_> = sent.map(|told| (told.round, told.answer.status)).collect();
        assert!(sent.iter().all(|(_, told)| *told == status), "{round}: {sent:?} instead of {status}");
        for _ in 0..8 {
            assert_eq!(stack.send(&get(&late)).unwrap().status, status, "{round}");
        }
        sent.iter().filter(|(by, _)| *by < round).count()
    };
    let admitted_by_old = by_both(&mut old, 200);
    log_out(stack, &late);
    let refused_by_old = by_both(&mut old, 401);
    println!("change {round}: an old listener has admitted {admitted_by_old} and refused {refused_by_old}");
    assert!(admitted_by_old > 0 && refused_by_old > 0, "{round}: {admitted_by_old}, {refused_by_old}");
}
