//! The rows without Envoy: the core's policy gets those about one token, and each breaks exactly the rule that it is
//! about; the filter's gate gets all of them.

use std::time::Duration;

use curfew_core::wire::{CheckAnswer, CheckRequest, CheckVerdict, KeysAnswer, KeysRequest};
use curfew_core::{Epoch, Policy, verify_natively};
use curfew_filter::config::Config;
use curfew_filter::gate::{Gate, Step};
use curfew_filter::now::Now;
use curfew_filter::permit::{Permit, Reason};
use curfew_filter::rehearsal::{Answers, Known, Rehearsal};
use curfew_filter::request::Request as Headers;
use curfew_testbed::attacks::{Attack, Expected, Keys, configuration, rows};
use curfew_testbed::http::Request;
use curfew_testbed::tokens::now;
use serde_json::json;

#[test]
fn every_token_breaks_the_rule_that_its_row_is_about() {
    let keys = Keys::generate().unwrap();
    let (policy, sets) = Policy::from_document(&json!({"issuers": keys.issuers().unwrap()})).unwrap();
    let forge = keys.forge("alice");
    let mut wrong = Vec::new();
    let mut judged = 0;
    for row in rows().iter().filter(|row| matches!(row.attack, Attack::Token(_))) {
        let token = row.token(&forge).unwrap().unwrap();
        let outcome = match policy.prove(&token, now(), &sets, verify_natively) {
            Ok(_) => Expected::Admitted,
            Err(error) => Expected::Breaks(error),
        };
        judged += 1;
        if outcome != row.expected {
            wrong.push(format!("{}: {outcome:?} instead of {:?}", row.id, row.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged > 250, "only {judged} rows are about tokens");
}

/// A request as Envoy passes it to a filter, for requests that Envoy does not change.
fn headers_of(request: &Request) -> Vec<(String, Vec<u8>)> {
    let pseudo = [(":method", request.method.as_str()), (":path", &request.target), (":authority", "shop.example")];
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let own = request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    pseudo.into_iter().chain(own).collect()
}

/// Paths are judged here as they were sent. Envoy makes some of them canonical first; here those need a token.
#[test]
fn every_row_gets_its_answer_from_the_gate() {
    let keys = Keys::generate().unwrap();
    let configuration = configuration(&keys).unwrap().to_string();
    let (mut wrong, mut judged) = (Vec::new(), 0);
    for row in rows() {
        let request = row.request(&keys.forge("alice")).unwrap();
        let mut gate = Gate::new(Config::parse(configuration.as_bytes()).unwrap(), [1, 2]);
        let pairs = headers_of(&request);
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        let now = Now { monotonic: Duration::from_secs(1), unix: now() };
        let step = gate.arrive(1, &Headers::new(&pairs), now, verify_natively);
        let met = match (row.expected, &step) {
            // Only the revocations are left to be asked about.
            (Expected::Admitted, step) => matches!(step, Step::Wait { question: Some(_), .. }),
            (Expected::Open, step) => matches!(step, Step::Admit(_)),
            (Expected::Breaks(error), Step::Refuse(refusal)) => refusal.denial.code() == error.denial().code(),
            (Expected::Refused(denial), Step::Refuse(refusal)) => refusal.denial.code() == denial.code(),
            (Expected::Closed | Expected::NotHttp, step) => matches!(step, Step::Refuse(_)),
            _ => false,
        };
        judged += 1;
        if !met {
            wrong.push(format!("{}: {step:?} instead of {:?}", row.id, row.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(judged, rows().len());
}

/// A control plane with an empty log.
struct EmptyLog;

impl Answers for EmptyLog {
    fn keys(&mut self, _: &KeysRequest) -> Option<KeysAnswer> {
        None
    }

    fn grants_leases(&mut self) -> bool {
        true
    }

    fn check(&mut self, _: &CheckRequest) -> Option<Known> {
        let epoch = Epoch::from_bytes([1; 16]).to_string();
        let answer = CheckAnswer { epoch, seq: 0, keys_seq: 0, verdict: CheckVerdict::Active, same_second: false };
        Some(Known { answer, revocations: Vec::new() })
    }
}

/// What operators are told of a request is what the gate decides, with the same edits and the same words.
#[test]
fn every_row_is_rehearsed_as_the_gate_decides() {
    let keys = Keys::generate().unwrap();
    let configuration = configuration(&keys).unwrap().to_string();
    let (mut wrong, mut admitted) = (Vec::new(), 0);
    for row in rows() {
        let pairs = headers_of(&row.request(&keys.forge("alice")).unwrap());
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        let (request, unix) = (Headers::new(&pairs), now());
        let mut gate = Gate::new(Config::parse(configuration.as_bytes()).unwrap(), [1, 2]);
        let at = Now { monotonic: Duration::from_secs(1), unix };
        let decided = match gate.arrive(1, &request, at, verify_natively) {
            Step::Admit(permit) => Ok(permit),
            Step::Refuse(refusal) => Err(refusal),
            Step::Wait { edits, .. } => Ok(Permit { reason: Reason::Active, edits, mark: None }),
        };
        admitted += usize::from(decided.is_ok());
        let rehearsal = Rehearsal::read(configuration.as_bytes()).ok().unwrap();
        let rehearsed = rehearsal.play(&request, unix, &mut EmptyLog);
        if rehearsed.decision != decided || rehearsed.withheld.is_some() {
            wrong.push(format!("{}: {:?} instead of {decided:?}", row.id, rehearsed.decision));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(admitted > 20, "only {admitted} rows are admitted");
}
