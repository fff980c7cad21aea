//! The polls of a worker: when it sends them, what they say, and what it does when they fail.

use std::time::Duration;

use curfew_core::wire::{CHECK_PATH, FEED_PATH};
use curfew_core::{AGREEMENT_HEADER, Agreement};
use curfew_testbed::wasm_host::{ClusterState, Fault, HostCall, Outcome};
use serde_json::json;

use super::{is_admitted, ms};
use crate::feed::{EPOCH, callouts_to, feed, leased, logout, only_poll, questions, say, strict_host, until_polled};
use crate::support::{INTERNAL_SECRET, admitted, bearer, refused, send, token};

#[test]
fn the_first_request_asks_while_the_copy_is_loaded() {
    let mut host = strict_host().unwrap();
    let token = token().unwrap();
    let (stream, outcome) = send(&mut host, &token).unwrap();
    assert_eq!(outcome, Outcome::Paused);
    assert_eq!((questions(&host).len(), callouts_to(&host, FEED_PATH).len()), (1, 1));
    say(&mut host, "active").unwrap();
    admitted(&host.outcome(stream).unwrap()).unwrap();
    feed(&mut host, &[]).unwrap();
    for _ in 0..3 {
        is_admitted(&mut host, &token);
        is_admitted(&mut host, &crate::support::token().unwrap());
    }
    assert!(questions(&host).is_empty());
    assert_eq!((host.metric("curfew_replica_decided"), host.metric("curfew_checks_sent")), (6, 1));
}

#[test]
fn the_poll_is_the_documented_one() {
    let mut host = strict_host().unwrap();
    send(&mut host, &token().unwrap()).unwrap();
    let poll = callouts_to(&host, FEED_PATH).remove(0);
    assert_eq!((poll.cluster.as_str(), poll.timeout), ("curfew", ms(250)));
    let agent = concat!("curfew-filter/", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        (":method", "POST"),
        (":path", "/internal/v1/feed"),
        (":authority", "curfew.internal"),
        ("content-type", "application/json"),
        ("authorization", &bearer(INTERNAL_SECRET)),
        ("user-agent", agent),
    ] {
        assert_eq!(poll.headers.all(name), [value], "{name}");
    }
    let question = callouts_to(&host, CHECK_PATH).remove(0);
    let agreement = poll.headers.all(AGREEMENT_HEADER);
    assert_eq!(agreement, question.headers.all(AGREEMENT_HEADER));
    assert!(agreement.len() == 1 && Agreement::parse(&agreement[0]).is_some(), "{agreement:?}");
    let poll = poll.json();
    assert_eq!(poll["keyspaces"], json!([question.json()["keyspace"]]));
    assert_eq!(poll["worker"].as_str().map(str::len), Some(32));
    assert_eq!((&poll["applied"], poll.get("epoch"), poll.get("hold_ms")), (&json!(0), None, None));
}

#[test]
fn a_control_plane_that_holds_too_many_polls_is_told_from_one_that_is_away() {
    let full = json!({"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "x", "code": "polls_full"});
    let unavailable = json!({"code": "unavailable", "detail": "polls_full"});
    for (body, told) in [
        (
            full.to_string(),
            "503: the control plane holds as many polls as it may: start another one, or raise its limit on open files",
        ),
        (unavailable.to_string(), "503: the control plane is down or unreachable, or could not read its database"),
        (
            "no healthy upstream".to_owned(),
            "503: the control plane is down or unreachable, or could not read its database",
        ),
    ] {
        let mut host = strict_host().unwrap();
        send(&mut host, &token().unwrap()).unwrap();
        let poll = callouts_to(&host, FEED_PATH).remove(0);
        host.answer(poll.token, 503, body.as_bytes()).unwrap();
        let line = format!("the control plane gives no leases: {told}");
        assert!(host.log().iter().any(|logged| logged.ends_with(&line)), "{:?}", host.log());
    }
}

#[test]
fn a_poll_follows_its_answer_at_once_and_may_be_held_for_a_third_of_the_lease() {
    let mut host = strict_host().unwrap();
    let token = token().unwrap();
    leased(&mut host, &token, &[logout(&token).unwrap()]).unwrap();
    let (_, poll) = only_poll(&host).unwrap();
    assert_eq!((poll.epoch, poll.applied, poll.hold_ms), (Some(EPOCH), 1, 666));
    assert_eq!(callouts_to(&host, FEED_PATH)[0].timeout, ms(250 + 666));
    let worker = poll.worker;
    // While the poll is held, the rest of the lease gets shorter, until the answer comes.
    host.advance(ms(666));
    feed(&mut host, &[logout(&token).unwrap()]).unwrap();
    let (_, poll) = only_poll(&host).unwrap();
    assert_eq!((poll.worker, poll.applied, poll.hold_ms), (worker, 1, 444));
}

#[test]
fn a_poll_whose_end_is_never_reported_is_given_up() {
    let mut host = strict_host().unwrap();
    let token = token().unwrap();
    send(&mut host, &token).unwrap();
    let (lost, _) = only_poll(&host).unwrap();
    host.lose(lost);
    say(&mut host, "active").unwrap();
    let mut passed = Duration::ZERO;
    while callouts_to(&host, FEED_PATH).is_empty() {
        let period = host.ticks_wanted().expect("it has to be woken");
        host.advance(period);
        passed += period;
        host.tick().unwrap();
        assert!(passed < Duration::from_secs(3), "still waiting");
    }
    assert!(passed >= Duration::from_secs(1), "four timeouts");
    feed(&mut host, &[]).unwrap();
    is_admitted(&mut host, &token);
}

#[test]
fn a_cluster_that_takes_no_polls_is_tried_again_and_reported_once() {
    let mut host = strict_host().unwrap();
    host.set_cluster("curfew", ClusterState::Unhealthy);
    let token = token().unwrap();
    refused(&send(&mut host, &token).unwrap().1, 503, "unavailable");
    for _ in 0..10 {
        host.advance(host.ticks_wanted().expect("it tries again"));
        host.tick().unwrap();
    }
    let told = host.log().iter().filter(|line| line.contains("gives no leases")).count();
    assert_eq!(told, 1, "{:?}", host.log());
    host.set_cluster("curfew", ClusterState::Healthy);
    host.advance(host.ticks_wanted().unwrap());
    host.tick().unwrap();
    feed(&mut host, &[]).unwrap();
    is_admitted(&mut host, &token);
    assert!(host.log().iter().any(|line| line.contains("gives leases again")), "{:?}", host.log());
}

#[test]
fn a_refusal_that_names_settings_is_logged_with_their_names_and_no_other_text() {
    let mut host = strict_host().unwrap();
    send(&mut host, &token().unwrap()).unwrap();
    let (poll, _) = only_poll(&host).unwrap();
    let refusal =
        br#"{"code":"keyspace_unknown","differs":["clock_skew","a name of later","user_claim"],"detail":"x\ny"}"#;
    host.answer(poll, 409, refusal).unwrap();
    let line = "the control plane gives no leases: 409: not the same as the control plane's: \
                user_claim (CURFEW_USER_CLAIM), clock_skew (CURFEW_CLOCK_SKEW)";
    assert_eq!(host.log().iter().filter(|told| told.ends_with(line)).count(), 1, "{:?}", host.log());
}

#[test]
fn with_host_calls_that_fail_the_copy_admits_no_request() {
    let mut host = strict_host().unwrap();
    let token = token().unwrap();
    for (call, fault) in [(HostCall::Buffer, Fault::Garbage), (HostCall::HeaderValue, Fault::Error)] {
        send(&mut host, &token).unwrap();
        until_polled(&mut host).unwrap();
        host.set_fault(call, Some(fault));
        feed(&mut host, &[]).unwrap();
        host.set_fault(call, None);
        assert_eq!(send(&mut host, &token).unwrap().1, Outcome::Paused);
    }
}
