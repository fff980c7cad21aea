//! The log in a worker's copy: its revocations decide, page after page, in one epoch, within the budget.

use std::time::Duration;

use curfew_core::wire::{FeedAnswer, FeedRevocation};
use curfew_core::{Epoch, Kind, RevocationKey};
use curfew_testbed::wasm_host::{ClusterState, Host, Outcome, START};
use serde_json::json;

use super::{is_admitted, is_refused};
use crate::feed::{body, feed, leased, logout, only_poll, page, say, strict, strict_host, until_polled};
use crate::support::{refused, send, token};

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
    // From then on, and without the control plane.
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

/// Revocations of tokens that no client has.
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
