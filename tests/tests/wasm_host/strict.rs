//! `consistency: strict`: the filter follows the feed and decides by its replica.

use std::time::Duration;

use curfew_core::wire::{CHECK_PATH, FEED_PATH, FeedAnswer, FeedRevocation};
use curfew_core::{Epoch, Kind, RevocationKey};
use curfew_testbed::wasm_host::{ClusterState, Fault, Host, HostCall, Outcome, START};
use serde_json::json;

use crate::feed::{
    EPOCH, LEASE, body, callouts_to, feed, leased, logout, only_poll, page, questions, say, strict, strict_host,
    until_polled,
};
use crate::support::{INTERNAL_SECRET, admitted, bearer, refused, send, token};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn is_admitted(host: &mut Host, token: &str) {
    let (stream, outcome) = send(host, token).unwrap();
    admitted(&outcome).unwrap();
    host.close(stream).unwrap();
}

fn is_refused(host: &mut Host, token: &str) {
    let (stream, outcome) = send(host, token).unwrap();
    refused(&outcome, 401, "token_revoked");
    host.close(stream).unwrap();
}

#[test]
fn a_vm_that_serves_nobody_does_nothing() {
    let mut host = strict_host().unwrap();
    assert_eq!((host.callouts().len(), host.ticks_wanted()), (0, None));
    host.tick().unwrap();
    host.advance(Duration::from_secs(60));
    host.tick().unwrap();
    assert_eq!((host.callouts().len(), host.ticks_wanted()), (0, None));
}

#[test]
fn the_first_request_asks_while_the_replica_is_loaded() {
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
    let poll = poll.json();
    assert_eq!(poll["keyspaces"], json!([question.json()["keyspace"]]));
    assert_eq!(poll["worker"].as_str().map(str::len), Some(32));
    assert_eq!((&poll["applied"], poll.get("epoch"), poll.get("hold_ms")), (&json!(0), None, None));
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
    // Held for its time: what is left of the lease is shorter, until the answer is there.
    host.advance(ms(666));
    feed(&mut host, &[logout(&token).unwrap()]).unwrap();
    let (_, poll) = only_poll(&host).unwrap();
    assert_eq!((poll.worker, poll.applied, poll.hold_ms), (worker, 1, 444));
}

#[test]
fn a_logout_that_the_worker_acknowledges_is_refused_from_then_on() {
    let mut host = strict_host().unwrap();
    let (dead, alive) = (token().unwrap(), token().unwrap());
    leased(&mut host, &alive, &[]).unwrap();
    is_admitted(&mut host, &dead);
    feed(&mut host, &[logout(&dead).unwrap()]).unwrap();
    assert_eq!(only_poll(&host).unwrap().1.applied, 1, "the next poll says so");
    is_refused(&mut host, &dead);
    is_admitted(&mut host, &alive);
    // For good, and without the control plane.
    host.set_cluster("curfew", ClusterState::Unhealthy);
    host.advance(Duration::from_secs(30));
    is_refused(&mut host, &dead);
    refused(&send(&mut host, &alive).unwrap().1, 503, "unavailable");
}

#[test]
fn all_keys_of_a_token_count() {
    let mut host = strict_host().unwrap();
    let token = token().unwrap();
    let keys = crate::feed::keys_of(&token).unwrap();
    leased(&mut host, &token, &[]).unwrap();
    let everywhere =
        FeedRevocation { kind: Kind::Subject, key: keys.subject.unwrap(), cutoff: START + 1, expires_at: START + 3600 };
    feed(&mut host, &[everywhere]).unwrap();
    is_refused(&mut host, &token);
}

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
fn where_the_operator_wants_it_requests_pass_without_an_answer_but_what_is_known_as_revoked_stays_out() {
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
fn a_worker_that_nobody_asks_gives_its_lease_up_and_comes_back_as_another() {
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
    // The worker rests. A token that its copy knows to be logged out makes a poll due, and nobody sends it.
    let polls = callouts_to(&host, FEED_PATH).len();
    is_refused(&mut host, &dead);
    assert_eq!((callouts_to(&host, FEED_PATH).len(), host.ticks_wanted()), (polls, None));
    let skipped = host.metric("curfew_requests_skipped");
    host.request(&[(":method", b"GET"), (":path", b"/healthz")]).unwrap();
    assert_eq!(host.metric("curfew_requests_skipped"), skipped + 1);
}

#[test]
fn a_plugin_that_the_host_lets_go_of_tells_what_it_has_counted() {
    let mut host = strict_host().unwrap();
    let token = token().unwrap();
    leased(&mut host, &token, &[]).unwrap();
    let before = host.metric("curfew_requests_admitted");
    is_admitted(&mut host, &token);
    assert_eq!(host.metric("curfew_requests_admitted"), before);
    host.let_go().unwrap();
    assert_eq!(host.metric("curfew_requests_admitted"), before + 1);
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
fn a_cluster_that_takes_no_polls_is_tried_again_and_told_once() {
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
fn another_history_is_loaded_from_its_beginning_under_another_id() {
    let mut host = strict_host().unwrap();
    let (dead, other) = (token().unwrap(), token().unwrap());
    leased(&mut host, &other, &[logout(&dead).unwrap()]).unwrap();
    let (call, poll) = only_poll(&host).unwrap();
    let restored = FeedAnswer { epoch: Epoch::from_bytes([0x22; 16]), ..page(&poll, &[]) };
    host.answer(call, 200, &body(&FeedAnswer { from: 0, to: 0, ..restored })).unwrap();
    assert_eq!(send(&mut host, &other).unwrap().1, Outcome::Paused, "no lease is left");
    until_polled(&mut host).unwrap();
    let (_, next) = only_poll(&host).unwrap();
    assert_eq!((next.epoch, next.applied), (None, 0));
    assert_ne!(next.worker, poll.worker);
    assert_eq!(host.metric("curfew_replica_restarts"), 1);
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

#[test]
fn revocations_beyond_the_budget_make_it_ask() {
    let mut host = Host::start(&strict(json!({"replica_bytes": 65_536}))).unwrap();
    let (dead, token) = (token().unwrap(), token().unwrap());
    let mut log = many(0..3_000);
    log.insert(0, logout(&dead).unwrap());
    send(&mut host, &token).unwrap();
    feed(&mut host, &log).unwrap();
    assert!(host.log().iter().any(|line| line.contains("do not fit in replica_bytes")), "{:?}", host.log());
    assert_eq!(host.metric("curfew_replica_overflows"), 1);
    assert!(host.metric("curfew_replica_bytes") <= 65_536);
    say(&mut host, "active").unwrap();
    assert_eq!(send(&mut host, &token).unwrap().1, Outcome::Paused);
    say(&mut host, "active").unwrap();
    is_refused(&mut host, &dead);
}

/// Revocations of tokens that nobody has.
fn many(numbers: std::ops::Range<u64>) -> Vec<FeedRevocation> {
    let revocation = |number: u64| {
        let mut key = [0x55; 16];
        key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        FeedRevocation {
            kind: Kind::Token,
            key: RevocationKey::from_bytes(key),
            cutoff: START,
            expires_at: START + 3600,
        }
    };
    numbers.map(revocation).collect()
}

#[test]
fn a_large_log_is_loaded_page_by_page() {
    const PAGE: usize = curfew_core::wire::PAGE_REVOCATIONS;
    let mut host = strict_host().unwrap();
    let (dead, token) = (token().unwrap(), token().unwrap());
    let mut log = many(0..30_000);
    log.push(logout(&dead).unwrap());
    send(&mut host, &token).unwrap();
    say(&mut host, "active").unwrap();
    let mut pages = 0;
    let mut fuel = 0;
    loop {
        let (call, poll) = only_poll(&host).unwrap();
        let from = usize::try_from(poll.applied).unwrap();
        let to = (from + PAGE).min(log.len());
        let mut answer = page(&poll, &log[..to]);
        answer.more = to < log.len();
        host.answer(call, 200, &body(&answer)).unwrap();
        fuel = host.last_fuel().max(fuel);
        pages += 1;
        if !answer.more {
            break;
        }
        assert_eq!(send(&mut host, &token).unwrap().1, Outcome::Paused, "the copy is not complete");
        say(&mut host, "active").unwrap();
    }
    assert_eq!(pages, 11);
    is_admitted(&mut host, &token);
    is_refused(&mut host, &dead);
    println!("{fuel} instructions for a page, {} bytes of memory", host.memory_size());
    assert!(fuel < 40_000_000, "{fuel} instructions in one callback");
    assert_eq!((host.metric("curfew_replica_seq"), host.metric("curfew_replica_entries")), (30_001, 30_001));
    assert!(host.metric("curfew_replica_bytes") < 30_001 * 40);
}

#[test]
fn with_host_calls_that_fail_nobody_is_admitted_by_the_replica() {
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
