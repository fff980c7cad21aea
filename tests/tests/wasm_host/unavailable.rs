//! Requests while no control plane can say whether a token is revoked.

use std::time::Duration;

use curfew_testbed::tokens::hs256_text;
use curfew_testbed::wasm_host::{ClusterState, Host, StreamId};
use serde_json::json;

use crate::support::{
    INTERNAL_SECRET, admitted, claims_of, configured, host, only_callout, refused, send, send_and_answer, token,
    verdict,
};

#[test]
fn without_a_verdict_a_request_is_refused_with_503_and_the_next_one_asks_again() {
    let bodies: [(u16, &[u8]); 8] = [
        (504, b"upstream request timeout"),
        (503, b"no healthy upstream"),
        (500, br#"{"code":"internal"}"#),
        (409, br#"{"code":"keyspace_unknown"}"#),
        (401, br#"{"code":"credentials_invalid"}"#),
        (200, b""),
        (200, b"<html>"),
        (200, br#"{"epoch":"x","seq":1,"verdict":"maybe"}"#),
    ];
    for (status, body) in bodies {
        let mut host = host().unwrap();
        let token = token().unwrap();
        let (stream, _) = send(&mut host, &token).unwrap();
        let callout = only_callout(&host).unwrap();
        host.answer(callout.token, status, body).unwrap();
        refused(&host.outcome(stream).unwrap(), 503, "unavailable");
        assert_eq!(host.metric("curfew_requests_unavailable_denied"), 1, "{status}");
        assert_eq!(host.metric("curfew_checks_failed"), 1, "{status}");
        admitted(&send_and_answer(&mut host, &token, "active").unwrap()).unwrap();
    }
}

#[test]
fn a_verdict_with_another_status_than_200_is_no_verdict() {
    for status in [201, 204, 301, 503] {
        let mut host = host().unwrap();
        let (stream, _) = send(&mut host, &token().unwrap()).unwrap();
        let callout = only_callout(&host).unwrap();
        host.answer(callout.token, status, &verdict("active")).unwrap();
        refused(&host.outcome(stream).unwrap(), 503, "unavailable");
    }
}

#[test]
fn a_question_that_was_reset_is_answered_with_503() {
    let mut host = host().unwrap();
    let (stream, _) = send(&mut host, &token().unwrap()).unwrap();
    let callout = only_callout(&host).unwrap();
    host.fail(callout.token).unwrap();
    refused(&host.outcome(stream).unwrap(), 503, "unavailable");
}

#[test]
fn a_cluster_that_is_unknown_or_unhealthy_is_answered_with_503_at_once() {
    let elsewhere = json!({"control_plane": {"cluster": "nowhere", "secret": INTERNAL_SECRET}});
    let mut unknown = Host::start(&configured(elsewhere)).unwrap();
    refused(&send(&mut unknown, &token().unwrap()).unwrap().1, 503, "unavailable");
    let mut unhealthy = host().unwrap();
    unhealthy.set_cluster("curfew", ClusterState::Unhealthy);
    refused(&send(&mut unhealthy, &token().unwrap()).unwrap().1, 503, "unavailable");
    unhealthy.set_cluster("curfew", ClusterState::Healthy);
    admitted(&send_and_answer(&mut unhealthy, &token().unwrap(), "active").unwrap()).unwrap();
}

#[test]
fn a_cached_verdict_outlives_the_control_plane_only_until_max_staleness() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    admitted(&send_and_answer(&mut host, &token, "active").unwrap()).unwrap();
    host.set_cluster("curfew", ClusterState::Unhealthy);
    host.advance(Duration::from_millis(4_999));
    admitted(&send(&mut host, &token).unwrap().1).unwrap();
    host.advance(Duration::from_millis(1));
    refused(&send(&mut host, &token).unwrap().1, 503, "unavailable");
}

#[test]
fn on_unavailable_allow_lets_pass_and_counts_it() {
    let mut host = Host::start(&configured(json!({"on_unavailable": "allow"}))).unwrap();
    let (stream, _) = send(&mut host, &token().unwrap()).unwrap();
    let callout = only_callout(&host).unwrap();
    host.fail(callout.token).unwrap();
    assert_eq!(admitted(&host.outcome(stream).unwrap()).unwrap().all("x-user-id"), ["alice"]);
    assert_eq!(host.metric("curfew_requests_unavailable_allowed"), 1);
    assert_eq!(host.metric("curfew_requests_unavailable_denied"), 0);
    // It is about revocation only: a forged token stays out.
    let forged =
        hs256_text("another-secret-0123456789-0123456789", r#"{"alg":"HS256"}"#, &claims_of("eve").to_string());
    refused(&send(&mut host, &forged).unwrap().1, 401, "token_invalid");
}

#[test]
fn when_the_control_plane_is_away_every_waiting_request_is_refused() {
    let mut host = host().unwrap();
    let token = token().unwrap();
    let streams: Vec<StreamId> = (0..500).map(|_| send(&mut host, &token).unwrap().0).collect();
    let callout = only_callout(&host).unwrap();
    host.answer(callout.token, 504, b"").unwrap();
    host.settle().unwrap();
    for stream in streams {
        refused(&host.outcome(stream).unwrap(), 503, "unavailable");
    }
}
