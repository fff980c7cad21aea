//! Calls for keys that fail, and answers that are no keys or not the newest.

use curfew_core::Epoch;
use curfew_testbed::tokens::{self, with};
use curfew_testbed::wasm_host::{ClusterState, Fault, Host, HostCall, Outcome};
use serde_json::json;

use super::{
    Signers, WITHOUT_KEYS, bounded_host, give, handed_out, key_calls, keys_of, leased, ms, only_key_call, refused,
    show, strict_host, token_of,
};
use crate::feed::{EPOCH, questions, strict};
use crate::support::send;

#[test]
fn whatever_is_no_answer_admits_nothing_and_is_not_asked_again_at_once() {
    let signers = Signers::new();
    let good = keys_of(EPOCH, 0, &[&signers.old]);
    let too_large = [good.clone(), vec![b' '; (512 << 10) + 1 - good.len()]].concat();
    let no_set = json!({"epoch": EPOCH.to_string(), "keys_seq": 0, "sets": [{"issuer": tokens::ISSUER, "jwks": []}]});
    let bodies = [
        (503, b"".to_vec()),
        (404, b"".to_vec()),
        (200, b"".to_vec()),
        (200, b"{}".to_vec()),
        (200, b"\xff\xfe".to_vec()),
        (200, no_set.to_string().into_bytes()),
        (200, too_large),
    ];
    for (status, body) in bodies {
        let mut host = Host::start(&strict(with(handed_out(), json!({"on_unavailable": "allow"})))).unwrap();
        let (stream, _) = send(&mut host, &token_of(&signers.old)).unwrap();
        let call = only_key_call(&host).unwrap();
        host.answer(call.token, status, &body).unwrap();
        assert_eq!(refused(&host.outcome(stream).unwrap()), (503, WITHOUT_KEYS.to_owned()), "{status}");
        assert_eq!(refused(&send(&mut host, &token_of(&signers.old)).unwrap().1), (503, WITHOUT_KEYS.to_owned()));
        assert!(key_calls(&host).is_empty());
        assert_eq!(host.metric("curfew_key_calls_failed"), 1);
        assert_eq!(host.log().iter().filter(|line| line.contains("gives no keys")).count(), 1, "{:?}", host.log());
        host.advance(ms(1_000));
        let (stream, _) = send(&mut host, &token_of(&signers.old)).unwrap();
        give(&mut host, 0, &[&signers.old]).unwrap();
        assert_eq!(host.outcome(stream).unwrap(), Outcome::Paused, "it is proven, and asked about");
        assert!(host.log().iter().any(|line| line.contains("gives keys again")), "{:?}", host.log());
    }
}

#[test]
fn the_largest_answer_is_read() {
    let (mut host, signers) = (bounded_host(), Signers::new());
    send(&mut host, &token_of(&signers.old)).unwrap();
    let mut body = keys_of(EPOCH, 0, &[&signers.old]);
    body.resize(512 << 10, b' ');
    let call = only_key_call(&host).unwrap();
    host.answer(call.token, 200, &body).unwrap();
    assert_eq!(questions(&host).len(), 1);
}

#[test]
fn a_call_that_fails_is_reset_or_is_never_reported_releases_those_who_wait() {
    let signers = Signers::new();
    let token = token_of(&signers.old);
    let mut host = strict_host();
    host.set_cluster("curfew", ClusterState::Unhealthy);
    assert_eq!(refused(&send(&mut host, &token).unwrap().1), (503, WITHOUT_KEYS.to_owned()), "at once");
    host.set_cluster("curfew", ClusterState::Healthy);
    host.advance(ms(1_000));
    let (reset, _) = send(&mut host, &token).unwrap();
    let call = only_key_call(&host).unwrap();
    host.fail(call.token).unwrap();
    assert_eq!(refused(&host.outcome(reset).unwrap()), (503, WITHOUT_KEYS.to_owned()));
    host.advance(ms(1_000));
    let (lost, _) = send(&mut host, &token).unwrap();
    let call = only_key_call(&host).unwrap();
    host.lose(call.token);
    for _ in 0..100 {
        if host.outcome(lost).unwrap() != Outcome::Paused {
            break;
        }
        let period = host.ticks_wanted().expect("a tick that gives it up");
        host.advance(period);
        host.tick().unwrap();
    }
    assert_eq!(refused(&host.outcome(lost).unwrap()), (503, WITHOUT_KEYS.to_owned()));
    host.report_again(call.token).unwrap();
}

#[test]
fn keys_of_another_history_or_of_an_older_reading_decide_nothing_wrong() {
    let signers = Signers::new();
    let mut host = leased(&[&signers.old]);
    show(&mut host, 2, 2, &[]).unwrap();
    let (stream, _) = send(&mut host, &token_of(&signers.old)).unwrap();
    // An older reading, three times: it never shows what the log shows.
    for _ in 0..3 {
        assert_eq!(host.outcome(stream).unwrap(), Outcome::Paused);
        give(&mut host, 1, &[&signers.old]).unwrap();
    }
    assert_eq!(refused(&host.outcome(stream).unwrap()), (503, WITHOUT_KEYS.to_owned()));
    // Another history: the copy of this worker says nothing to it.
    let (stream, _) = send(&mut host, &token_of(&signers.old)).unwrap();
    let call = only_key_call(&host).unwrap();
    host.answer(call.token, 200, &keys_of(Epoch::from_bytes([9; 16]), 0, &[&signers.old])).unwrap();
    assert_eq!((host.outcome(stream).unwrap(), questions(&host).len()), (Outcome::Paused, 1));
}

#[test]
fn a_stream_whose_headers_are_gone_when_the_keys_come_is_refused() {
    for call in [HostCall::HeaderPairs, HostCall::HeaderChange] {
        let (mut host, signers) = (bounded_host(), Signers::new());
        let (stream, _) = send(&mut host, &token_of(&signers.old)).unwrap();
        host.set_fault(call, Some(Fault::Error));
        give(&mut host, 0, &[&signers.old]).unwrap();
        assert_eq!(refused(&host.outcome(stream).unwrap()), (503, "curfew_unavailable".to_owned()), "{call:?}");
        host.set_fault(call, None);
        host.settle().unwrap();
        assert!(questions(&host).is_empty(), "{call:?}");
    }
}
