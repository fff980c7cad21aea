//! Crowds of requests that wait for keys at the same time, and return at the same time.

use std::thread;
use std::time::Duration;

use curfew_testbed::key_server::KeyServer;
use curfew_testbed::link::Link;
use curfew_testbed::ports::{lasting, loopback};
use curfew_testbed::stack::Stack;
use curfew_testbed::tokens::{Signer, jwks};

use super::{ISSUER, asked, get, token, until, with_kid};
use crate::shared::told;

/// How many requests there are with each token.
const EACH: usize = 150;

/// Sends many requests of each of these tokens at once, and calls `release` when they wait. Each gets what is expected.
fn crowd(stack: &Stack, expected: &[(&str, u16, &str)], release: impl FnOnce()) {
    thread::scope(|scope| {
        let mut waiting = Vec::new();
        for _ in 0..EACH {
            for (token, status, code) in expected {
                let right = (*status, (*code).to_owned());
                let sent = scope.spawn(move || Some(told(&get(stack, "/orders", token))).filter(|told| *told != right));
                waiting.push(sent);
            }
        }
        thread::sleep(Duration::from_secs(1));
        assert!(!waiting.iter().any(|request| request.is_finished()), "a request has not waited");
        release();
        let wrong: Vec<_> = waiting.into_iter().filter_map(|request| request.join().unwrap()).collect();
        assert!(wrong.is_empty(), "{} wrong answers, such as {:?}", wrong.len(), wrong[0]);
    });
}

#[test]
fn crowds_that_wait_for_keys_all_get_the_right_answer() {
    let issuer = KeyServer::start().unwrap();
    let [one, two] = ["one", "two"].map(|kid| Signer::named(kid).unwrap());
    issuer.lists(&jwks([&one]));
    let port = lasting().unwrap();
    let link = Link::to(loopback(port)).unwrap();
    let issuers = asked(&issuer);
    let mut plan = issuers.plan(&[ISSUER]);
    (plan.ports.internal, plan.asks) = (port, Some(link.address()));
    let plan = plan.change_filter(|filter| filter["control_plane"]["timeout"] = "10s".into()).unwrap();
    // Envoy starts, and nothing that it asks is answered.
    link.hold_all();
    let stack = plan.start().unwrap();
    let (good, later) = (token(&one, ISSUER), token(&two, ISSUER));
    let forged = with_kid(&later, "one");
    let refused = (401, "token_invalid");
    crowd(&stack, &[(&good, 200, ""), (&forged, refused.0, refused.1)], || link.mend());

    // The issuer signs with a new key at once. Its answer takes a while, and every request with a token of that key waits for it.
    issuer.lists(&jwks([&one, &two]));
    issuer.holds_next();
    let unknown = with_kid(&later, "never");
    crowd(&stack, &[(&later, 200, ""), (&unknown, refused.0, refused.1)], || {
        assert_eq!(issuer.held(), 1);
        issuer.lets_go();
    });
    for token in [&good, &later] {
        for _ in 0..20 {
            assert_eq!(get(&stack, "/orders", token).status, 200);
        }
    }
}

#[test]
fn a_crowd_that_waits_for_keys_in_vain_is_refused_and_envoy_goes_on() {
    let issuer = KeyServer::start().unwrap();
    let one = Signer::named("one").unwrap();
    issuer.lists(&jwks([&one]));
    let port = lasting().unwrap();
    let link = Link::to(loopback(port)).unwrap();
    let issuers = asked(&issuer);
    let mut plan = issuers.plan(&[ISSUER]);
    (plan.ports.internal, plan.asks) = (port, Some(link.address()));
    link.hold_all();
    let mut stack = plan.start().unwrap();
    let good = token(&one, ISSUER);
    let forged = with_kid(&good, "never");
    crowd(&stack, &[(&good, 503, "unavailable"), (&forged, 503, "unavailable")], || link.cut());
    assert!(stack.envoy.is_running());
    link.mend();
    until("the control plane is back", || get(&stack, "/orders", &good).status == 200);
    // That the call for its key has failed is remembered for a second.
    until("the key is asked for again", || get(&stack, "/orders", &forged).status == 401);
    for _ in 0..20 {
        assert_eq!(told(&get(&stack, "/orders", &forged)), (401, "token_invalid".into()));
        assert_eq!(get(&stack, "/orders", &good).status, 200);
    }
}
