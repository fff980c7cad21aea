//! Leases: how long a worker decides by itself, and what ends a lease.

use curfew_core::wire::FEED_PATH;
use curfew_testbed::wasm_host::{ClusterState, Host, Outcome};
use serde_json::json;

use super::{is_admitted, is_refused, ms};
use crate::feed::{
    LEASE, body, callouts_to, feed, leased, logout, only_poll, page, questions, say, strict, strict_host,
};
use crate::support::{admitted, refused, send, token};

#[test]
fn when_the_lease_is_over_requests_ask_and_without_an_answer_they_are_refused() {
    let mut host = strict_host().unwrap();
    let (token, other) = (token().unwrap(), token().unwrap());
    // With news, the next poll goes out at once.
    leased(&mut host, &token, &[logout(&other).unwrap()]).unwrap();
    host.advance(LEASE - ms(1));
    is_admitted(&mut host, &token);
    host.advance(ms(1));
    let (stream, outcome) = send(&mut host, &token).unwrap();
    assert_eq!(outcome, Outcome::Paused);
    host.answer(questions(&host)[0].token, 504, b"").unwrap();
    refused(&host.outcome(stream).unwrap(), 503, "unavailable");
    assert_eq!((host.metric("curfew_leases_gained"), host.metric("curfew_leases_lost")), (1, 1));
}

#[test]
fn with_on_unavailable_allow_requests_pass_without_an_answer_but_known_revocations_hold() {
    let mut host = Host::start(&strict(json!({"on_unavailable": "allow"}))).unwrap();
    assert!(host.log().join("\n").contains("on_unavailable is allow"));
    let (dead, other) = (token().unwrap(), token().unwrap());
    leased(&mut host, &other, &[logout(&dead).unwrap()]).unwrap();
    host.set_cluster("curfew", ClusterState::Unhealthy);
    host.advance(LEASE);
    is_refused(&mut host, &dead);
    is_admitted(&mut host, &other);
    host.tick().unwrap();
    assert_eq!(host.metric("curfew_requests_unavailable_allowed"), 1);
}

#[test]
fn a_lease_counts_from_the_sending_of_the_poll() {
    let mut host = strict_host().unwrap();
    let token = token().unwrap();
    send(&mut host, &token).unwrap();
    host.advance(LEASE - ms(1));
    feed(&mut host, &[]).unwrap();
    is_admitted(&mut host, &token);
    host.advance(ms(1));
    assert_eq!(send(&mut host, &token).unwrap().1, Outcome::Paused);
}

#[test]
fn a_new_configuration_gives_the_old_lease_up_and_follows_by_itself() {
    let mut host = strict_host().unwrap();
    let (dead, token) = (token().unwrap(), token().unwrap());
    leased(&mut host, &token, &[logout(&dead).unwrap()]).unwrap();
    let (_, old) = only_poll(&host).unwrap();
    assert!(host.reconfigure(&strict(json!({"cache_bytes": 1_000_000}))).unwrap());
    let polls = callouts_to(&host, FEED_PATH);
    let left: Vec<_> = polls.iter().filter(|poll| crate::feed::request(poll).unwrap().leaving).collect();
    assert_eq!(left.len(), 1, "{polls:?}");
    assert_eq!(crate::feed::request(left[0]).unwrap().worker, old.worker);
    for poll in polls.iter().rev() {
        let answer = page(&crate::feed::request(poll).unwrap(), &[]);
        host.answer(poll.token, 200, &body(&answer)).unwrap();
    }
    assert!(host.callouts().is_empty());

    let (stream, outcome) = send(&mut host, &token).unwrap();
    assert_eq!(outcome, Outcome::Paused, "it has nothing of the other's");
    let (_, new) = only_poll(&host).unwrap();
    assert_ne!(new.worker, old.worker);
    assert_eq!((new.epoch, new.applied), (None, 0));
    feed(&mut host, &[logout(&dead).unwrap()]).unwrap();
    say(&mut host, "active").unwrap();
    admitted(&host.outcome(stream).unwrap()).unwrap();
    is_refused(&mut host, &dead);
}

#[test]
fn requests_that_wait_in_a_replaced_configuration_get_their_answers() {
    let mut host = strict_host().unwrap();
    let (first, second) = (token().unwrap(), token().unwrap());
    let (waiting, _) = send(&mut host, &first).unwrap();
    let (other, _) = send(&mut host, &second).unwrap();
    assert!(host.reconfigure(&strict(json!({}))).unwrap());
    for (question, says) in questions(&host).into_iter().zip(["active", "revoked"]) {
        host.answer(question.token, 200, &crate::support::verdict(says)).unwrap();
    }
    admitted(&host.outcome(waiting).unwrap()).unwrap();
    refused(&host.outcome(other).unwrap(), 401, "token_revoked");
}
