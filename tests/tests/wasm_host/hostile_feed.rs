//! Answers to polls that our control plane never gives. None of them may earn a lease, keep one alive, or end the VM.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use curfew_core::wire::{FEED_PATH, FeedAnswer, FeedRequest};
use curfew_core::{Epoch, Kind, RevocationKey};
use curfew_testbed::tokens::with;
use curfew_testbed::wasm_host::{Host, Outcome, START};
use serde_json::{Value, json};

use crate::feed::{LEASE, body, callouts_to, feed, leased, logout, only_poll, page, say, strict_host, until_polled};
use crate::support::{admitted, claims_of, refused, send, sign, token};

/// One answer to a poll.
struct Answer {
    name: &'static str,
    end: fn(&mut Host, u32, &FeedRequest) -> Result<()>,
}

fn raw(host: &mut Host, call: u32, json: &Value) -> Result<()> {
    host.answer(call, 200, json.to_string().as_bytes())
}

/// The honest answer that there is no news, with some members replaced or removed.
fn changed(poll: &FeedRequest, changes: Value) -> Value {
    let mut answer = serde_json::to_value(quiet(poll)).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => answer.as_object_mut().unwrap().remove(name),
            value => answer.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    answer
}

fn quiet(poll: &FeedRequest) -> FeedAnswer {
    FeedAnswer { from: poll.applied, to: poll.applied, ..page(poll, &[]) }
}

macro_rules! changed {
    ($name:literal, $changes:tt) => {
        Answer { name: $name, end: |host, call, poll| raw(host, call, &changed(poll, json!($changes))) }
    };
}

const ANSWERS: [Answer; 33] = [
    Answer { name: "reset", end: |host, call, _| host.fail(call) },
    Answer {
        name: "never",
        end: |host, call, _| {
            host.lose(call);
            Ok(())
        },
    },
    Answer { name: "504", end: |host, call, _| host.answer(call, 504, b"upstream request timeout") },
    Answer { name: "401", end: |host, call, _| host.answer(call, 401, b"{}") },
    Answer { name: "404 with a page", end: |host, call, poll| host.answer(call, 404, &body(&quiet(poll))) },
    Answer { name: "201 with a page", end: |host, call, poll| host.answer(call, 201, &body(&quiet(poll))) },
    Answer { name: "an empty body", end: |host, call, _| host.answer(call, 200, b"") },
    Answer { name: "a verdict", end: |host, call, _| host.answer(call, 200, &crate::support::verdict("active")) },
    Answer { name: "null", end: |host, call, _| host.answer(call, 200, b"null") },
    Answer { name: "bytes", end: |host, call, _| host.answer(call, 200, &[0xff; 100_000]) },
    Answer { name: "brackets", end: |host, call, _| host.answer(call, 200, &[b'['; 500_000]) },
    Answer {
        name: "1 MB",
        end: |host, call, poll| {
            let mut answer = body(&quiet(poll));
            answer.resize(1_000_000, b' ');
            host.answer(call, 200, &answer)
        },
    },
    Answer {
        name: "4 GB promised",
        end: |host, call, poll| host.answer_promising(call, u32::MAX, &body(&quiet(poll))),
    },
    Answer {
        name: "less than promised",
        end: |host, call, poll| host.answer_promising(call, 5_000, &body(&quiet(poll))[..50]),
    },
    Answer { name: "two pages", end: |host, call, poll| host.answer(call, 200, &body(&quiet(poll)).repeat(2)) },
    changed!("another history", {"epoch": "22222222222222222222222222222222"}),
    changed!("an epoch that is none", {"epoch": "history"}),
    changed!("no epoch", {"epoch": null}),
    changed!("a gap", {"from": 7, "to": 9}),
    changed!("the beginning again", {"from": 0, "to": 0}),
    changed!("backwards", {"to": 0}),
    changed!("more and nothing", {"more": true}),
    changed!("revocations of no seq", {"revocations": [["token", "01010101010101010101010101010101", 1, 9_999_999_999_u64]]}),
    changed!("no revocations", {"revocations": null}),
    changed!("a kind that is none", {"to": 2, "revocations": [["planet", "01010101010101010101010101010101", 1, 2]]}),
    changed!("a key that is none", {"to": 2, "revocations": [["token", "0101", 1, 2]]}),
    changed!("half a revocation", {"to": 2, "revocations": [["token", "01010101010101010101010101010101", 1]]}),
    changed!("no lease", {"lease_ms": 0}),
    changed!("a lease that is none", {"lease_ms": -1}),
    changed!("a lease in words", {"lease_ms": "2000"}),
    changed!("no word of the reading", {"fresh_ms": null}),
    changed!("a reading from the beginning of time", {"fresh_ms": i64::MIN}),
    changed!("a reading before the lease's length", {"fresh_ms": -2_000}),
];

/// A worker that holds one revocation, whose poll gets the answer.
fn scene(answer: &Answer) -> Result<(Host, String, String)> {
    let mut host = strict_host()?;
    let (dead, alive) = (token()?, token()?);
    leased(&mut host, &alive, &[logout(&dead)?])?;
    let (call, poll) = only_poll(&host)?;
    (answer.end)(&mut host, call, &poll)?;
    Ok((host, dead, alive))
}

/// A request that comes and goes, so that the worker is in use.
fn touch(host: &mut Host, token: &str) -> Result<()> {
    let (stream, _) = send(host, token)?;
    host.close(stream)
}

fn stays_out(host: &mut Host, token: &str) {
    let (stream, outcome) = send(host, token).unwrap();
    if outcome == Outcome::Paused {
        // The copy was thrown away: the worker asks, and the control plane knows.
        say(host, "revoked").unwrap();
    }
    refused(&host.outcome(stream).unwrap(), 401, "token_revoked");
    host.close(stream).unwrap();
}

fn plays(answer: &Answer) -> Result<()> {
    let (mut host, dead, alive) = scene(answer)?;
    stays_out(&mut host, &dead);
    host.advance(LEASE);
    let (stream, outcome) = send(&mut host, &alive)?;
    ensure!(outcome == Outcome::Paused, "admitted without a lease: {outcome:?}");
    say(&mut host, "active")?;
    admitted(&host.outcome(stream)?)?;

    // And the worker recovers, however long the script was.
    for _ in 0..20 {
        touch(&mut host, &dead)?;
        until_polled(&mut host)?;
        let (call, poll) = only_poll(&host)?;
        (answer.end)(&mut host, call, &poll)?;
    }
    recovers(&mut host, &dead, &alive)
}

fn recovers(host: &mut Host, dead: &str, alive: &str) -> Result<()> {
    let log = [logout(dead)?];
    for _ in 0..3 {
        touch(host, dead)?;
        feed(host, &log)?;
    }
    admitted(&send(host, alive)?.1)?;
    refused(&send(host, dead)?.1, 401, "token_revoked");
    Ok(())
}

#[test]
fn no_answer_of_the_wrong_kind_earns_a_lease_or_costs_the_vm() {
    for answer in &ANSWERS {
        plays(answer).with_context(|| answer.name).unwrap_or_else(|error| panic!("{error:#}"));
    }
}

#[test]
fn no_answer_makes_a_lease_longer_than_ten_seconds_or_begins_it_before_it_came() {
    for (lease, fresh) in [(u64::MAX, 0), (u64::MAX, i64::MAX), (20_000, i64::MAX)] {
        let mut host = strict_host().unwrap();
        let token = token().unwrap();
        send(&mut host, &token).unwrap();
        let (call, poll) = only_poll(&host).unwrap();
        let answer = FeedAnswer { lease_ms: lease, fresh_ms: fresh, ..page(&poll, &[]) };
        host.answer(call, 200, &body(&answer)).unwrap();
        admitted(&send(&mut host, &token).unwrap().1).unwrap();
        host.advance(Duration::from_secs(10));
        assert_eq!(send(&mut host, &token).unwrap().1, Outcome::Paused, "lease {lease}, fresh {fresh}");
    }
}

#[test]
fn the_end_of_a_poll_that_is_reported_twice_costs_the_vm_and_admits_no_request() {
    let mut host = strict_host().unwrap();
    send(&mut host, &token().unwrap()).unwrap();
    let (call, _) = only_poll(&host).unwrap();
    feed(&mut host, &[]).unwrap();
    let trap = host.report_again(call).unwrap_err().to_string();
    assert!(trap.contains("the filter trapped") && trap.contains("invalid token_id"), "{trap}");
}

#[test]
fn a_flood_of_hostile_pages_stays_inside_the_budget() {
    let mut host = Host::start(&crate::feed::strict(json!({"replica_bytes": 1 << 20}))).unwrap();
    let token = sign(&with(claims_of("alice"), json!({"exp": START + 1_000_000}))).unwrap();
    let mut warm = 0;
    for round in 0_u64..120 {
        // A worker over its budget asks about each token for ten minutes, and sends no poll.
        while callouts_to(&host, FEED_PATH).is_empty() {
            host.advance(Duration::from_secs(601));
            touch(&mut host, &token).unwrap();
            for question in crate::feed::questions(&host) {
                host.fail(question.token).unwrap();
            }
        }
        let (call, poll) = only_poll(&host).unwrap();
        let revocations = (0..3_000_u64).map(|number| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&(round * 3_000 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            (Kind::Token, RevocationKey::from_bytes(key), 1, i64::MAX).into()
        });
        let epoch = Epoch::from_bytes([if round % 20 == 19 { 0x33 } else { 0x11 }; 16]);
        let answer = FeedAnswer { epoch, to: poll.applied + 3_000, revocations: revocations.collect(), ..quiet(&poll) };
        host.answer(call, 200, &body(&answer)).unwrap();
        if round == 60 {
            warm = host.memory_size();
        }
    }
    assert!(host.metric("curfew_replica_overflows") > 0, "nothing overflowed");
    assert!(host.memory_size() <= warm + 65_536 * 2, "{warm} -> {}", host.memory_size());
}
