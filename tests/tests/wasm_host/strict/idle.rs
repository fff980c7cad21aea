//! Workers without requests, and counts that wait to be reported.

use std::time::Duration;

use curfew_core::wire::FEED_PATH;
use curfew_testbed::wasm_host::{Host, Outcome};
use serde_json::json;

use super::{is_admitted, is_refused, ms};
use crate::feed::{EPOCH, callouts_to, feed, leased, logout, only_poll, strict, strict_host, until_polled};
use crate::support::{send, token};

#[test]
fn a_vm_without_requests_does_nothing() {
    let mut host = strict_host().unwrap();
    assert_eq!((host.callouts().len(), host.ticks_wanted()), (0, None));
    host.tick().unwrap();
    host.advance(Duration::from_secs(60));
    host.tick().unwrap();
    assert_eq!((host.callouts().len(), host.ticks_wanted()), (0, None));
}

#[test]
fn a_worker_without_requests_gives_its_lease_up_and_comes_back_under_another_id() {
    let mut host = strict_host().unwrap();
    let token = token().unwrap();
    leased(&mut host, &token, &[]).unwrap();
    let (_, first) = only_poll(&host).unwrap();
    let mut polls = 0;
    while !only_poll(&host).unwrap().1.leaving {
        host.advance(ms(600));
        feed(&mut host, &[]).unwrap();
        until_polled(&mut host).unwrap();
        polls += 1;
        assert!(polls < 100, "it never leaves");
    }
    assert!((15..=19).contains(&polls), "10 s of holding for 600 ms: {polls}");
    let (call, last) = only_poll(&host).unwrap();
    assert_eq!((last.worker, last.applied, last.hold_ms), (first.worker, 0, 0));
    assert_eq!(send(&mut host, &token).unwrap().1, Outcome::Paused, "the lease was given up before anybody was told");
    host.answer(call, 200, b"{}").unwrap();
    until_polled(&mut host).unwrap();
    let (_, again) = only_poll(&host).unwrap();
    assert_ne!(again.worker, first.worker);
    assert_eq!((again.epoch, again.applied), (Some(EPOCH), 0), "the replica is still good to continue from");
}

#[test]
fn an_idle_worker_wants_no_ticks() {
    let mut host = strict_host().unwrap();
    leased(&mut host, &token().unwrap(), &[]).unwrap();
    host.settle().unwrap();
    assert_eq!(host.ticks_wanted(), None);
    let polls = callouts_to(&host, FEED_PATH).len();
    host.advance(Duration::from_secs(100));
    host.tick().unwrap();
    assert_eq!(callouts_to(&host, FEED_PATH).len(), polls);
}

#[test]
fn what_was_counted_waits_for_a_poll_that_is_under_way_and_for_nothing_else() {
    let rules = json!({"rules": [{"path": "/healthz", "action": "skip"}]});
    let mut host = Host::start(&strict(rules)).unwrap();
    let (dead, alive) = (token().unwrap(), token().unwrap());
    leased(&mut host, &alive, &[logout(&dead).unwrap()]).unwrap();
    is_admitted(&mut host, &alive);
    assert_eq!(host.metric("curfew_replica_decided"), 0);
    host.settle().unwrap();
    let decided = host.metric("curfew_replica_decided");
    assert!(decided > 0, "the poll has ended");
    // The worker is idle. A token that its copy knows as logged out makes a poll due, but no tick sends it.
    let polls = callouts_to(&host, FEED_PATH).len();
    is_refused(&mut host, &dead);
    assert_eq!((callouts_to(&host, FEED_PATH).len(), host.ticks_wanted()), (polls, None));
    let skipped = host.metric("curfew_requests_skipped");
    host.request(&[(":method", b"GET"), (":path", b"/healthz")]).unwrap();
    assert_eq!(host.metric("curfew_requests_skipped"), skipped + 1);
}

#[test]
fn a_plugin_that_the_host_removes_reports_its_counts() {
    let mut host = strict_host().unwrap();
    let token = token().unwrap();
    leased(&mut host, &token, &[]).unwrap();
    let before = host.metric("curfew_requests_admitted");
    is_admitted(&mut host, &token);
    assert_eq!(host.metric("curfew_requests_admitted"), before);
    host.let_go().unwrap();
    assert_eq!(host.metric("curfew_requests_admitted"), before + 1);
}
