//! Every way for a question to end, for every shape of traffic, with clients that stay and clients that leave.
//!
//! The host itself checks that nothing traps, that no request is decided twice, and that none is decided after it is
//! gone.

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::wasm_host::{Action, ClusterState, Fault, Host, HostCall, Outcome, StreamId};
use serde_json::{Value, json};

use crate::endings::{ENDINGS, Ending, Verdict};
use crate::support::{bearer, configured, get, refusal, send, token};

/// How requests come.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    requests: usize,
    one_token: bool,
    configuration: fn() -> Value,
}

pub(crate) const SHAPES: [Shape; 6] = [
    Shape { name: "one request", requests: 1, one_token: true, configuration: || json!({}) },
    Shape { name: "50 for one token", requests: 50, one_token: true, configuration: || json!({}) },
    Shape { name: "50 tokens", requests: 50, one_token: false, configuration: || json!({}) },
    Shape { name: "report_only", requests: 50, one_token: true, configuration: || json!({"report_only": true}) },
    Shape {
        name: "on_unavailable allow",
        requests: 50,
        one_token: true,
        configuration: || json!({"on_unavailable": "allow"}),
    },
    Shape {
        name: "without staleness",
        requests: 50,
        one_token: true,
        configuration: || json!({"max_staleness": "0s"}),
    },
];

/// Which clients leave while they wait, by the order of their requests. The first request is the one that asked.
type Leavers = (&'static str, fn(usize) -> bool);

const LEAVERS: [Leavers; 4] =
    [("nobody", |_| false), ("who asked", |i| i == 0), ("every other", |i| i % 2 == 1), ("all", |_| true)];

impl Shape {
    pub(crate) fn host(&self) -> Result<Host> {
        Host::start(&configured((self.configuration)()))
    }

    fn tokens(&self) -> Result<Vec<String>> {
        let first = token()?;
        (0..self.requests).map(|_| if self.one_token { Ok(first.clone()) } else { token() }).collect()
    }

    /// The decision on a request after this verdict.
    pub(crate) fn expects(&self, verdict: Verdict, outcome: &Outcome) -> Result<()> {
        let config = (self.configuration)();
        let passes = match verdict {
            Verdict::Active => true,
            Verdict::Revoked => config["report_only"] == true,
            Verdict::Missing => config["report_only"] == true || config["on_unavailable"] == "allow",
        };
        if passes {
            ensure!(matches!(outcome, Outcome::Continued { .. }), "not admitted: {outcome:?}");
            return Ok(());
        }
        let expected = if verdict == Verdict::Revoked { (401, "token_revoked") } else { (503, "unavailable") };
        let (status, code) = refusal(outcome)?;
        ensure!((status, code.as_str()) == expected, "{status} {code} instead of {expected:?}");
        Ok(())
    }

    /// Requests come, some clients leave, parts of the other requests follow, the questions end, and each request that
    /// stays is settled.
    fn play(&self, host: &mut Host, ending: &Ending, leaves: fn(usize) -> bool) -> Result<()> {
        let mut staying = Vec::new();
        for (index, token) in self.tokens()?.iter().enumerate() {
            let (stream, outcome) = send(host, token)?;
            ensure!(outcome == Outcome::Paused, "{outcome:?} without an answer");
            if leaves(index) {
                host.close(stream)?;
            } else {
                ensure!(host.body(stream, 10, false)? == Action::Pause, "a body overtakes its head");
                ensure!(host.trailers(stream, &[("x", b"y")])? == Action::Pause, "trailers overtake their head");
                staying.push(stream);
            }
        }
        let rounds = end_all(host, ending)?;
        ensure!(rounds >= 1, "nothing was asked");
        host.settle()?;
        for stream in staying {
            self.expects(ending.means, &host.outcome(stream)?)?;
            host.close(stream)?;
        }
        Ok(())
    }
}

/// Ends all questions, including those that arise from the answers.
fn end_all(host: &mut Host, ending: &Ending) -> Result<usize> {
    for rounds in 0..10 {
        let callouts = host.callouts();
        if callouts.is_empty() {
            return Ok(rounds);
        }
        for callout in callouts {
            (ending.end)(host, callout.token)?;
        }
    }
    anyhow::bail!("the filter never stops asking")
}

#[test]
fn every_ending_for_every_shape_of_traffic_settles_every_request_once() {
    for shape in &SHAPES {
        let mut host = shape.host().unwrap();
        for ending in &ENDINGS {
            for (who, leaves) in LEAVERS {
                let played = shape.play(&mut host, ending, leaves);
                let scene = || format!("{}, {}, {who} leaves", shape.name, ending.name);
                played.with_context(scene).unwrap_or_else(|error| panic!("{error:#}"));
            }
        }
        let rest = host.callouts().len();
        assert_eq!(rest, 0, "{}", shape.name);
    }
}

#[test]
fn a_question_that_cannot_be_sent_settles_its_requests_at_once() {
    for shape in &SHAPES {
        let mut host = shape.host().unwrap();
        host.set_cluster("curfew", ClusterState::Unhealthy);
        for token in shape.tokens().unwrap() {
            let (_, outcome) = send(&mut host, &token).unwrap();
            shape.expects(Verdict::Missing, &outcome).unwrap_or_else(|error| panic!("{}: {error:#}", shape.name));
        }
    }
}

#[test]
fn an_answer_after_the_filter_has_given_up_changes_nothing() {
    for shape in &SHAPES {
        let mut host = shape.host().unwrap();
        let streams: Vec<StreamId> =
            shape.tokens().unwrap().iter().map(|token| send(&mut host, token).unwrap().0).collect();
        host.settle().unwrap();
        let settled: Vec<Outcome> = streams.iter().map(|stream| host.outcome(*stream).unwrap()).collect();
        for outcome in &settled {
            shape.expects(Verdict::Missing, outcome).unwrap_or_else(|error| panic!("{}: {error:#}", shape.name));
        }
        end_all(&mut host, &ENDINGS[0]).unwrap();
        host.settle().unwrap();
        for (stream, before) in streams.iter().zip(&settled) {
            assert_eq!(&host.outcome(*stream).unwrap(), before, "{}", shape.name);
        }
    }
}

/// The SDK cannot route an answer that it does not wait for, and traps. Envoy erases a callout before it reports its
/// end, so only a broken host does this; it gets no second decision either.
#[test]
fn an_end_that_is_reported_twice_costs_the_vm_and_decides_no_request_twice() {
    let mut host = SHAPES[0].host().unwrap();
    let (stream, _) = send(&mut host, &token().unwrap()).unwrap();
    let callout = host.callouts().pop().unwrap();
    (ENDINGS[1].end)(&mut host, callout.token).unwrap();
    let decided = host.outcome(stream).unwrap();
    let trap = host.report_again(callout.token).unwrap_err().to_string();
    assert!(trap.contains("the filter trapped") && trap.contains("invalid token_id"), "{trap}");
    assert_eq!(host.outcome(stream).unwrap(), decided);
}

#[test]
fn a_plugin_that_the_host_removes_wants_no_more_ticks() {
    let mut host = SHAPES[0].host().unwrap();
    send(&mut host, &token().unwrap()).unwrap();
    assert!(host.ticks_wanted().is_some());
    host.let_go().unwrap();
    assert_eq!(host.ticks_wanted(), None);
}

#[test]
fn ticks_out_of_turn_release_nothing_and_held_requests_need_ticks() {
    let shape = &SHAPES[1];
    let mut host = shape.host().unwrap();
    let tokens = shape.tokens().unwrap();
    host.tick().unwrap();
    let streams: Vec<StreamId> = tokens.iter().map(|token| send(&mut host, token).unwrap().0).collect();
    for _ in 0..100 {
        host.tick().unwrap();
    }
    for stream in &streams {
        assert_eq!(host.outcome(*stream).unwrap(), Outcome::Paused);
    }
    end_all(&mut host, &ENDINGS[1]).unwrap();
    let paused =
        |host: &Host| streams.iter().filter(|stream| host.outcome(**stream).unwrap() == Outcome::Paused).count();
    assert_eq!(paused(&host), 18, "32 are released at once, the rest by ticks");
    host.tick().unwrap();
    assert_eq!(paused(&host), 0);
}

/// With `allow_on_headers_stop_iteration` Envoy delivers a body while its head waits, and then "continue" means all of
/// it.
#[test]
fn a_body_that_comes_before_the_verdict_or_after_a_refusal_is_held() {
    let mut host = SHAPES[0].host().unwrap();
    let bearer = bearer(&token().unwrap());
    let (waiting, _) = host.request(&get("/upload", &[("authorization", bearer.as_bytes())])).unwrap();
    let (refused, _) = host.request(&get("/upload", &[])).unwrap();
    for stream in [waiting, refused] {
        assert_eq!(host.body(stream, 10, false).unwrap(), Action::Pause);
        assert_eq!(host.body(stream, 10, true).unwrap(), Action::Pause);
    }
    end_all(&mut host, &ENDINGS[0]).unwrap();
    assert!(matches!(host.outcome(waiting).unwrap(), Outcome::Continued { .. }));
    assert_eq!(host.body(waiting, 10, true).unwrap(), Action::Continue);
    assert_eq!(host.trailers(waiting, &[("x-user-id", b"root")]).unwrap(), Action::Continue);
    assert_eq!(host.body(refused, 10, true).unwrap(), Action::Pause);
}

/// The host does not deliver trailers again after the verdict, so trailers that cannot be cleaned now would go on
/// unchanged.
#[test]
fn trailers_that_cannot_be_cleaned_while_their_head_waits_end_the_request() {
    let mut host = SHAPES[0].host().unwrap();
    for (call, fault) in [(HostCall::HeaderPairs, Fault::Error), (HostCall::HeaderChange, Fault::Error)] {
        let (stream, outcome) = send(&mut host, &token().unwrap()).unwrap();
        assert_eq!(outcome, Outcome::Paused);
        host.set_fault(call, Some(fault));
        for _ in 0..2 {
            assert_eq!(host.trailers(stream, &[("x-user-id", b"root")]).unwrap(), Action::Pause);
        }
        host.set_fault(call, None);
        end_all(&mut host, &ENDINGS[0]).unwrap();
        host.settle().unwrap();
        assert_eq!(refusal(&host.outcome(stream).unwrap()).unwrap(), (503, "unavailable".to_owned()));
    }
}
