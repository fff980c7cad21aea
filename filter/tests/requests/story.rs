//! A gate, and a clock and a host that the stories play.

use std::time::Duration;

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use curfew_core::wire::CheckVerdict;
use curfew_core::{Denial, verify_natively};
use curfew_filter::config::Config;
use curfew_filter::gate::{Decision, Gate, Question, Released, Step};
use curfew_filter::knowledge::Answer;
use curfew_filter::metrics::Metric;
use curfew_filter::now::Now;
use curfew_filter::outage::Failure;
use curfew_filter::permit::Edits;
use curfew_filter::request::Request;
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const NOW: i64 = 1_700_000_000;

pub(crate) struct Story {
    pub(crate) gate: Gate,
    pub(crate) signatures: usize,
    pub(crate) calls: u32,
}

impl Story {
    pub(crate) fn new(changes: Value) -> Self {
        let mut document = json!({
            "issuers": [{"secret": SECRET}],
            "sources": [{"header": "authorization"}, {"cookie": "access_token"}],
            "rules": [{"prefix": "/public", "action": "skip"}, {"path": "/news", "action": "optional"}],
            "identity_headers": {"x-user-id": "sub", "x-role": "role"},
            "control_plane": {"cluster": "curfew", "secret": "0123456789abcdef"},
            "consistency": "bounded",
        });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        let config = Config::parse(document.to_string().as_bytes()).unwrap();
        Self { gate: Gate::new(config, [1, 2]), signatures: 0, calls: 0 }
    }

    pub(crate) fn arrive(&mut self, stream: u32, milliseconds: u64, headers: &[(&str, &str)]) -> Step {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let signatures = &mut self.signatures;
        self.gate.arrive(stream, &Request::new(&headers), at(milliseconds), |check| {
            *signatures += 1;
            verify_natively(check)
        })
    }

    /// A GET of a protected path with this token.
    pub(crate) fn get(&mut self, stream: u32, milliseconds: u64, token: &str) -> Step {
        let authorization = format!("Bearer {token}");
        let headers = [(":method", "GET"), (":path", "/orders"), ("authorization", &authorization)];
        self.arrive(stream, milliseconds, &headers)
    }

    /// Sends the question of a request that has to wait, as the returned callout.
    pub(crate) fn sent(&mut self, step: Step) -> u32 {
        let question = question(step);
        self.calls += 1;
        self.gate.sent(question.id, self.calls);
        self.calls
    }

    pub(crate) fn answer(&mut self, call: u32, milliseconds: u64, verdict: Option<CheckVerdict>) -> Released {
        let answer = verdict.map(|verdict| Answer { verdict, read_at: None, keys_seq: 0, same_second: false });
        self.gate.answered(call, answer.ok_or(Failure::Status(504)), at(milliseconds))
    }

    pub(crate) fn counted(&mut self, metric: Metric) -> usize {
        self.gate.take_counted().filter(|counted| *counted == metric).count()
    }
}

pub(crate) fn at(milliseconds: u64) -> Now {
    let seconds = i64::try_from(milliseconds / 1000).unwrap();
    Now { monotonic: Duration::from_millis(milliseconds), unix: NOW + seconds }
}

pub(crate) fn question(step: Step) -> Question {
    match step {
        Step::Wait { question: Some(question), .. } => question,
        other => panic!("expected a question, not {other:?}"),
    }
}

pub(crate) fn token_with(changes: Value) -> String {
    let mut claims = json!({"sub": 42, "role": "buyer", "iat": NOW, "exp": NOW + 600});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let encode = |text: &str| Base64UrlSafeNoPadding::encode_to_string(text).unwrap();
    let signing_input = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(&claims.to_string()));
    let mac = hmac_sha256::HMAC::mac(&signing_input, SECRET);
    format!("{signing_input}.{}", Base64UrlSafeNoPadding::encode_to_string(mac).unwrap())
}

pub(crate) fn token() -> String {
    token_with(json!({}))
}

pub(crate) fn identity() -> Edits {
    let set = [("x-role", "buyer"), ("x-user-id", "42")];
    Edits { remove: vec![], set: set.map(|(name, value)| (name.into(), value.into())).to_vec(), ..Edits::default() }
}

pub(crate) fn denial(step: &Step) -> Denial {
    match step {
        Step::Refuse(refusal) => refusal.denial,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

pub(crate) fn outcome(decision: &Decision) -> &'static str {
    match decision {
        Ok(_) => "resumed",
        Err(refusal) => refusal.denial.code(),
    }
}

pub(crate) fn outcomes(streams: &[(u32, Decision)]) -> Vec<(u32, &'static str)> {
    streams.iter().map(|(stream, release)| (*stream, outcome(release))).collect()
}
