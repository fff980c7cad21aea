//! A host whose own calls fail: every call, every way, for every shape of traffic.

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::wasm_host::{Fault, Host, HostCall, Outcome};
use serde_json::json;

use crate::endings::{ENDINGS, Verdict};
use crate::hostile::{SHAPES, Shape};
use crate::support::{configured, send, token};

const FAULTS: [Fault; 3] = [Fault::Error, Fault::Empty, Fault::Garbage];

/// True if a request may pass without an answer "active". With `report_only` it always may. With
/// `on_unavailable: allow` it may unless the filter got the answer "revoked", which it does if the failing call has no
/// part in reading answers.
fn opens(shape: &Shape, call: HostCall, verdict: Verdict) -> bool {
    let told = verdict == Verdict::Revoked && [HostCall::Metric, HostCall::Tick].contains(&call);
    shape.name == "report_only" || (shape.name == "on_unavailable allow" && !told)
}

/// Requests while the call fails: none passes without an answer, and all that can be settled are.
fn play(host: &mut Host, shape: &Shape, call: HostCall, fault: Fault, verdict: Verdict) -> Result<()> {
    host.set_fault(call, Some(fault));
    let token = token()?;
    let mut streams = Vec::new();
    for _ in 0..40 {
        streams.push(send(host, &token)?.0);
    }
    for callout in host.callouts() {
        let ending = ENDINGS.iter().find(|ending| ending.means == verdict).context("an ending")?;
        (ending.end)(host, callout.token)?;
    }
    if call != HostCall::Tick {
        host.settle()?;
    }
    for stream in streams {
        let outcome = host.outcome(stream)?;
        let passed = matches!(outcome, Outcome::Continued { .. });
        ensure!(!passed || verdict == Verdict::Active || opens(shape, call, verdict), "passed without an answer");
        ensure!(outcome != Outcome::Paused || call.settles(), "never settled");
        host.close(stream)?;
    }
    host.set_fault(call, None);
    // Requests that were held for want of ticks are settled when the ticks come again.
    host.tick()?;
    host.settle()?;
    Ok(())
}

/// One request, on a host whose calls work again.
fn decide_one(host: &mut Host, shape: &Shape, verdict: Verdict) -> Result<()> {
    let (stream, _) = send(host, &token()?)?;
    let callout = host.callouts().pop().context("a question")?;
    let ending = ENDINGS.iter().find(|ending| ending.means == verdict).context("an ending")?;
    (ending.end)(host, callout.token)?;
    shape.expects(verdict, &host.outcome(stream)?)?;
    host.close(stream)
}

#[test]
fn a_host_call_that_fails_admits_no_request_and_leaves_the_filter_alive() {
    for shape in &SHAPES {
        let mut host = shape.host().unwrap();
        for call in HostCall::ALL {
            for fault in FAULTS {
                for verdict in [Verdict::Active, Verdict::Revoked, Verdict::Missing] {
                    let scene = || format!("{}, {call:?} {fault:?}, {verdict:?}", shape.name);
                    let played = play(&mut host, shape, call, fault, verdict);
                    played.with_context(scene).unwrap_or_else(|error| panic!("{error:#}"));
                }
                for verdict in [Verdict::Active, Verdict::Revoked] {
                    let scene = || format!("{}, after {call:?} {fault:?}, {verdict:?}", shape.name);
                    let decided = decide_one(&mut host, shape, verdict);
                    decided.with_context(scene).unwrap_or_else(|error| panic!("{error:#}"));
                }
            }
        }
    }
}

/// RSA is checked by a foreign function. Any result of it but a plain "yes" means "no".
#[test]
fn a_foreign_function_that_fails_verifies_nothing() {
    use curfew_testbed::tokens::{ISSUER, Signer, claims, jwks, with};
    use curfew_testbed::wasm_host::START;
    let [own, other] = [(); 2].map(|()| Signer::generate("ES256").unwrap());
    let issuers = json!([{"issuer": ISSUER, "jwks": jwks([&own])}]);
    let claims = with(claims("alice"), json!({"iat": START, "exp": START + 600}));
    for fault in FAULTS {
        let mut host = Host::start(&configured(json!({"issuers": issuers}))).unwrap();
        host.set_fault(HostCall::Foreign, Some(fault));
        let (_, forged) = send(&mut host, &other.sign(&claims).unwrap()).unwrap();
        assert!(matches!(forged, Outcome::LocalReply { status: 401, .. }), "{fault:?}: {forged:?}");
        let (_, good) = send(&mut host, &own.sign(&claims).unwrap()).unwrap();
        // An error leaves the check to the filter's own code.
        assert_eq!(good == Outcome::Paused, fault == Fault::Error, "{fault:?}: {good:?}");
    }
}
